//! When the pictures of one video encoding leave: no more often than its program allows, and never so seldom that a
//! server takes the encoding for stopped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A screen that does not change is shown again after this time, as browsers do.
const SCREEN: Rule = Rule { packets: 1, within: Duration::from_secs(1) };
/// livekit-server takes the lowest encoding of a camera for stopped when none of its packets come in half a second, and
/// those above it when fewer than five come; these it then leaves out for ten seconds.
const LOWEST: Rule = Rule { packets: 1, within: Duration::from_millis(400) };
const UPPER: Rule = Rule { packets: 5, within: Duration::from_millis(400) };
/// Where a repeat costs no encoding there is room for a stall of 250 ms.
const UPPER_AT_REST: Duration = Duration::from_millis(250);
/// A picture that is about to come in time anyway shall not be preceded by a repeat too easily.
const SPACING: Duration = Duration::from_millis(30);
/// A repeat that did not leave is tried again after this time.
const RETRY: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy)]
struct Rule {
    packets: usize,
    within: Duration,
}

/// Tells when the newest picture has to be sent again because no newer one has come.
#[derive(Debug)]
pub(crate) struct Cadence {
    rule: Rule,
    spacing: Duration,
    /// When the newest packets left, as many as the rule wants.
    sent: VecDeque<Instant>,
    asked: Option<Instant>,
}

impl Cadence {
    /// `layer` 0 is the lowest; `fps` 0 = no limit.
    pub(crate) fn new(layer: usize, screencast: bool, fps: u32) -> Self {
        let rule = match (screencast, layer) {
            (true, _) => SCREEN,
            (false, 0) => LOWEST,
            (false, _) => UPPER,
        };
        let spacing = interval(fps).max(SPACING);
        Self { rule, spacing, sent: VecDeque::with_capacity(rule.packets), asked: None }
    }

    /// A picture has left in so many packets.
    pub(crate) fn sent(&mut self, now: Instant, packets: usize) {
        self.asked = None;
        for _ in 0..packets.min(self.rule.packets) {
            if self.sent.len() == self.rule.packets {
                self.sent.pop_front();
            }
            self.sent.push_back(now);
        }
    }

    /// The picture was given to the encoder again.
    pub(crate) fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// Nothing to repeat any more until something is sent.
    pub(crate) fn stop(&mut self) {
        self.sent.clear();
        self.asked = None;
    }

    /// When to send the newest picture again; None while nothing has been sent. `at_rest`: that costs no encoding.
    pub(crate) fn due(&self, at_rest: bool) -> Option<Instant> {
        let last = *self.sent.back()?;
        let within = if at_rest && self.rule.packets == UPPER.packets { UPPER_AT_REST } else { self.rule.within };
        // Each packet has to be followed by as many as the rule wants in time, and those need their distance too.
        let deadlines =
            self.sent.iter().zip(0..).map(|(sent, later)| *sent + within.saturating_sub(self.spacing * later));
        let due = if self.sent.len() == self.rule.packets {
            deadlines.min().unwrap_or(last)
        } else {
            last + within / self.rule.packets as u32
        };
        let due = due.max(last + self.spacing);
        Some(self.asked.map_or(due, |asked| due.max(asked + RETRY)))
    }
}

/// Lets through no more pictures per second than the program asked for, spread as evenly as they come.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    /// When the next picture would come from a perfect clock.
    next: Option<Instant>,
}

impl Pace {
    /// `fps` 0 = no limit.
    pub(crate) fn new(fps: u32) -> Self {
        Self { interval: interval(fps), next: None }
    }

    /// Whether the picture that was captured then may go.
    pub(crate) fn admit(&mut self, at: Instant) -> bool {
        if self.interval.is_zero() {
            return true;
        }
        // Captures jitter: half an interval of earliness is let through and made up for.
        let slack = self.interval / 2;
        if self.next.is_some_and(|next| at + slack < next) {
            return false;
        }
        let regular = self.next.map_or(at, |next| next.max(at.checked_sub(slack).unwrap_or(at)));
        self.next = Some(regular + self.interval);
        true
    }
}

