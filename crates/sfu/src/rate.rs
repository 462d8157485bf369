//! Bit rate and frame rate of one layer.

use crate::clock::Micros;

/// Length of one measurement.
const SPAN: Micros = 500_000;
/// Temporal layers told apart.
const TEMPORAL: usize = 4;

/// Counts bytes and frames in spans of half a second and reports the last two.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RateMeter {
    since: Option<Micros>,
    open: Span,
    last: Option<Rates>,
    before: Option<Rates>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Span {
    bytes: u64,
    frames: [u32; TEMPORAL],
}

#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    bits: u64,
    /// Thousandths of frames per second, by temporal layer.
    frames: [u64; TEMPORAL],
}

impl RateMeter {
    /// Counts a packet; true when a span has ended, so that the rates are new.
    pub(crate) fn add(&mut self, now: Micros, bytes: usize, frame: Option<u8>) -> bool {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_sub(since);
        let ended = elapsed >= SPAN;
        if ended {
            self.close(elapsed);
            self.since = Some(now);
        }
        self.open.bytes = self.open.bytes.saturating_add(bytes as u64);
        if let Some(count) =
            frame.and_then(|temporal| self.open.frames.get_mut(usize::from(temporal).min(TEMPORAL - 1)))
        {
            *count += 1;
        }
        ended
    }

    /// Whether a span has ended, so that there are rates.
    pub(crate) fn is_measured(&self) -> bool {
        self.last.is_some()
    }

    /// bit/s.
    pub(crate) fn bitrate(&self) -> u64 {
        self.mean(|rates| rates.bits)
    }

    /// Thousandths of frames per second that temporal layers up to `temporal` make up.
    pub(crate) fn frame_rate(&self, temporal: u8) -> u64 {
        self.mean(|rates| rates.frames.iter().take(usize::from(temporal) + 1).sum())
    }

    /// The highest temporal layer that stays within `fps`; 0 = no limit.
    pub(crate) fn temporal_for(&self, fps: u32) -> u8 {
        if fps == 0 || self.last.is_none() {
            return u8::MAX;
        }
        // A tenth above, as measurements jitter and 29.97 is 30 to whoever asks.
        let limit = u64::from(fps) * 1100;
        if self.frame_rate(u8::MAX) <= limit {
            return u8::MAX;
        }
        [2, 1].into_iter().find(|&temporal| self.frame_rate(temporal) <= limit).unwrap_or(0)
    }

    fn close(&mut self, elapsed: Micros) {
        let elapsed = u64::try_from(elapsed).unwrap_or(1).max(1);
        self.before = self.last;
        self.last = Some(Rates {
            bits: self.open.bytes.saturating_mul(8_000_000) / elapsed,
            frames: self.open.frames.map(|frames| u64::from(frames) * 1_000_000_000 / elapsed),
        });
        self.open = Span::default();
    }

    fn mean(&self, value: impl Fn(&Rates) -> u64) -> u64 {
        match (&self.last, &self.before) {
            (Some(last), Some(before)) => value(last).saturating_add(value(before)) / 2,
            (Some(last), None) => value(last),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_the_temporal_layer_for_a_frame_rate_come_from_what_arrives() {
        let mut meter = RateMeter::default();
        // 40 frames per second of 1000 bytes in the pattern 0 2 1 2.
        for frame in 0..81_i64 {
            let temporal = [0, 2, 1, 2][usize::try_from(frame % 4).unwrap_or(0)];
            meter.add(frame * 25_000, 1000, Some(temporal));
        }
        assert_eq!(meter.bitrate(), 320_000);
        assert_eq!(meter.frame_rate(0), 10_000);
        assert_eq!(meter.temporal_for(0), u8::MAX);
        assert_eq!(meter.temporal_for(40), u8::MAX);
        assert_eq!(meter.temporal_for(30), 1);
        assert_eq!(meter.temporal_for(15), 0);
        assert_eq!(meter.temporal_for(1), 0);
    }
}
