//! The Python face of the engine. Decides nothing.
use pyo3::prelude::*;

mod audio_frame;

#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::audio_frame::{
        AudioConverter, AudioProcessor, Resampler, mix_samples, sample_levels, scale_samples,
    };
}
