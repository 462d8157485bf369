use thiserror::Error;

use super::{MAX_CHANNELS, MAX_SAMPLE_RATE, MIN_SAMPLE_RATE};

/// A stream of samples that cannot be what it is said to be.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioError {
    /// The rate in Hz is outside what is accepted.
    #[error("sample rate {0} Hz is not within {MIN_SAMPLE_RATE}..={MAX_SAMPLE_RATE} Hz")]
    SampleRate(u32),
    /// The number of channels is outside what is accepted.
    #[error("{0} channels are not within 1..={MAX_CHANNELS}")]
    Channels(usize),
    /// The audio processor does not take this format.
    #[error(
        "audio processing takes 1..=8 channels at a multiple of 100 Hz within 8000..=384000 Hz, \
         not {channels} channels at {sample_rate} Hz"
    )]
    Processing {
        /// In Hz.
        sample_rate: u32,
        /// Interleaved.
        channels: usize,
    },
    /// The audio processor works on blocks of 10 ms.
    #[error("{length} samples are not a multiple of 10 ms ({block} samples over all channels)")]
    BlockLength {
        /// Samples given, over all channels.
        length: usize,
        /// Samples in 10 ms, over all channels.
        block: usize,
    },
}

/// Refuses a rate or channel count that no stream can have.
pub fn check_format(sample_rate: u32, channels: usize) -> Result<(), AudioError> {
    if !(MIN_SAMPLE_RATE..=MAX_SAMPLE_RATE).contains(&sample_rate) {
        return Err(AudioError::SampleRate(sample_rate));
    }
    if !(1..=MAX_CHANNELS).contains(&channels) {
        return Err(AudioError::Channels(channels));
    }
    Ok(())
}
