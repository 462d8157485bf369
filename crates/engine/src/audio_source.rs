//! The queue of PCM in front of encoders and local sinks, drained by the media tick whether published or not.
//!
//! The one place that knows what is waiting: samples in the queue, captures that did not fit yet, and who wants to know
//! when all of it has been played. So an interruption is one call, [`AudioSource::clear`].

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::events::{Event, EventQueue, Handle, lock};

/// Ticks to hold a remainder under 10 ms back for more samples before it is played padded with silence.
const TAIL_PATIENCE: u32 = 2;
/// Ticks of audio to gather before playing on when the queue has just run dry in mid-stream: the captures come unevenly.
const REFILL_TICKS: usize = 2;
/// Ticks without audio after which what comes is a new beginning, that is played at once.
const PAUSE_TICKS: u32 = 10;
/// The same, after which who captures at real-time pace has paused; after less, it was held up and makes up for it.
const STALL_TICKS: u32 = 50;
/// Ticks that a capture at real-time pace finds in the queue at most, and that are a short capture.
const PACED_TICKS: usize = 2;
/// Captures in a row at that pace from which another one is expected in time; short ones count twice.
const PACED_CAPTURES: u32 = 2;
/// Ticks over which the queue's length is watched.
const WATCH_TICKS: u32 = 50;
/// Samples no louder than this are a pause, of which a tick may be left out to make up for one that came too late.
const QUIET: u16 = 100;

/// Shared by the Python object and the engine thread.
#[derive(Debug)]
pub struct AudioSource {
    handle: Handle,
    sample_rate: u32,
    num_channels: u16,
    events: Arc<EventQueue>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Interleaved samples in the queue.
    samples: VecDeque<i16>,
    /// Captures that are not (wholly) in the queue, oldest first.
    waiting: VecDeque<Capture>,
    drains: Vec<u64>,
    /// Interleaved samples the queue holds at most.
    capacity: usize,
    tick: u64,
    starved_ticks: u32,
    /// Ticks since the queue ran dry in mid-stream, up to [`STALL_TICKS`].
    dry_ticks: u32,
    watch: Watch,
    /// Captures in a row that came at real-time pace, short ones twice.
    paced: u32,
    /// Ticks that were silent because captures came late: who captures at real-time pace is that much ahead since.
    overdue_ticks: u32,
    playing: bool,
    /// A tick found too little and waits for captures that are on their way: it is a tick behind.
    behind: bool,
    /// The last samples were taken by the previous tick and are being played during this one.
    in_flight: bool,
    closed: bool,
}

/// What the queue holds for nothing over some ticks that played something.
#[derive(Debug, Default)]
struct Watch {
    ticks: u32,
    /// The least that was left after a tick, so far and in the ticks before these.
    least: usize,
    unused: usize,
}

#[derive(Debug)]
struct Capture {
    request: u64,
    rest: VecDeque<i16>,
}

impl AudioSource {
    /// `queue_size` in seconds.
    pub fn new(handle: Handle, sample_rate: u32, num_channels: u16, queue_size: f64, events: Arc<EventQueue>) -> Self {
        let capacity = (queue_size * f64::from(sample_rate)).round() as usize * usize::from(num_channels);
        let queue = Mutex::new(Queue { capacity, dry_ticks: STALL_TICKS, ..Queue::default() });
        Self { handle, sample_rate, num_channels, events, queue }
    }

    /// Samples per second and channel.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Interleaved channels.
    pub fn num_channels(&self) -> u16 {
        self.num_channels
    }

    /// Take interleaved samples in behind everything that waits. After `close` samples are ignored.
    ///
    /// The first of the pair is true when all of it is in the queue now, otherwise [`Event::Captured`] follows. The
    /// second is true when the source was idle or a tick waits for this: the engine has to be told to look at it.
    pub fn capture(&self, request: u64, samples: &[i16]) -> (bool, bool) {
        let mut queue = lock(&self.queue);
        if queue.closed || samples.is_empty() {
            return (true, false);
        }
        let awaited = queue.behind || (queue.is_empty() && !queue.in_flight);
        let short = queue.wanted(self) * PACED_TICKS;
        queue.note_pace(short, samples.len());
        if queue.capacity == 0 {
            queue.samples.clear();
            queue.samples.extend(samples);
            return (true, awaited);
        }
        let room = if queue.waiting.is_empty() { queue.capacity.saturating_sub(queue.samples.len()) } else { 0 };
        let (now, later) = samples.split_at(room.min(samples.len()));
        queue.samples.extend(now);
        if later.is_empty() {
            return (true, awaited);
        }
        queue.waiting.push_back(Capture { request, rest: later.iter().copied().collect() });
        (false, awaited)
    }

