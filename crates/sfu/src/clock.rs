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
/// A later report than the offset says is delayed; this is the most that one moves the offset, before smoothing.
const MAX_EXCESS: Micros = 50_000;
const SMOOTHING: Micros = 64;
/// An offset that grew by more than this, in this many reports running, is a clock that was set.
const CLOCK_STEP: Micros = 1_000_000;
const CLOCK_STEP_REPORTS: u32 = 3;

/// Our clock minus a publisher's.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PublisherClock {
    offset: Option<Micros>,
    steps: u32,
}

impl PublisherClock {
    /// A report with the sender's time `sender` has arrived at `arrival`.
    fn observe(&mut self, sender: Micros, arrival: Micros) {
        let sample = arrival.saturating_sub(sender);
        let Some(offset) = self.offset else {
            self.offset = Some(sample);
            return;
        };
        let excess = sample.saturating_sub(offset);
        if excess > CLOCK_STEP {
            self.steps += 1;
            if self.steps >= CLOCK_STEP_REPORTS {
                self.offset = Some(sample);
                self.steps = 0;
            }
            return;
        }
        self.steps = 0;
        // The least delayed report is the truest; the slow rise follows clocks that drift apart.
        self.offset = Some(if excess < 0 { sample } else { offset + excess.min(MAX_EXCESS) / SMOOTHING });
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
    /// Arrival minus media time of the earliest arrivals.
    anchor: Option<Micros>,
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
        let sample = arrival.saturating_sub(self.micros(ticks));
        self.anchor = Some(self.anchor.map_or(sample, |anchor| {
            let excess = sample - anchor;
            if (0..=MAX_AGE).contains(&excess) { anchor + excess.min(MAX_EXCESS) / SMOOTHING } else { sample }
        }));
    }

    /// Forgets the relation of timestamps to time, after a jump.
    pub(crate) fn jump(&mut self) {
        self.anchor = None;
        self.report = None;
    }

    /// Notes the stream's latest sender report, which may be the one it knows.
    pub(crate) fn report(&mut self, report: SenderReport, publisher: &mut PublisherClock, arrival: Micros) {
        if self.known.replace(report) == Some(report) {
            return;
        }
        publisher.observe(sender_micros(report), arrival);
        self.report = Some((report, self.unwrap(report.rtp_time)));
    }

    /// When `ticks` was captured; never after `arrival`.
    pub(crate) fn capture(&self, ticks: u64, publisher: &PublisherClock, arrival: Micros) -> Micros {
        let by_report = self.report.zip(publisher.offset).map(|((report, at), offset)| {
            let since = ticks.wrapping_sub(at).cast_signed();
            sender_micros(report).saturating_add(offset).saturating_add(scale(since, 1_000_000, self.rate))
        });
        let by_arrival = || self.anchor.map(|anchor| anchor.saturating_add(self.micros(ticks)));
        by_report
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
        let heard = audio.capture(audio.unwrap(1000 + 48_000), &publisher, 2_000_000);
        let seen = video.capture(video.unwrap(7_000_000 + 90_000), &publisher, 2_000_000);
        assert_eq!(heard, seen);
    }

    #[test]
    fn captures_are_never_in_the_future_nor_long_ago() {
        let mut publisher = PublisherClock::default();
        let mut clock = StreamClock::new(48_000);
        clock.observe(clock.unwrap(0), 0);
        clock.report(report(1e12, 0), &mut publisher, 0);
        assert_eq!(clock.capture(clock.unwrap(480_000), &publisher, 1_000), 1_000);
        clock.report(SenderReport { sender_time: Duration::MAX, rtp_time: 5 }, &mut publisher, 10);
        let capture = clock.capture(clock.unwrap(960), &publisher, 20_000);
        assert!((20_000 - MAX_AGE..=20_000).contains(&capture));
    }
}
