//! Streaming sample rate conversion by a polyphase filter.

use std::sync::Arc;

use super::error::{AudioError, check_format};
use super::kernel::{Design, Kernel};

/// How steep and how deep the filter is; latency and cost grow with it.
///
/// Latency is given in milliseconds for a lower rate of 16 kHz and shrinks in proportion with higher ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quality {
    /// 60 dB, flat to 0.36 of the lower rate; 0.5 ms.
    Quick,
    /// 76 dB, flat to 0.42 of the lower rate; 1 ms.
    Low,
    /// 96 dB, flat to 0.45 of the lower rate; 2 ms. What real-time streams use.
    #[default]
    Medium,
    /// 100 dB, flat to 0.456 of the lower rate and no aliases at all above half of it; 4.6 ms.
    High,
    /// 120 dB, flat to 0.47 of the lower rate and no aliases at all above half of it; 8 ms.
    VeryHigh,
}

impl Quality {
    fn design(self) -> Design {
        let (pass, stop, attenuation) = match self {
            Self::Quick => (0.36, 0.587, 60.0),
            Self::Low => (0.42, 0.57, 76.0),
            Self::Medium => (0.45, 0.546, 96.0),
            Self::High => (0.4565, 0.5, 100.0),
            Self::VeryHigh => (0.47, 0.5, 120.0),
        };
        Design { pass, stop, attenuation }
    }
}

/// Converts a stream of interleaved samples from one rate to another.
///
/// Output sample `k` stands at the time `k / out_rate` of the input's clock: nothing is shifted. It comes out once the
/// filter has seen [`delay`](Self::delay) of input beyond it. What comes out does not depend on how the input was cut
/// into pushes, and after [`flush`](Self::flush) there are exactly as many samples as the input lasted.
#[derive(Debug)]
pub struct Resampler {
    in_rate: u32,
    out_rate: u32,
    /// `None` when the rates are equal: then samples pass untouched.
    kernel: Option<Arc<Kernel>>,
    /// `out_rate / in_rate` in lowest terms.
    up: u32,
    down: u32,
    /// One per channel: the input that later output still needs, older samples first.
    planes: Vec<Vec<f32>>,
    /// Channel of the next sample pushed; not 0 only while a push ended inside a frame.
    cursor: usize,
    /// The next output.
    next: Cursor,
    /// Frames in and out since the start or the last flush.
    taken: u64,
    given: u64,
}

impl Resampler {
    /// # Errors
    /// A rate or channel count outside of what is accepted.
    pub fn new(in_rate: u32, out_rate: u32, channels: usize, quality: Quality) -> Result<Self, AudioError> {
        check_format(in_rate, channels)?;
        check_format(out_rate, channels)?;
        let divisor = greatest_common_divisor(in_rate, out_rate);
        let (up, down) = (out_rate / divisor, in_rate / divisor);
        let mut resampler = Self {
            in_rate,
            out_rate,
            kernel: (up != down).then(|| Arc::new(Kernel::new(up, down, quality.design()))),
            up,
            down,
            planes: vec![Vec::new(); channels],
            cursor: 0,
            next: Cursor::default(),
            taken: 0,
            given: 0,
        };
        resampler.reset();
        Ok(resampler)
    }

    /// A resampler between the same rates for another number of channels, which has seen nothing yet.
    pub(super) fn with_channels(&self, channels: usize) -> Self {
        let mut other = Self { kernel: self.kernel.clone(), planes: vec![Vec::new(); channels], ..*self };
        other.reset();
        other
    }

    /// Input rate in Hz.
    #[must_use]
    pub fn in_rate(&self) -> u32 {
        self.in_rate
    }

    /// Output rate in Hz.
    #[must_use]
    pub fn out_rate(&self) -> u32 {
        self.out_rate
    }

