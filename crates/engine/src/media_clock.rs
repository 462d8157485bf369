//! When the frames of a received video were captured, on this machine's clock.

use std::time::Duration;

/// RTP ticks of video per second.
const CLOCK_RATE: i64 = 90_000;
/// A frame whose arrival is this far from what its timestamp says begins a new reckoning.
const JUMP_US: i64 = 1_000_000;
/// One part in so many of what a frame took longer than the fastest is believed to be the clocks' drift.
const DRIFT: i64 = 256;

/// Turns RTP timestamps to times that are as far apart as the captures were, and as near to the arrivals as the
/// fastest frame came.
#[derive(Debug, Default)]
pub(crate) struct MediaClock {
    newest: Option<Newest>,
}

#[derive(Debug)]
struct Newest {
    timestamp: u32,
    media_us: i64,
    /// Of the fastest frame: arrival minus media time.
    offset_us: i64,
    given_us: i64,
}

impl MediaClock {
    /// Microseconds for a frame with this RTP timestamp that came at `arrival`; they grow from frame to frame.
    pub(crate) fn time_us(&mut self, timestamp: u32, arrival: Duration) -> i64 {
        let arrival_us = i64::try_from(arrival.as_micros()).unwrap_or(i64::MAX);
        let Some(newest) = &mut self.newest else {
            self.newest = Some(Newest { timestamp, media_us: 0, offset_us: arrival_us, given_us: arrival_us });
            return arrival_us;
        };
        let step = i64::from(timestamp.wrapping_sub(newest.timestamp).cast_signed());
        newest.timestamp = timestamp;
        newest.media_us += step * 1_000_000 / CLOCK_RATE;
        let late_us = arrival_us - newest.media_us - newest.offset_us;
        newest.offset_us += match late_us {
            ..0 => late_us,
            JUMP_US.. => late_us,
            _ => late_us / DRIFT,
        };
        newest.given_us = (newest.media_us + newest.offset_us).max(newest.given_us + 1);
        newest.given_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn frames_are_as_far_apart_as_they_were_captured_however_they_came() {
        let mut clock = MediaClock::default();
        let jitter = [0, 12, 3, 30, 30, 7, 0, 21];
        let start = u32::MAX - 9_000;
        let times: Vec<i64> = (0..80u32)
            .map(|n| {
                let arrival = ms(1_000 + u64::from(n) * 40 + jitter[n as usize % jitter.len()]);
                clock.time_us(start.wrapping_add(n * 3_600), arrival)
            })
            .collect();
        for pair in times.windows(2) {
            assert!((pair[1] - pair[0] - 40_000).abs() <= 1_000, "{pair:?}");
        }
        assert!((times[79] - 1_000_000 - 79 * 40_000).abs() <= 3_000);
    }

    #[test]
    fn a_faster_path_and_a_sender_that_stood_still_are_followed_and_time_never_goes_back() {
        let mut clock = MediaClock::default();
        assert_eq!(clock.time_us(0, ms(500)), 500_000);
        assert_eq!(clock.time_us(3_600, ms(520)), 520_000);
        assert_eq!(clock.time_us(3_600, ms(520)), 520_001);
        // Its clock stopped for ten seconds, and then was set back.
        assert_eq!(clock.time_us(7_200, ms(10_560)), 10_560_000);
        assert!(clock.time_us(100, ms(10_600)) > 10_560_000);
    }

    #[test]
    fn drift_of_the_clocks_is_followed() {
        let mut clock = MediaClock::default();
        let mut last = 0;
        for n in 0..9_000u64 {
            // The sender's clock is slow by 200 ppm.
            last = clock.time_us((n * 2_999) as u32, Duration::from_micros(n * 33_333));
        }
        assert!((last - 8_999 * 33_333).abs() < 15_000, "{}", last - 8_999 * 33_333);
    }
}
