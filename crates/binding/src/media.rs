//! Sources and sinks: the ends of media streams that Python holds.

use std::sync::Arc;

use greenroom_engine::{self as core, AudioSinkOptions, Handle, World};
use greenroom_media::video::VideoFormat;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::engine::{Engine, to_python_error};
use crate::video_frame::FrameBuffer;

/// Queue sizes beyond this are a mistake in units.
const LONGEST_QUEUE: f64 = 600.0;

/// One end of a stream as its Python object holds it: closed with that at the latest.
pub(crate) struct End<T: Closes> {
    pub(crate) handle: Handle,
    pub(crate) shared: Arc<T>,
    engine: Py<Engine>,
}

impl<T: Closes> End<T> {
    fn run(&self, scope: Handle, command: impl FnOnce(&mut World) + Send + 'static) -> PyResult<()> {
        self.engine.get().run(scope, command)
    }

    fn close(&self) {
        let forget = self.shared.close(self.handle);
        // A closed engine has forgotten it already.
        let _ = self.run(0, forget);
    }
}

impl<T: Closes> Drop for End<T> {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) trait Closes: Send + Sync + 'static {
    /// Nothing passes any more; returns how the engine forgets it.
    fn close(&self, handle: Handle) -> impl FnOnce(&mut World) + Send + 'static;
}

impl Closes for core::AudioSource {
    fn close(&self, handle: Handle) -> impl FnOnce(&mut World) + Send + 'static {
        self.close();
        move |world| world.remove_source(handle)
    }
}

impl Closes for core::VideoSource {
    fn close(&self, handle: Handle) -> impl FnOnce(&mut World) + Send + 'static {
        self.close();
        move |world| world.remove_source(handle)
    }
}

impl Closes for core::AudioSink {
    fn close(&self, _: Handle) -> impl FnOnce(&mut World) + Send + 'static {
        self.end();
        World::sinks_closed
    }
}

impl Closes for core::VideoSink {
    fn close(&self, _: Handle) -> impl FnOnce(&mut World) + Send + 'static {
        self.end();
        World::sinks_closed
    }
}

/// A real-time queue of PCM.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct AudioSource(pub(crate) End<core::AudioSource>);

#[pymethods]
impl AudioSource {
    #[new]
    fn new(engine: Py<Engine>, source: Handle, sample_rate: u32, num_channels: u16, queue_size: f64) -> PyResult<Self> {
        greenroom_media::audio::check_format(sample_rate, num_channels.into())
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        if !(0.0..=LONGEST_QUEUE).contains(&queue_size) {
            let message = format!("queue_size is {queue_size} s: it must be 0 to {LONGEST_QUEUE} s");
            return Err(PyValueError::new_err(message));
        }
        let events = engine.get().0.events().clone();
        let shared = Arc::new(core::AudioSource::new(source, sample_rate, num_channels, queue_size, events));
        let added = shared.clone();
        engine.get().run(0, move |world| world.add_audio_source(source, added))?;
        Ok(Self(End { handle: source, shared, engine }))
    }

    fn capture(&self, py: Python<'_>, request: u64, data: PyBuffer<u8>, samples_per_channel: usize) -> PyResult<bool> {
        let samples = crate::audio_frame::samples_in(py, &data)?;
        let wanted = samples_per_channel.saturating_mul(self.0.shared.num_channels().into());
        let Some(samples) = samples.get(..wanted) else {
            let message = format!("the frame holds {} samples, {wanted} were declared", samples.len());
            return Err(PyValueError::new_err(message));
        };
        let (fitted, awaited) = self.0.shared.capture(request, samples);
        if awaited {
            let source = self.0.handle;
            self.0.run(0, move |world| world.audio_captured(source))?;
        }
        Ok(fitted)
    }

    fn cancel(&self, request: u64) {
        self.0.shared.cancel(request);
    }

    fn clear(&self) {
        self.0.shared.clear();
    }

    fn notify_drained(&self, request: u64) {
        self.0.shared.notify_drained(request);
    }

    #[getter]
    fn queued(&self) -> f64 {
        self.0.shared.queued()
    }

    fn close(&self) {
        self.0.close();
    }
}

/// The newest picture.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct VideoSource(pub(crate) End<core::VideoSource>);

