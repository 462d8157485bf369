//! The Python face of the engine. Decides nothing.
use pyo3::prelude::*;

mod audio_frame;
mod encryption;
mod engine;
mod events;
mod media;
mod video_frame;

#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    #[pymodule_export]
    use crate::audio_frame::{AudioConverter, AudioProcessor, Resampler, mix_samples, sample_levels, scale_samples};
    #[pymodule_export]
    use crate::encryption::Keyring;
    #[pymodule_export]
    use crate::engine::Engine;
    #[pymodule_export]
    use crate::events::Section;
    #[pymodule_export]
    use crate::media::{AudioSink, AudioSource, VideoSink, VideoSource};
    #[pymodule_export]
    use crate::video_frame::{
        FlatBuffer, FrameBuffer, convert_frame, convert_planes, crop_frame, instruction_sets, new_frame_buffer,
        plane_shapes, resize_frame, rotate_frame,
    };
}