    /// Forget what a waiting capture has not put into the queue.
    pub fn cancel(&self, request: u64) {
        let mut queue = lock(&self.queue);
        queue.waiting.retain(|capture| capture.request != request);
        queue.refill(self);
    }

    /// Empty the queue; waiting captures and drain requests are told at once.
    pub fn clear(&self) {
        let mut queue = lock(&self.queue);
        queue.samples.clear();
        queue.playing = false;
        queue.dry_ticks = STALL_TICKS;
        queue.watch = Watch::default();
        queue.paced = 0;
        queue.overdue_ticks = 0;
        queue.in_flight = false;
        for capture in std::mem::take(&mut queue.waiting) {
            self.events.push(Event::Captured { source: self.handle, request: capture.request });
        }
        queue.tell_drained(self);
    }

    /// Ask for [`Event::Drained`] when nothing is left to play.
    pub fn notify_drained(&self, request: u64) {
        let mut queue = lock(&self.queue);
        queue.drains.push(request);
        if queue.closed || (queue.is_empty() && !queue.in_flight) {
            queue.tell_drained(self);
        }
    }

    /// Seconds of audio that wait, in the queue or in front of it.
    pub fn queued(&self) -> f64 {
        let queue = lock(&self.queue);
        let waiting: usize = queue.waiting.iter().map(|capture| capture.rest.len()).sum();
        let frames = (queue.samples.len() + waiting) / usize::from(self.num_channels);
        frames as f64 / f64::from(self.sample_rate)
    }

    /// Drop everything and release everyone. Later captures are ignored.
    pub fn close(&self) {
        self.clear();
        lock(&self.queue).closed = true;
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        lock(&self.queue).closed
    }

    /// Whether a tick would do anything: audio waits, or somebody waits for its end.
    pub(crate) fn needs_tick(&self) -> bool {
        let queue = lock(&self.queue);
        !queue.is_empty() || queue.in_flight || queue.behind || !queue.drains.is_empty()
    }

    /// Replace `out` with what this tick plays: 10 ms, padded with silence. Nothing when captures are late in mid-stream;
    /// then they are played as soon as they come, by [`AudioSource::catch_up`], or 20 ms at the next tick.
    pub(crate) fn tick(&self, out: &mut Vec<i16>) {
        let mut queue = lock(&self.queue);
        out.clear();
        if queue.behind {
            queue.behind = queue.has_tick(self);
            queue.play(self, out);
            // What came was for the tick before; what this one needs may be on its way.
            if queue.behind && !queue.has_tick(self) {
                return;
            }
            queue.behind = false;
        } else if queue.is_late(self) {
            queue.behind = true;
            queue.in_flight = false;
            return;
        }
        queue.play(self, out);
    }

    /// Replace `out` with the 10 ms that the last tick waited for, or with nothing.
    pub(crate) fn catch_up(&self, out: &mut Vec<i16>) {
        let mut queue = lock(&self.queue);
        out.clear();
        if queue.behind && queue.has_tick(self) {
            queue.behind = false;
            queue.play(self, out);
        }
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.waiting.is_empty()
    }

    /// Interleaved samples of the next tick. Rates that are no multiple of 100 alternate, so that the sum is exact.
    fn wanted(&self, source: &AudioSource) -> usize {
        let rate = u64::from(source.sample_rate);
        let frames = (self.tick + 1) * rate / 100 - self.tick * rate / 100;
        frames as usize * usize::from(source.num_channels)
    }

    /// A capture of this length came; `short` is one that is short, or finds a short queue.
    fn note_pace(&mut self, short: usize, length: usize) {
        let count = if length <= short { 2 } else { 1 };
        if self.dry_ticks >= PAUSE_TICKS {
            self.paced = 0;
        }
        let in_pace = self.waiting.is_empty() && self.samples.len() <= short;
        self.paced = if in_pace { self.paced.saturating_add(count) } else { 0 };
    }

    fn has_tick(&self, source: &AudioSource) -> bool {
        self.samples.len() >= self.wanted(source)
    }

