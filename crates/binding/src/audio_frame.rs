//! Sample processing for `greenroom.media`: each call copies its samples in, works without the GIL, and copies them out.

use std::sync::{Mutex, MutexGuard, PoisonError};

use greenroom_media::audio::{self, AudioError, Processing, Quality};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

/// Streaming conversion from one rate to another.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct Resampler(Mutex<audio::Resampler>);

#[pymethods]
impl Resampler {
    #[new]
    fn new(in_rate: u32, out_rate: u32, num_channels: usize, quality: u8) -> PyResult<Self> {
        let resampler = audio::Resampler::new(in_rate, out_rate, num_channels, parse_quality(quality)?);
        Ok(Self(Mutex::new(resampler.map_err(to_value_error)?)))
    }

    #[getter]
    fn delay(&self) -> usize {
        lock(&self.0).delay()
    }

    fn push<'py>(&self, py: Python<'py>, data: PyBuffer<u8>) -> PyResult<Bound<'py, PyByteArray>> {
        let samples = samples_in(py, &data)?;
        let out = py.detach(|| {
            let mut out = Vec::new();
            lock(&self.0).push(&samples, &mut out);
            out
        });
        samples_out(py, &out)
    }

    fn flush<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        let mut out = Vec::new();
        lock(&self.0).flush(&mut out);
        samples_out(py, &out)
    }
}

/// One rate and channel count out of whatever comes in.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct AudioConverter(Mutex<audio::AudioConverter>);

#[pymethods]
impl AudioConverter {
    #[new]
    fn new(out_rate: u32, out_channels: usize, quality: u8) -> PyResult<Self> {
        let converter = audio::AudioConverter::new(out_rate, out_channels, parse_quality(quality)?);
        Ok(Self(Mutex::new(converter.map_err(to_value_error)?)))
    }

    fn push<'py>(
        &self,
        py: Python<'py>,
        data: PyBuffer<u8>,
        sample_rate: u32,
        num_channels: usize,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        let samples = samples_in(py, &data)?;
        let mut out = Vec::new();
        py.detach(|| lock(&self.0).push(&samples, sample_rate, num_channels, &mut out)).map_err(to_value_error)?;
        samples_out(py, &out)
    }

    fn flush<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyByteArray>> {
        let mut out = Vec::new();
        lock(&self.0).flush(&mut out);
        samples_out(py, &out)
    }
}

/// Echo cancellation, noise suppression, gain control and high-pass filter.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct AudioProcessor(Mutex<audio::AudioProcessor>);

#[pymethods]
impl AudioProcessor {
    #[new]
    #[pyo3(signature = (*, echo_cancellation, noise_suppression, high_pass_filter, auto_gain_control))]
    fn new(echo_cancellation: bool, noise_suppression: bool, high_pass_filter: bool, auto_gain_control: bool) -> Self {
        Self(Mutex::new(audio::AudioProcessor::new(Processing {
            echo_cancellation,
            noise_suppression,
            high_pass_filter,
            auto_gain_control,
        })))
    }

    fn process<'py>(
        &self,
        py: Python<'py>,
        data: PyBuffer<u8>,
        sample_rate: u32,
        num_channels: usize,
    ) -> PyResult<Bound<'py, PyByteArray>> {
        let mut samples = samples_in(py, &data)?;
        py.detach(|| lock(&self.0).process(&mut samples, sample_rate, num_channels)).map_err(to_value_error)?;
        samples_out(py, &samples)
    }

    fn process_reverse(
        &self,
        py: Python<'_>,
        data: PyBuffer<u8>,
        sample_rate: u32,
        num_channels: usize,
    ) -> PyResult<()> {
        let samples = samples_in(py, &data)?;
        py.detach(|| lock(&self.0).process_reverse(&samples, sample_rate, num_channels)).map_err(to_value_error)
    }

    fn set_delay_ms(&self, delay: u32) {
        lock(&self.0).set_delay_ms(delay);
    }
}

/// The saturated sum of all inputs.
#[pyfunction]
pub(crate) fn mix_samples<'py>(py: Python<'py>, inputs: Vec<PyBuffer<u8>>) -> PyResult<Bound<'py, PyByteArray>> {
    let inputs: Vec<Vec<i16>> = inputs.iter().map(|input| samples_in(py, input)).collect::<PyResult<_>>()?;
    let out = py.detach(|| {
        let inputs: Vec<&[i16]> = inputs.iter().map(Vec::as_slice).collect();
        audio::mix(&inputs)
    });
    samples_out(py, &out)
}

/// Samples times a factor, clipped.
#[pyfunction]
pub(crate) fn scale_samples<'py>(
    py: Python<'py>,
    data: PyBuffer<u8>,
    factor: f32,
) -> PyResult<Bound<'py, PyByteArray>> {
    let mut samples = samples_in(py, &data)?;
    py.detach(|| audio::apply_gain(&mut samples, factor));
    samples_out(py, &samples)
}

/// RMS and peak level.
#[pyfunction]
pub(crate) fn sample_levels(py: Python<'_>, data: PyBuffer<u8>) -> PyResult<(f32, f32)> {
    let samples = samples_in(py, &data)?;
    Ok(py.detach(|| (audio::level_dbfs(&samples), audio::peak_dbfs(&samples))))
}

fn parse_quality(quality: u8) -> PyResult<Quality> {
    Ok(match quality {
        0 => Quality::Quick,
        1 => Quality::Low,
        2 => Quality::Medium,
        3 => Quality::High,
        4 => Quality::VeryHigh,
        _ => {
            return Err(PyValueError::new_err(format!("quality {quality} is not within 0..=4")));
        }
    })
}

pub(crate) fn samples_in(py: Python<'_>, data: &PyBuffer<u8>) -> PyResult<Vec<i16>> {
    let bytes = data.to_vec(py)?;
    let (samples, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(PyValueError::new_err(format!("{} bytes are not whole int16 samples", bytes.len())));
    }
    Ok(samples.iter().map(|&sample| i16::from_ne_bytes(sample)).collect())
}

pub(crate) fn samples_out<'py>(py: Python<'py>, samples: &[i16]) -> PyResult<Bound<'py, PyByteArray>> {
    PyByteArray::new_with(py, 2 * samples.len(), |bytes| {
        for (slot, sample) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(samples) {
            *slot = sample.to_ne_bytes();
        }
        Ok(())
    })
}

fn to_value_error(error: AudioError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
