//! When media was captured, on our clock.
//!
//! A publisher's sender reports tie the timestamps of each of its streams to its own wall clock; one offset per
//! publisher ties that to ours. As all its streams share the offset, an error in it moves them together and lip sync
//! holds. Until a stream has had a report, the earliest arrivals stand in.

use crate::types::SenderReport;

/// Microseconds since the room was opened.
pub(crate) type Micros = i64;

/// A capture time further from the arrival than this is a broken report.
const MAX_AGE: Micros = 10_000_000;
/// The least delay counts for this long at least, and for twice this at most: clocks drift apart.
const LEAST_DELAY: Micros = 10_000_000;
/// An offset that grew by more than this, in this many reports running, is a clock that was set.
const CLOCK_STEP: Micros = 1_000_000;
const CLOCK_STEP_REPORTS: u32 = 3;
/// A packet that came this much earlier than the offset allows has a timestamp that is wrong.
const MAX_EARLY: Micros = 200_000;

/// The least of the samples of the last while. Whatever is delayed is delayed by waiting, so the least is the truest.
#[derive(Debug, Clone, Copy, Default)]
struct Least {
    since: Micros,
    current: Option<Micros>,
    before: Option<Micros>,
}

impl Least {
    fn add(&mut self, sample: Micros, now: Micros) {
        if now.saturating_sub(self.since) >= LEAST_DELAY {
            self.before = self.current.take();
            self.since = now;
        }
        self.current = Some(self.current.map_or(sample, |least| least.min(sample)));
    }

    fn get(&self) -> Option<Micros> {
        self.current.into_iter().chain(self.before).min()
    }

    fn restart(&mut self, sample: Micros, now: Micros) {
        *self = Least { since: now, current: Some(sample), before: None };
    }
}

/// Our clock minus a publisher's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PublisherClock {
    offset: Least,
    steps: u32,
}

impl PublisherClock {
    /// A report with the sender's time `sender` has arrived at `arrival`.
    fn observe_report(&mut self, sender: Micros, arrival: Micros) {
        let sample = arrival.saturating_sub(sender);
        let excess = self.offset.get().map_or(0, |offset| sample.saturating_sub(offset));
        if excess <= CLOCK_STEP {
            self.steps = 0;
            self.offset.add(sample, arrival);
            return;
        }
        self.steps += 1;
        if self.steps >= CLOCK_STEP_REPORTS {
            self.steps = 0;
            self.offset.restart(sample, arrival);
        }
    }

    /// When a packet that was captured at `sender`, and has arrived at `arrival`, was captured on our clock.
    fn capture(&mut self, sender: Micros, arrival: Micros) -> Option<Micros> {
        let offset = self.offset.get()?;
        let sample = arrival.saturating_sub(sender);
        // Nothing arrives before it is captured: the offset was too large.
        if sample < offset && sample > offset.saturating_sub(MAX_EARLY) {
            self.offset.add(sample, arrival);
            return Some(arrival);
        }
        Some(sender.saturating_add(offset))
    }
}

/// Timestamps of one stream.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StreamClock {
    rate: i64,
    /// The highest timestamp, unwrapped.
    ticks: Option<u64>,
    /// The last report seen, whether or not it still holds.
    known: Option<SenderReport>,
    report: Option<(SenderReport, u64)>,
    /// Arrival minus media time.
    anchor: Least,
}

impl StreamClock {
    /// A clock of `rate` Hz that has seen nothing.
    pub(crate) fn new(rate: u32) -> StreamClock {
        StreamClock { rate: i64::from(rate.max(1)), ..StreamClock::default() }
    }

    /// The same for a stream that starts anew, perhaps with another rate.
    pub(crate) fn restart(&mut self, rate: u32) {
        *self = StreamClock { known: self.known, ..StreamClock::new(rate) };
    }

    /// `timestamp` without wraps, close to the highest one so far.
    pub(crate) fn unwrap(&self, timestamp: u32) -> u64 {
        match self.ticks {
            // Far from zero, so that earlier timestamps fit as well.
            None => (1 << 40) | u64::from(timestamp),
            Some(highest) => highest.wrapping_add_signed(i64::from(signed(timestamp.wrapping_sub(low32(highest))))),
        }
    }

    /// Ticks since the highest timestamp so far.
    pub(crate) fn advance_of(&self, ticks: u64) -> i64 {
        self.ticks.map_or(0, |highest| ticks.wrapping_sub(highest).cast_signed())
    }