    /// Whether captures that are about to come should be waited for: they came in time until now.
    fn is_late(&self, source: &AudioSource) -> bool {
        let expected = self.playing && self.paced >= PACED_CAPTURES && self.drains.is_empty();
        expected && self.waiting.is_empty() && !self.has_tick(source)
    }

    /// Append the next 10 ms to `out`.
    fn play(&mut self, source: &AudioSource, out: &mut Vec<i16>) {
        let wanted = self.wanted(source);
        self.tick += 1;
        self.leave_out(wanted);
        let available = self.samples.len();
        let gathered = if self.dry_ticks < PAUSE_TICKS { wanted * REFILL_TICKS } else { wanted };
        let ending = !self.drains.is_empty() && self.waiting.is_empty();
        let enough = match (available, self.playing) {
            (0, _) => false,
            _ if ending || self.starved_ticks >= TAIL_PATIENCE => true,
            (_, true) => available >= wanted,
            (_, false) => available >= gathered || available >= self.capacity,
        };
        let end = out.len() + wanted;
        if enough {
            let take = wanted.min(available);
            out.extend(self.samples.drain(..take));
            self.watch.note(available - take);
            self.starved_ticks = 0;
        } else {
            self.watch.unused = 0;
            self.starved_ticks = if available == 0 { 0 } else { self.starved_ticks + 1 };
        }
        out.resize(end, 0);
        self.dry_ticks = if enough { 0 } else { (self.dry_ticks + 1).min(STALL_TICKS) };
        let stall = if self.paced >= PACED_CAPTURES { STALL_TICKS } else { PAUSE_TICKS };
        self.overdue_ticks = match self.dry_ticks {
            0 => self.overdue_ticks,
            dry if dry < stall => self.overdue_ticks + 1,
            _ => 0,
        };
        self.playing = enough;
        self.refill(source);
        if !enough && self.is_empty() {
            self.tell_drained(source);
        }
        self.in_flight = enough;
    }

    /// Leave a quiet tick of `wanted` samples out if the queue holds it for nothing because captures came late.
    fn leave_out(&mut self, wanted: usize) {
        let unused = self.watch.unused.min(self.samples.len().saturating_sub(wanted));
        let mut next = self.samples.iter().take(wanted);
        if self.overdue_ticks > 0 && unused >= wanted && next.all(|sample| sample.unsigned_abs() <= QUIET) {
            self.samples.drain(..wanted);
            self.overdue_ticks -= 1;
            self.watch.unused -= wanted;
            self.watch.least = self.watch.least.saturating_sub(wanted);
        }
    }

    fn refill(&mut self, source: &AudioSource) {
        while let Some(capture) = self.waiting.front_mut() {
            let room = self.capacity.saturating_sub(self.samples.len());
            let take = room.min(capture.rest.len());
            self.samples.extend(capture.rest.drain(..take));
            if !capture.rest.is_empty() {
                return;
            }
            source.events.push(Event::Captured { source: source.handle, request: capture.request });
            self.waiting.pop_front();
        }
    }

    fn tell_drained(&mut self, source: &AudioSource) {
        for request in self.drains.drain(..) {
            source.events.push(Event::Drained { source: source.handle, request });
        }
    }
}

