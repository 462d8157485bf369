//! 16-bit PCM: resampling, channel layout, mixing and level.
//!
//! Samples are `i16`, interleaved by channel. Nothing here allocates per sample, locks, or knows what time it is.

mod convert;
mod error;
mod kernel;
mod level;
mod mix;
mod processing;
mod remix;
mod resample;
#[cfg(test)]
mod tests;

pub use convert::AudioConverter;
pub use error::{AudioError, check_format};
pub use level::{SILENCE_DBFS, gain_from_db, is_silent, level_dbfs, peak_dbfs};
pub use mix::{apply_gain, mix, mix_into, saturate_into};
pub use processing::{AudioProcessor, Processing};
pub use remix::remix;
pub use resample::{Quality, Resampler};

/// Lowest sample rate that is accepted, in Hz.
pub const MIN_SAMPLE_RATE: u32 = 1_000;
/// Highest sample rate that is accepted, in Hz.
pub const MAX_SAMPLE_RATE: u32 = 768_000;
/// Most channels in one stream.
pub const MAX_CHANNELS: usize = 255;
