//! Echo cancellation, noise suppression, gain control and a high-pass filter, by the `sonora` crate.

use sonora::config::{
    AdaptiveDigital, EchoCanceller, GainController2, HighPassFilter, MaxProcessingRate, NoiseSuppression,
};
use sonora::{AudioProcessing, Config, StreamConfig};

use super::AudioError;

/// Most channels that are processed.
const MAX_CHANNELS: usize = 8;
/// Rates that are processed, in Hz: those in which 10 ms are a whole number of samples.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=384_000;
/// Longest delay between far and near end that can be told, in ms; longer ones are found by the canceller itself.
const MAX_DELAY_MS: u32 = 500;

/// What an [`AudioProcessor`] does to its near end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Processing {
    /// Remove what of the far end comes back through the room.
    pub echo_cancellation: bool,
    /// Lower steady noise.
    pub noise_suppression: bool,
    /// Remove what is below the voice.
    pub high_pass_filter: bool,
    /// Bring speech to an even level.
    pub auto_gain_control: bool,
}

/// Cleans a microphone's signal, 10 ms at a time.
pub struct AudioProcessor {
    inner: AudioProcessing,
    scratch: Vec<i16>,
}

impl AudioProcessor {
    /// A processor that has heard nothing yet. The format is that of each call.
    #[must_use]
    pub fn new(processing: Processing) -> Self {
        let mut config = Config::default();
        config.pipeline.maximum_internal_processing_rate = MaxProcessingRate::Rate48kHz;
        config.echo_canceller = processing.echo_cancellation.then(EchoCanceller::default);
        config.noise_suppression = processing.noise_suppression.then(NoiseSuppression::default);
        config.high_pass_filter = processing.high_pass_filter.then(HighPassFilter::default);
        config.gain_controller2 = processing.auto_gain_control.then(|| GainController2 {
            adaptive_digital: Some(AdaptiveDigital::default()),
            ..GainController2::default()
        });
        Self { inner: AudioProcessing::builder().config(config).build(), scratch: Vec::new() }
    }

    /// Processes the near end, what the microphone heard, in place.
    ///
    /// # Errors
    /// A format that cannot be processed, or a length that is not a multiple of 10 ms. Nothing has changed then.
    pub fn process(&mut self, samples: &mut [i16], sample_rate: u32, channels: usize) -> Result<(), AudioError> {
        let (format, length) = check_blocks(samples.len(), sample_rate, channels)?;
        for block in samples.chunks_exact_mut(length) {
            self.scratch.clear();
            self.scratch.extend_from_slice(block);
            self.inner
                .process_capture_i16_with_config(&self.scratch, &format, &format, block)
                .map_err(|_| AudioError::Processing { sample_rate, channels })?;
        }
        Ok(())
    }

    /// Listens to the far end, what the loudspeaker is about to play, whose echo is to be removed.
    ///
    /// # Errors
    /// As for [`process`](Self::process).
    pub fn process_reverse(&mut self, samples: &[i16], sample_rate: u32, channels: usize) -> Result<(), AudioError> {
        let (format, length) = check_blocks(samples.len(), sample_rate, channels)?;
        self.scratch.resize(length, 0);
        for block in samples.chunks_exact(length) {
            self.inner
                .process_render_i16_with_config(block, &format, &format, &mut self.scratch)
                .map_err(|_| AudioError::Processing { sample_rate, channels })?;
        }
        Ok(())
    }

    /// Tells how long after [`process_reverse`](Self::process_reverse) the echo reaches [`process`](Self::process), in
    /// milliseconds. Capped at 500.
    pub fn set_delay_ms(&mut self, delay: u32) {
        // The only error is that a delay was capped, which cannot happen any more.
        let _ = self.inner.set_stream_delay_ms(delay.min(MAX_DELAY_MS) as i32);
    }
}

impl std::fmt::Debug for AudioProcessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioProcessor").finish_non_exhaustive()
    }
}

/// The stream's format and the samples in 10 ms of it.
fn check_blocks(length: usize, sample_rate: u32, channels: usize) -> Result<(StreamConfig, usize), AudioError> {
    if !RATES.contains(&sample_rate) || !sample_rate.is_multiple_of(100) || !(1..=MAX_CHANNELS).contains(&channels) {
        return Err(AudioError::Processing { sample_rate, channels });
    }
    let block = sample_rate as usize / 100 * channels;
    if !length.is_multiple_of(block) {
        return Err(AudioError::BlockLength { length, block });
    }
    Ok((StreamConfig::new(sample_rate, channels as u16), block))
}
