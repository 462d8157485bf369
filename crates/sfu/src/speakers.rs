//! Who speaks: loudness per track from the audio level extension, and changes every 400 ms.

use crate::clock::Micros;
use crate::types::{Speaker, TrackId};

/// Length of one observation, and time between two reports.
pub(crate) const INTERVAL: Micros = 400_000;
/// The quietest level that counts as speech, in -dBov.
const ACTIVE_LEVEL: u8 = 35;
/// The share of a window that must be speech, in percent.
const MIN_SPEECH: Micros = 40;
/// Weight of a new window.
const SMOOTHING: f64 = 2.0 / 3.0;
/// A single packet never stands for more than this.
const MAX_PACKET: Micros = 120_000;
/// Loudness is told in this many steps.
const STEPS: f64 = 8.0;

/// Loudness of one track.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Loudness {
    observed: Micros,
    speech: Micros,
    loudest: Option<u8>,
    smoothed: f64,
    /// End of the last packet observed.
    last: Option<Micros>,
    reported: f64,
}

impl Loudness {
    /// A packet with `level` that lasts `duration` arrived at `now`.
    pub(crate) fn observe(&mut self, now: Micros, level: u8, duration: Micros) {
        let duration = duration.clamp(0, MAX_PACKET);
        self.last = Some(now);
        self.observed += duration;
        if level <= ACTIVE_LEVEL {
            self.speech += duration;
            self.loudest = Some(self.loudest.map_or(level, |loudest| loudest.min(level)));
        }
        if self.observed >= INTERVAL {
            self.close_window();
        }
    }

    /// The track is muted or silent: nobody speaks any more.
    pub(crate) fn reset(&mut self) {
        *self = Loudness { reported: self.reported, ..Loudness::default() };
    }

    /// Whether reports may still follow if nothing more arrives.
    pub(crate) fn is_idle(&self) -> bool {
        self.last.is_none() && self.reported == 0.0
    }

    /// What to report at `now`, if it changed.
    pub(crate) fn change(&mut self, now: Micros, track: TrackId) -> Option<Speaker> {
        if self.last.is_some_and(|last| now - last >= 2 * INTERVAL) {
            self.reset();
        }
        let active = self.smoothed >= linear(f64::from(ACTIVE_LEVEL));
        let level = if active { (self.smoothed * STEPS).ceil() / STEPS } else { 0.0 };
        (level != self.reported).then(|| {
            self.reported = level;
            speaker(track, level)
        })
    }

    /// The last word about a track that goes away, if somebody was speaking.
    pub(crate) fn farewell(&self, track: TrackId) -> Option<Speaker> {
        (self.reported > 0.0).then(|| speaker(track, 0.0))
    }

    fn close_window(&mut self) {
        let level = match self.loudest {
            Some(loudest) if self.speech * 100 >= INTERVAL * MIN_SPEECH => {
                let share = micros(self.speech) / micros(INTERVAL);
                linear(f64::from(loudest) - 20.0 * share.log10()).min(1.0)
            }
            _ => 0.0,
        };
        self.smoothed = if level > 0.0 { self.smoothed + (level - self.smoothed) * SMOOTHING } else { 0.0 };
        self.observed = 0;
        self.speech = 0;
        self.loudest = None;
    }
}

/// Loudest first.
pub(crate) fn sort(speakers: &mut [Speaker]) {
    speakers.sort_by(|a, b| b.level.total_cmp(&a.level).then(a.track.cmp(&b.track)));
}

#[expect(clippy::cast_possible_truncation, reason = "eighths are exact in f32")]
fn speaker(track: TrackId, level: f64) -> Speaker {
    Speaker { track, level: level as f32, active: level > 0.0 }
}

/// Amplitude of a level in -dBov.
fn linear(level: f64) -> f64 {
    10_f64.powf(-level / 20.0)
}

#[expect(clippy::cast_precision_loss, reason = "a window is far below 2^52 microseconds")]
fn micros(value: Micros) -> f64 {
    value as f64
}
