//! How much the way to the other side carries, judged from what is told about it without any help of ours.
//!
//! A receiver's estimate of the bandwidth never exceeds what arrives by much, so by itself it says little: as long as we send
//! little, it is low. It tells something when it *falls* below what is being sent. Heavy loss tells the same. Only then a limit
//! is set; after a while without complaints it is lifted again, and should that turn out to be wrong, it is set again for twice
//! as long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The bitrate that stands for "no limit is known".
pub const NO_LIMIT: u64 = 10_000_000_000;

/// A fall by this much is no noise.
const FALL: f64 = 0.92;
/// How long a higher estimate is remembered to compare with.
const MEMORY: Duration = Duration::from_secs(3);
/// Two complaints count as one if they come closer than this.
const APART: Duration = Duration::from_millis(300);
/// A complaint is forgotten after this time.
const FORGOTTEN: Duration = Duration::from_secs(3);
const HEAVY_LOSS: f32 = 0.10;
const FIRST_HOLD: Duration = Duration::from_secs(8);
const LONGEST_HOLD: Duration = Duration::from_secs(120);
/// Without trouble for this long after lifting a limit, the next one is held as briefly as the first.
const PEACE: Duration = Duration::from_secs(60);
/// What is sent is measured over five slices of this length.
const SLICE: Duration = Duration::from_millis(100);
const SLICES: usize = 5;

#[derive(Debug)]
pub(crate) struct Congestion {
    slices: VecDeque<(Instant, u64)>,
    estimates: VecDeque<(Instant, u64)>,
    complaint: Option<Instant>,
    limit: Option<u64>,
    /// When the limit is to be lifted, or when the last one was.
    lift_at: Option<Instant>,
    hold: Duration,
}

impl Congestion {
    pub(crate) fn new() -> Self {
        Congestion {
            slices: VecDeque::with_capacity(SLICES + 1),
            estimates: VecDeque::new(),
            complaint: None,
            limit: None,
            lift_at: None,
            hold: FIRST_HOLD,
        }
    }

    /// Notes that so many bytes were sent.
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize) {
        match self.slices.back_mut() {
            Some((start, sum)) if now.saturating_duration_since(*start) < SLICE => *sum += bytes as u64,
            _ => {
                self.slices.push_back((now, bytes as u64));
                if self.slices.len() > SLICES {
                    self.slices.pop_front();
                }
            }
        }
    }

    /// What is being sent, in bits per second.
    pub(crate) fn rate(&self, now: Instant) -> f64 {
        let window = SLICE * SLICES as u32;
        let recent = self.slices.iter().filter(|(start, _)| now.saturating_duration_since(*start) < window);
        recent.map(|(_, bytes)| *bytes).sum::<u64>() as f64 * 8.0 / window.as_secs_f64()
    }

    /// Takes the receiver's estimate; returns a new limit.
    pub(crate) fn estimated(&mut self, now: Instant, bitrate: u64) -> Option<u64> {
        self.estimates.retain(|(at, _)| now.saturating_duration_since(*at) < MEMORY);
        let highest = self.estimates.iter().map(|(_, bitrate)| *bitrate).max().unwrap_or(0);
        self.estimates.push_back((now, bitrate));
        let fallen = (bitrate as f64) < highest as f64 * FALL;
        if fallen && (bitrate as f64) < self.rate(now) {
            return self.complain(now, bitrate);
        }
        let limit = self.limit.filter(|limit| bitrate > *limit)?;
        self.limit = Some(bitrate);
        changed(limit, bitrate).then_some(bitrate)
    }

    /// Takes the share of packets that the receiver missed lately; returns a new limit.
    pub(crate) fn lost(&mut self, now: Instant, share: f32) -> Option<u64> {
        if share <= HEAVY_LOSS {
            return None;
        }
        let arrived = self.rate(now) * f64::from(1.0 - share.min(0.9));
        self.complain(now, arrived as u64)
    }

    fn complain(&mut self, now: Instant, bitrate: u64) -> Option<u64> {
        let previous = self.complaint.filter(|at| now.saturating_duration_since(*at) < FORGOTTEN);
        let Some(at) = previous else {
            self.complaint = Some(now);
            return None;
        };
        if now.saturating_duration_since(at) < APART {
            return None;
        }
        self.complaint = Some(now);
        if self.limit.is_none() {
            let peaceful = self.lift_at.is_none_or(|at| now.saturating_duration_since(at) > PEACE);
            self.hold = if peaceful { FIRST_HOLD } else { (self.hold * 2).min(LONGEST_HOLD) };
        }
        self.lift_at = Some(now + self.hold);
        let previous = self.limit.replace(bitrate);
        previous.is_none_or(|previous| changed(previous, bitrate)).then_some(bitrate)
    }

    /// Lifts the limit when its time has come; returns the new one.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<u64> {
        if self.limit.is_none() || self.lift_at.is_some_and(|at| now < at) {
            return None;
        }
        self.limit = None;
        self.complaint = None;
        self.estimates.clear();
        Some(NO_LIMIT)
    }
}