    /// Notes a packet in order.
    pub(crate) fn observe(&mut self, ticks: u64, arrival: Micros) {
        self.ticks = Some(ticks);
        self.anchor.add(arrival.saturating_sub(self.micros(ticks)), arrival);
    }

    /// Forgets the relation of timestamps to time, after a jump.
    pub(crate) fn jump(&mut self) {
        self.anchor = Least::default();
        self.report = None;
    }

    /// Notes the stream's latest sender report, which may be the one it knows.
    pub(crate) fn report(&mut self, report: SenderReport, publisher: &mut PublisherClock, arrival: Micros) {
        if self.known.replace(report) == Some(report) {
            return;
        }
        publisher.observe_report(sender_micros(report), arrival);
        self.report = Some((report, self.unwrap(report.rtp_time)));
    }

    /// When `ticks` was captured; never after `arrival`.
    pub(crate) fn capture(&self, ticks: u64, publisher: &mut PublisherClock, arrival: Micros) -> Micros {
        let sender = self.report.map(|(report, at)| {
            let since = scale(ticks.wrapping_sub(at).cast_signed(), 1_000_000, self.rate);
            sender_micros(report).saturating_add(since)
        });
        let by_arrival = || self.anchor.get().map(|anchor| anchor.saturating_add(self.micros(ticks)));
        sender
            .and_then(|sender| publisher.capture(sender, arrival))
            .filter(|capture| capture.saturating_sub(arrival).abs() <= MAX_AGE)
            .or_else(by_arrival)
            .map_or(arrival, |capture| capture.clamp(arrival - MAX_AGE, arrival))
    }

    fn micros(&self, ticks: u64) -> Micros {
        scale(ticks.cast_signed(), 1_000_000, self.rate)
    }
}

/// `value * numerator / denominator` without overflow.
pub(crate) fn scale(value: i64, numerator: i64, denominator: i64) -> i64 {
    let scaled = i128::from(value) * i128::from(numerator) / i128::from(denominator.max(1));
    i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX })
}

/// The part that goes into an RTP header.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
pub(crate) const fn low32(ticks: u64) -> u32 {
    ticks as u32
}

fn signed(difference: u32) -> i32 {
    difference.cast_signed()
}

fn sender_micros(report: SenderReport) -> Micros {
    Micros::try_from(report.sender_time.as_micros()).unwrap_or(Micros::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(sender: f64, rtp_time: u32) -> SenderReport {
        SenderReport { sender_time: Duration::from_secs_f64(sender), rtp_time }
    }

    #[test]
    fn timestamps_unwrap_in_both_directions() {
        let mut clock = StreamClock::new(90_000);
        let first = clock.unwrap(u32::MAX - 10);
        clock.observe(first, 0);
        let second = clock.unwrap(20);
        assert_eq!(second - first, 31);
        clock.observe(second, 1);
        assert_eq!(clock.unwrap(u32::MAX - 10), first);
        assert_eq!(low32(second), 20);
    }

    #[test]
    fn streams_of_one_publisher_with_different_delays_share_one_line() {
        let mut publisher = PublisherClock::default();
        let mut audio = StreamClock::new(48_000);
        let mut video = StreamClock::new(90_000);
        audio.observe(audio.unwrap(1000), 20_000);
        audio.report(report(5000.0, 1000), &mut publisher, 20_000);
        video.observe(video.unwrap(7_000_000), 120_000);
        video.report(report(5000.0, 7_000_000), &mut publisher, 120_000);
        let heard = audio.capture(audio.unwrap(1000 + 48_000), &mut publisher, 2_000_000);
        let seen = video.capture(video.unwrap(7_000_000 + 90_000), &mut publisher, 2_000_000);
        assert_eq!(heard, seen);
    }

    #[test]
    fn captures_are_never_in_the_future_nor_long_ago() {
        let mut publisher = PublisherClock::default();
        let mut clock = StreamClock::new(48_000);
        clock.observe(clock.unwrap(0), 0);
        clock.report(report(1e12, 0), &mut publisher, 0);
        assert_eq!(clock.capture(clock.unwrap(480_000), &mut publisher, 1_000), 1_000);
        clock.report(SenderReport { sender_time: Duration::MAX, rtp_time: 5 }, &mut publisher, 10);
        let capture = clock.capture(clock.unwrap(960), &mut publisher, 20_000);
        assert!((20_000 - MAX_AGE..=20_000).contains(&capture));
    }
}