impl Watch {
    /// A tick left `samples`.
    fn note(&mut self, samples: usize) {
        self.least = if self.ticks == 0 { samples } else { self.least.min(samples) };
        self.ticks += 1;
        if self.ticks == WATCH_TICKS {
            (self.unused, self.ticks) = (self.least, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 48_000;
    const TICK: usize = 480;

    fn source(queue_ms: u32) -> (AudioSource, Arc<EventQueue>) {
        let events = Arc::new(EventQueue::new().unwrap());
        let source = AudioSource::new(7, RATE, 1, f64::from(queue_ms) / 1000.0, Arc::clone(&events));
        (source, events)
    }

    fn frame(milliseconds: usize, value: i16) -> Vec<i16> {
        vec![value; milliseconds * TICK / 10]
    }

    fn tick(source: &AudioSource) -> Vec<i16> {
        let mut out = Vec::new();
        source.tick(&mut out);
        out
    }

    fn caught_up(source: &AudioSource) -> Vec<i16> {
        let mut out = vec![7];
        source.catch_up(&mut out);
        out
    }

    fn captured(events: &EventQueue) -> Vec<u64> {
        let requests = events.drain(100).into_iter().filter_map(|event| match event {
            Event::Captured { request, .. } => Some(request),
            _ => None,
        });
        requests.collect()
    }

    #[test]
    fn captures_return_at_once_until_the_queue_is_full_and_then_one_per_tick() {
        let (source, events) = source(50);
        let returned: Vec<bool> = (1..=7).map(|request| source.capture(request, &frame(10, 1)).0).collect();
        assert_eq!(returned, [true, true, true, true, true, false, false]);
        assert!(captured(&events).is_empty());
        tick(&source);
        assert_eq!(captured(&events), [6]);
        tick(&source);
        assert_eq!(captured(&events), [7]);
    }

    #[test]
    fn a_long_frame_returns_when_no_more_than_the_queue_is_left_of_it() {
        let (source, events) = source(50);
        assert!(!source.capture(1, &frame(100, 1)).0);
        for _ in 0..4 {
            tick(&source);
        }
        assert!(captured(&events).is_empty());
        tick(&source);
        assert_eq!(captured(&events), [1]);
    }

    #[test]
    fn overlapping_captures_are_played_in_the_order_of_their_calls() {
        let (source, _events) = source(20);
        for request in 1..=3 {
            source.capture(request, &frame(20, request as i16));
        }
        let played: Vec<i16> = (0..6).map(|_| tick(&source)[0]).collect();
        assert_eq!(played, [1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn clear_releases_a_blocked_capture_and_drops_its_rest() {
        let (source, events) = source(50);
        source.capture(1, &frame(2000, 1));
        tick(&source);
        source.clear();
        assert_eq!(captured(&events), [1]);
        assert_eq!(source.queued(), 0.0);
        assert!(source.capture(2, &frame(10, 2)).0);
    }

    #[test]
    fn cancelling_a_blocked_capture_keeps_what_was_queued_and_lets_the_next_one_in() {
        let (source, events) = source(20);
        source.capture(1, &frame(20, 1));
        source.capture(2, &frame(20, 2));
        source.cancel(2);
        source.capture(3, &frame(10, 3));
        let played: Vec<i16> = (0..3).map(|_| tick(&source)[0]).collect();
        assert_eq!(played, [1, 1, 3]);
        assert_eq!(captured(&events), [3]);
    }

    #[test]
    fn the_tail_is_played_padded_and_drained_comes_after_it() {
        let (source, events) = source(50);
        source.capture(1, &frame(23, 5));
        source.notify_drained(9);
        let mut played = Vec::new();
        for _ in 0..3 {
            played.extend(tick(&source));
            assert!(events.drain(10).is_empty());
        }
        assert_eq!(played.iter().filter(|sample| **sample == 5).count(), 23 * TICK / 10);
        assert_eq!(played.len(), 3 * TICK);
        tick(&source);
        assert_eq!(events.drain(10), [Event::Drained { source: 7, request: 9 }]);
    }

    #[test]
    fn drained_is_told_at_once_when_nothing_was_captured_or_after_clear() {
        let (source, events) = source(50);
        source.notify_drained(1);
        assert_eq!(events.drain(10), [Event::Drained { source: 7, request: 1 }]);
        source.capture(1, &frame(40, 1));
        source.notify_drained(2);
        source.clear();
        assert_eq!(events.drain(10), [Event::Drained { source: 7, request: 2 }]);
    }

    #[test]
    fn a_late_capture_is_played_when_it_comes_and_nothing_is_put_before_it() {
        let (source, _events) = source(50);
        assert!(source.capture(1, &frame(10, 1)).1);
        assert_eq!(tick(&source), frame(10, 1));
        assert!(tick(&source).is_empty());
        assert!(caught_up(&source).is_empty());
        assert!(source.capture(2, &frame(10, 2)).1, "the engine is to look at it");
        assert_eq!(caught_up(&source), frame(10, 2));
        assert!(!source.capture(3, &frame(10, 3)).1, "the next tick is soon enough");
        assert!(caught_up(&source).is_empty());
        assert_eq!(tick(&source), frame(10, 3));
        // Later still: the tick after it plays both, or what there is.
        assert!(tick(&source).is_empty());
        source.capture(4, &frame(20, 4));
        assert_eq!(tick(&source), frame(20, 4));
        assert!(tick(&source).is_empty());
        source.capture(5, &frame(10, 5));
        assert_eq!(tick(&source), frame(10, 5));
        source.capture(6, &frame(10, 6));
        assert_eq!(caught_up(&source), frame(10, 6));
    }

    #[test]
    fn what_follows_a_long_capture_is_not_waited_for() {
        let (source, _events) = source(1000);
        for _ in 0..3 {
            source.capture(1, &frame(40, 1));
            (0..4).for_each(|_| assert_eq!(tick(&source), frame(10, 1)));
            (0..20).for_each(|_| assert_eq!(tick(&source), frame(10, 0)));
        }
        // In time again and again: it is.
        for _ in 0..3 {
            source.capture(1, &frame(40, 1));
            (0..4).for_each(|_| assert_eq!(tick(&source), frame(10, 1)));
        }
        assert!(tick(&source).is_empty());
    }

    #[test]
    fn a_beginning_is_played_at_once_and_captures_that_came_too_late_are_gathered_first() {
        let (source, _events) = source(50);
        source.capture(1, &frame(10, 1));
        assert_eq!(tick(&source), frame(10, 1));
        assert!(tick(&source).is_empty());
        assert_eq!(tick(&source), frame(20, 0));
        source.capture(2, &frame(10, 2));
        assert_eq!(tick(&source), frame(10, 0));
        source.capture(3, &frame(10, 3));
        assert_eq!([tick(&source)[0], tick(&source)[0]], [2, 3]);
        (0..PAUSE_TICKS).for_each(|_| drop(tick(&source)));
        source.capture(4, &frame(10, 4));
        assert_eq!(tick(&source), frame(10, 4));
    }

    #[test]
    fn ticks_and_what_they_waited_for_are_as_long_together_as_the_time_they_took() {
        let (source, _events) = source(100);
        let mut state = 1u32;
        let mut played = 0;
        for count in 1..=2_000 {
            played += tick(&source).len();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            match state >> 28 {
                0 => source.clear(),
                1..10 => drop(source.capture(1, &frame((state >> 16) as usize % 31, 9))),
                10..12 => played += caught_up(&source).len(),
                _ => {}
            }
            let behind = count * TICK - played;
            assert!(behind == 0 || behind == TICK, "{behind} samples behind after {count} ticks");
        }
    }

    /// Played and captured in turn: `count` captures of this loudness.
    fn run(source: &AudioSource, count: usize, value: i16) {
        for _ in 0..count {
            tick(source);
            source.capture(1, &frame(10, value));
        }
    }

    #[test]
    fn the_queue_is_as_short_after_late_captures_as_before_them_once_there_is_a_pause() {
        for stall in [4, 30] {
            let (source, _events) = source(1000);
            source.capture(1, &frame(10, 5000));
            run(&source, 20, 5000);
            // Ticks without a capture, which then come at once.
            (0..stall).for_each(|_| drop(tick(&source)));
            source.capture(1, &frame(10 * stall, 5000));
            run(&source, 2 * WATCH_TICKS as usize, 5000);
            assert!(source.queued() >= 0.01 * (stall as f64 - 1.0), "{} s", source.queued());
            run(&source, 2 * WATCH_TICKS as usize, 3);
            assert_eq!(source.queued(), 0.01);
            assert_eq!(tick(&source)[0], 3);
        }
    }

    #[test]
    fn who_captures_ahead_of_time_after_a_pause_loses_nothing_of_it() {
        let (source, _events) = source(1000);
        source.capture(1, &frame(500, 5000));
        (0..80).for_each(|_| drop(tick(&source)));
        source.capture(2, &frame(300, 5000));
        source.capture(3, &frame(700, 3));
        let played: usize = (0..100).map(|_| tick(&source).len()).sum();
        assert_eq!((played, source.queued()), (100 * TICK, 0.0));
    }

    #[test]
    fn rates_that_are_no_multiple_of_100_play_the_exact_number_of_samples() {
        let events = Arc::new(EventQueue::new().unwrap());
        let source = AudioSource::new(1, 11_025, 1, 5.0, events);
        let samples: usize = (0..100).map(|_| tick(&source).len()).sum();
        assert_eq!(samples, 11_025);
    }

    #[test]
    fn a_closed_source_ignores_captures_and_holds_nobody_up() {
        let (source, events) = source(10);
        source.capture(1, &frame(100, 1));
        source.close();
        assert_eq!(captured(&events), [1]);
        assert!(source.capture(2, &frame(100, 1)).0);
        assert!(tick(&source).iter().all(|sample| *sample == 0));
    }
}