    /// Channels of both sides.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.planes.len()
    }

    /// Input frames that the output lags behind: the filter's look-ahead. 0 when the rates are equal.
    #[must_use]
    pub fn delay(&self) -> usize {
        self.kernel.as_ref().map_or(0, |kernel| kernel.taps() / 2)
    }

    /// Takes interleaved samples and appends what is ready to `out`. An incomplete frame waits for its rest.
    pub fn push(&mut self, input: &[i16], out: &mut Vec<i16>) {
        let channels = self.channels();
        let whole = self.cursor + input.len();
        if self.kernel.is_none() && self.cursor == 0 && whole.is_multiple_of(channels) {
            let frames = (whole / channels) as u64;
            self.taken += frames;
            self.given += frames;
            return out.extend_from_slice(input);
        }
        let frames_before = self.taken;
        self.taken += (whole / channels) as u64;
        for (channel, plane) in self.planes.iter_mut().enumerate() {
            let first = (channel + channels - self.cursor) % channels;
            plane.extend(input.iter().skip(first).step_by(channels).map(|&sample| f32::from(sample)));
        }
        self.cursor = whole % channels;
        if self.taken != frames_before {
            self.emit(u64::MAX, out);
        }
    }

    /// Appends all that is left, as if silence followed, and starts over. An incomplete frame is dropped.
    pub fn flush(&mut self, out: &mut Vec<i16>) {
        self.finish(|_| 0.0, out);
    }

    /// Like [`flush`](Self::flush), but as if the last frame went on for ever: no edge where something else follows.
    pub(super) fn flush_held(&mut self, out: &mut Vec<i16>) {
        self.finish(|plane| plane.last().copied().unwrap_or(0.0), out);
    }

    /// Begins as if the first frame of `input` had been there for ever, instead of silence.
    pub(super) fn begin_held(&mut self, input: &[i16]) {
        for (plane, &sample) in self.planes.iter_mut().zip(input) {
            plane.fill(f32::from(sample));
        }
    }

    fn finish(&mut self, next: impl Fn(&[f32]) -> f32, out: &mut Vec<i16>) {
        let total = frames_out(self.taken, self.up, self.down);
        let (taken, lookahead) = (self.stored_frames(), self.delay());
        for plane in &mut self.planes {
            plane.truncate(taken);
            let padding = next(plane);
            plane.resize(taken + lookahead, padding);
        }
        self.emit(total, out);
        self.reset();
    }

    /// Forgets everything pushed so far.
    pub fn reset(&mut self) {
        let history = self.kernel.as_ref().map_or(0, |kernel| kernel.taps() / 2 - 1);
        for plane in &mut self.planes {
            plane.clear();
            plane.resize(history, 0.0);
        }
        (self.cursor, self.next) = (0, Cursor::default());
        (self.taken, self.given) = (0, 0);
    }

    /// Frames present in every plane.
    fn stored_frames(&self) -> usize {
        self.planes.iter().map(Vec::len).min().unwrap_or(0)
    }

    /// Appends every output whose filter is covered by input, up to `total` since the start.
    fn emit(&mut self, total: u64, out: &mut Vec<i16>) {
        let (stored, channels) = (self.stored_frames(), self.channels());
        let taps = self.kernel.as_ref().map_or(1, |kernel| kernel.taps());
        let starts = (stored + 1).saturating_sub(self.next.index + taps) as u64;
        let reach = (starts * u64::from(self.up)).saturating_sub(u64::from(self.next.phase));
        let count = reach.div_ceil(u64::from(self.down)).min(total.saturating_sub(self.given)) as usize;

        let base = out.len();
        out.resize(base + count * channels, 0);
        let mut cursor = self.next;
        for (channel, plane) in self.planes.iter().enumerate() {
            cursor = self.next;
            for slot in out[base..].iter_mut().skip(channel).step_by(channels) {
                let window = &plane[cursor.index..cursor.index + taps];
                let sample = match &self.kernel {
                    Some(kernel) => kernel.apply(window, cursor.phase),
                    None => window[0],
                };
                *slot = to_i16(sample);
                cursor.advance(self.up, self.down);
            }
        }
        self.given += count as u64;
        self.next = cursor;
        self.drop_consumed(stored);
    }

    fn drop_consumed(&mut self, stored: usize) {
        let consumed = self.next.index.min(stored);
        for plane in &mut self.planes {
            plane.drain(..consumed);
        }
        self.next.index -= consumed;
    }
}

/// Where an output sample lies in the input.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// First sample in `planes` under its filter.
    index: usize,
    /// In units of `1 / up`.
    phase: u32,
}

impl Cursor {
    /// On by `down / up` input samples.
    fn advance(&mut self, up: u32, down: u32) {
        // A division costs as much as a short filter, and most rates need none.
        self.phase += down;
        if self.phase >= 4 * up {
            self.index += (self.phase / up) as usize;
            self.phase %= up;
        }
        while self.phase >= up {
            self.phase -= up;
            self.index += 1;
        }
    }
}

/// Output frames that last as long as `frames` of input, to the nearest one.
fn frames_out(frames: u64, up: u32, down: u32) -> u64 {
    let exact = u128::from(frames) * u128::from(up);
    ((exact * 2 + u128::from(down)) / (u128::from(down) * 2)) as u64
}

/// Nearest integer, saturated. Adding and taking away 1.5 * 2^23 rounds without a call into the C library.
fn to_i16(sample: f32) -> i16 {
    const ROUND: f32 = 12_582_912.0;
    let clipped = sample.clamp(f32::from(i16::MIN), f32::from(i16::MAX));
    ((clipped + ROUND) - ROUND) as i16
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