fn interval(fps: u32) -> Duration {
    if fps == 0 { Duration::ZERO } else { Duration::from_secs(1) / fps }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When pictures leave in milliseconds, of a source that captures every `period` for `captured` ms, within `total`.
    fn simulate(cadence: &mut Cadence, period: u64, captured: u64, total: u64) -> Vec<(u64, bool)> {
        simulate_stalled(cadence, period, captured, total, 0)
    }

    /// The same, at rest after the captures, when nothing can leave for so many milliseconds of every second.
    fn simulate_stalled(cadence: &mut Cadence, period: u64, captured: u64, total: u64, stall: u64) -> Vec<(u64, bool)> {
        let start = Instant::now();
        let mut left = Vec::new();
        for ms in 0..total {
            let now = start + Duration::from_millis(ms);
            let fresh = ms < captured && ms.is_multiple_of(period);
            let due = cadence.due(stall > 0).is_some_and(|due| due <= now) && ms % 1000 >= stall;
            if fresh || due {
                cadence.sent(now, 1);
                left.push((ms, !fresh));
            }
        }
        left
    }

    fn fewest_in_half_a_second(left: &[(u64, bool)], span: std::ops::Range<u64>) -> usize {
        let count = |from: u64| left.iter().filter(|(ms, _)| (from..from + 500).contains(ms)).count();
        (span.start..span.end - 500).map(count).min().unwrap()
    }

    #[test]
    fn a_still_picture_keeps_every_encoding_alive() {
        for (layer, wanted, most) in [(0, 1, 26), (1, 5, 130), (2, 5, 130)] {
            let left = simulate(&mut Cadence::new(layer, false, 25), 1, 1, 10_000);
            assert!(fewest_in_half_a_second(&left, 0..10_000) >= wanted, "{layer}: {left:?}");
            assert!(left.len() <= most, "{layer}: {left:?}");
        }
        let left = simulate(&mut Cadence::new(1, true, 15), 1, 1, 10_000);
        assert_eq!(left.len(), 10);
    }

    #[test]
    fn a_slow_source_is_helped_out_and_a_fast_one_left_alone() {
        for period in [90, 105, 120, 200, 333, 1000] {
            let left = simulate(&mut Cadence::new(2, false, 30), period, 10_000, 10_000);
            assert!(fewest_in_half_a_second(&left, 0..10_000) >= 5, "{period}: {left:?}");
            let left = simulate(&mut Cadence::new(0, false, 30), period, 10_000, 10_000);
            assert!(period > 400 || left.iter().all(|(_, repeat)| !repeat), "{period}: {left:?}");
        }
        for period in [33, 50, 66, 80] {
            let left = simulate(&mut Cadence::new(2, false, 30), period, 10_000, 10_000);
            assert!(left.iter().all(|(_, repeat)| !repeat), "{period}: {left:?}");
        }
    }

    #[test]
    fn a_picture_in_many_packets_is_followed_by_others_in_time() {
        for (fps, at_rest) in [(20, false), (25, false), (30, true), (0, false)] {
            let (mut cadence, start) = (Cadence::new(1, false, fps), Instant::now());
            let mut left = Vec::new();
            for ms in 0..10_000 {
                let now = start + Duration::from_millis(ms);
                if ms == 0 || cadence.due(at_rest).is_some_and(|due| due <= now) {
                    let packets = if ms % 7 == 0 { 11 } else { 1 };
                    cadence.sent(now, packets);
                    left.extend(std::iter::repeat_n((ms, true), packets));
                }
            }
            assert!(fewest_in_half_a_second(&left, 1..10_000) >= 5, "{fps}: {left:?}");
        }
    }

    #[test]
    fn a_stall_of_a_quarter_second_is_survived_at_rest() {
        let left = simulate_stalled(&mut Cadence::new(1, false, 30), 1, 1, 10_000, 250);
        assert!(fewest_in_half_a_second(&left, 1_000..10_000) >= 5, "{left:?}");
        assert!(left.len() <= 210, "{}", left.len());
    }

    #[test]
    fn repeats_keep_to_the_frame_rate_that_the_program_asked_for() {
        let left = simulate(&mut Cadence::new(1, false, 4), 1, 1, 10_000);
        assert_eq!(left.len(), 40);
    }

    #[test]
    fn what_the_encoder_did_not_send_is_asked_for_again_later() {
        let start = Instant::now();
        let mut cadence = Cadence::new(0, false, 0);
        assert_eq!(cadence.due(false), None);
        cadence.sent(start, 3);
        let due = start + Duration::from_millis(400);
        assert_eq!(cadence.due(false), Some(due));
        cadence.asked(due);
        assert_eq!(cadence.due(false), Some(due + RETRY));
        cadence.stop();
        assert_eq!(cadence.due(false), None);
    }

    /// Pictures that pass in ten seconds, with captures that are up to `jitter` ms late, and the longest gap in ms.
    fn passed(fps: u32, period: f64, jitter: u64) -> (usize, u64) {
        let (mut pace, start) = (Pace::new(fps), Instant::now());
        let late = |index: u64| if jitter == 0 { 0 } else { index * 7919 % (jitter + 1) };
        let captures = (0..(10_000.0 / period) as u64).map(|index| (index as f64 * period) as u64 + late(index));
        let times: Vec<u64> = captures.filter(|ms| pace.admit(start + Duration::from_millis(*ms))).collect();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        (times.len(), gap)
    }

    #[test]
    fn no_more_pictures_pass_than_were_asked_for() {
        for (fps, period, wanted) in
            [(25, 1000.0 / 30.0, 250), (20, 1000.0 / 30.0, 200), (15, 1000.0 / 60.0, 150), (3, 1000.0 / 25.0, 30)]
        {
            for jitter in [0, 12] {
                let (count, gap) = passed(fps, period, jitter);
                assert!(count.abs_diff(wanted) <= 2, "{fps} of {period}, jitter {jitter}: {count}");
                assert!(gap <= (1000.0 / f64::from(fps) + period) as u64 + jitter + 1, "{fps} of {period}: {gap}");
            }
        }
    }

    #[test]
    fn every_picture_passes_when_they_come_as_often_as_was_asked_for_or_less() {
        for (fps, period) in [(30, 1000.0 / 30.0), (25, 40.0), (25, 66.0), (0, 20.0)] {
            for jitter in [0, 12] {
                assert_eq!(passed(fps, period, jitter).0, (10_000.0 / period) as usize, "{fps}, {period}, {jitter}");
            }
        }
    }
}