#[pymethods]
impl VideoSource {
    #[new]
    fn new(engine: Py<Engine>, source: Handle, width: u32, height: u32, is_screencast: bool) -> PyResult<Self> {
        let shared = Arc::new(core::VideoSource::new(width, height, is_screencast));
        let added = shared.clone();
        engine.get().run(0, move |world| world.add_video_source(source, added))?;
        Ok(Self(End { handle: source, shared, engine }))
    }

    #[expect(clippy::too_many_arguments, reason = "arguments of a Python method")]
    fn capture(
        &self,
        py: Python<'_>,
        format: i64,
        width: u32,
        height: u32,
        data: PyBuffer<u8>,
        timestamp_us: i64,
        rotation: u16,
    ) -> PyResult<()> {
        let format = crate::video_frame::format_of(py, format)?;
        if !rotation.is_multiple_of(90) || rotation >= 360 {
            return Err(PyValueError::new_err(format!("rotation is {rotation}: it must be 0, 90, 180 or 270")));
        }
        let bytes = crate::video_frame::bytes_of(py, &data)?;
        py.detach(|| self.0.shared.capture(format, (width, height), bytes, timestamp_us, rotation))
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    fn close(&self) {
        self.0.close();
    }
}

/// Decoded audio for one reader.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct AudioSink(End<core::AudioSink>);

#[pymethods]
impl AudioSink {
    #[new]
    #[pyo3(signature = (engine, sink, *, sample_rate, num_channels, frame_samples, capacity))]
    fn new(
        engine: Py<Engine>,
        sink: Handle,
        sample_rate: u32,
        num_channels: u16,
        frame_samples: usize,
        capacity: usize,
    ) -> PyResult<Self> {
        let options = AudioSinkOptions { sample_rate, num_channels, frame_samples, capacity };
        let events = engine.get().0.events().clone();
        let shared = Arc::new(core::AudioSink::new(sink, options, events).map_err(to_python_error)?);
        Ok(Self(End { handle: sink, shared, engine }))
    }

    fn attach_receiver(&self, peer: Handle, mid: String) -> PyResult<()> {
        let sink = self.0.shared.clone();
        self.0.run(peer, move |world| world.attach_audio_receiver(peer, &mid, sink))
    }

    fn attach_source(&self, source: PyRef<'_, AudioSource>) -> PyResult<()> {
        let (handle, sink) = (source.0.handle, self.0.shared.clone());
        self.0.run(0, move |world| world.attach_audio_sink(handle, sink))
    }

    fn read<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyByteArray>>> {
        self.0.shared.read().map(|samples| crate::audio_frame::samples_out(py, &samples)).transpose()
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.0.shared.dropped()
    }

    fn close(&self) {
        self.0.close();
    }
}

/// Decoded pictures for one reader.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct VideoSink(End<core::VideoSink>);

/// What `VideoSink.read` gives: format, width, height, data, timestamp in microseconds, rotation.
type Frame = (u8, u32, u32, FrameBuffer, i64, u16);

#[pymethods]
impl VideoSink {
    #[new]
    #[pyo3(signature = (engine, sink, *, format, capacity))]
    fn new(py: Python<'_>, engine: Py<Engine>, sink: Handle, format: i64, capacity: usize) -> PyResult<Self> {
        let format = if format == -1 { None } else { Some(crate::video_frame::format_of(py, format)?) };
        let events = engine.get().0.events().clone();
        let shared = Arc::new(core::VideoSink::new(sink, format, capacity, events));
        Ok(Self(End { handle: sink, shared, engine }))
    }

    fn attach_receiver(&self, peer: Handle, mid: String) -> PyResult<()> {
        let sink = self.0.shared.clone();
        self.0.run(peer, move |world| world.attach_video_receiver(peer, &mid, sink))
    }

    fn attach_source(&self, source: PyRef<'_, VideoSource>) -> PyResult<()> {
        let (sink, source, handle) = (self.0.shared.clone(), source.0.handle, self.0.handle);
        self.0.run(0, move |world| world.attach_video_sink(source, handle, sink))
    }

    fn read(&self) -> Option<Frame> {
        let frame = self.0.shared.read()?;
        let format: VideoFormat = frame.format;
        let data = FrameBuffer::from(frame.data);
        Some((format as u8, frame.width, frame.height, data, frame.timestamp_us, frame.rotation))
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.0.shared.dropped()
    }

    fn close(&self) {
        self.0.close();
    }
}