fn changed(from: u64, to: u64) -> bool {
    from.abs_diff(to) * 20 > from
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends at a bitrate and estimates ten times a second, for some seconds; returns the limits that were set.
    struct Path {
        now: Instant,
        congestion: Congestion,
    }

    impl Path {
        fn new() -> Self {
            let now = Instant::now();
            Path { now, congestion: Congestion::new() }
        }

        fn run(&mut self, seconds: u64, bitrate: u64, estimate: impl Fn(u64) -> u64) -> Vec<u64> {
            let mut limits = Vec::new();
            for step in 0..seconds * 50 {
                self.now += Duration::from_millis(20);
                self.congestion.sent(self.now, (bitrate / 8 / 50) as usize);
                if step % 25 == 24 {
                    limits.extend(self.congestion.estimated(self.now, estimate(step / 25)));
                    limits.extend(self.congestion.handle_timeout(self.now));
                }
            }
            limits
        }
    }

    #[test]
    fn an_estimate_below_what_is_sent_is_no_limit_as_long_as_it_grows() {
        let mut path = Path::new();
        assert!(path.run(10, 50_000, |_| 70_000).is_empty());
        assert!(path.run(30, 2_000_000, |half| 70_000 + half * 3_000).is_empty());
    }

    #[test]
    fn an_estimate_that_follows_a_falling_rate_is_no_limit() {
        let mut path = Path::new();
        assert!(path.run(10, 2_000_000, |_| 3_000_000).is_empty());
        assert!(path.run(10, 150_000, |_| 235_000).is_empty());
    }

    #[test]
    fn a_fall_below_what_is_sent_limits_and_the_limit_is_lifted_in_the_end() {
        let mut path = Path::new();
        path.run(5, 2_000_000, |_| 3_000_000);
        assert_eq!(path.run(2, 2_000_000, |_| 800_000), [800_000]);
        let later = path.run(15, 500_000, |_| 750_000);
        assert_eq!(later, [NO_LIMIT], "lifted once");
        path.run(2, 2_000_000, |_| 3_000_000);
        assert_eq!(path.run(2, 2_000_000, |_| 800_000), [800_000]);
        assert!(path.run(12, 500_000, |_| 750_000).is_empty(), "held longer than the first time");
    }

    #[test]
    fn the_limit_grows_with_the_estimate() {
        let mut path = Path::new();
        path.run(5, 2_000_000, |_| 3_000_000);
        path.run(2, 2_000_000, |_| 800_000);
        assert_eq!(path.run(2, 700_000, |half| 800_000 + half * 100_000), [900_000, 1_000_000, 1_100_000]);
    }

    #[test]
    fn heavy_loss_limits_and_light_loss_does_not() {
        let mut path = Path::new();
        path.run(2, 1_000_000, |_| NO_LIMIT);
        let at = |path: &Path, seconds| path.now + Duration::from_secs(seconds);
        let now = path.now;
        assert_eq!(path.congestion.lost(now, 0.08), None);
        assert_eq!(path.congestion.lost(now, 0.2), None, "once is an accident");
        path.run(1, 1_000_000, |_| NO_LIMIT);
        let now = at(&path, 0);
        let limit = path.congestion.lost(now, 0.2).expect("twice is a limit");
        assert!((700_000..900_000).contains(&limit), "{limit}");
    }
}
