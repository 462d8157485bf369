//! Pictures for `greenroom.media`: conversion, scaling, turning and cropping of buffers that Python owns.
//!
//! Every function holds the exporter's buffer while it works, so that no other thread can resize or free it, and works
//! without the GIL. Another thread that *writes* a buffer meanwhile spoils the picture and nothing else.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr::NonNull;
use std::sync::LazyLock;

use greenroom_media::video::{
    self, BufferPool, ConvertOptions, Filter, Isa, Matrix, Picture, PictureMut, Plane, PlaneMut, PooledBuffer, Range,
    Rotation, VideoError, VideoFormat,
};
use pyo3::buffer::{PyBuffer, PyUntypedBuffer};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;

/// Idle buffers of all frames of this process: 16 of them, 64 MiB at most.
static POOL: LazyLock<BufferPool> = LazyLock::new(|| BufferPool::with_limit(16, 64 << 20));

/// A writable buffer of one picture; its memory is reused when the last view of it is gone.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct FrameBuffer {
    bytes: NonNull<u8>,
    len: usize,
    _memory: PooledBuffer,
}

// SAFETY: the pointer is into `_memory`, which is Send and Sync and never resized. Python serialises or races writes to
// the bytes as it does for a bytearray; this type itself never touches them.
unsafe impl Send for FrameBuffer {}
// SAFETY: as above.
unsafe impl Sync for FrameBuffer {}

impl From<PooledBuffer> for FrameBuffer {
    fn from(mut memory: PooledBuffer) -> Self {
        let bytes = NonNull::from(&mut memory[..]).cast();
        Self { bytes, len: memory.len(), _memory: memory }
    }
}

#[pymethods]
impl FrameBuffer {
    fn __len__(&self) -> usize {
        self.len
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let (bytes, len) = (slf.get().bytes.as_ptr().cast(), slf.get().len as ffi::Py_ssize_t);
        // SAFETY: `view` comes from the interpreter; the memory lives as long as `slf`, which the view keeps alive.
        let result = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), bytes, len, 0, flags) };
        if result == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// The bytes of another buffer whose items have a spelling that Python's `memoryview.cast` refuses.
#[pyclass(frozen, module = "greenroom._native")]
pub(crate) struct FlatBuffer(PyUntypedBuffer);

#[pymethods]
impl FlatBuffer {
    #[new]
    fn new(py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(buffer)?;
        if !buffer.is_c_contiguous() {
            return Err(frame_error(py, "the buffer is not contiguous"));
        }
        Ok(Self(buffer))
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let buffer = &slf.get().0;
        let (len, readonly) = (buffer.len_bytes() as ffi::Py_ssize_t, c_int::from(buffer.readonly()));
        // SAFETY: `view` comes from the interpreter; the memory is held by `buffer`, which the view keeps alive.
        let result = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), buffer.buf_ptr(), len, readonly, flags) };
        if result == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Bytes of a row and number of rows of each plane, in the order they lie in memory.
#[pyfunction]
pub(crate) fn plane_shapes(py: Python<'_>, format: i64, width: i64, height: i64) -> PyResult<Vec<(usize, usize)>> {
    let format = format_of(py, format)?;
    let (width, height) = size_of(py, width, height)?;
    let shapes = format.plane_shapes(width, height).map_err(|error| to_frame_error(py, &error))?;
    Ok(shapes[..format.plane_count()].iter().map(|shape| (shape.row, shape.rows)).collect())
}

/// A buffer for a picture, with arbitrary content.
#[pyfunction]
pub(crate) fn new_frame_buffer(py: Python<'_>, format: i64, width: i64, height: i64) -> PyResult<FrameBuffer> {
    let format = format_of(py, format)?;
    let (width, height) = size_of(py, width, height)?;
    let len = video::packed_len(format, width, height).map_err(|error| to_frame_error(py, &error))?;
    Ok(POOL.take(len).into())
}

/// Converts a packed picture into `out`, a writable buffer of exactly the right length that does not overlap it.
#[pyfunction]
#[pyo3(signature = (source, size, data, target, out, *, flip_y, matrix, range, isa=None))]
#[allow(clippy::too_many_arguments, reason = "the call from Python is one flat list")]
pub(crate) fn convert_frame(
    py: Python<'_>,
    source: i64,
    size: (i64, i64),
    data: PyBuffer<u8>,
    target: i64,
    out: PyBuffer<u8>,
    flip_y: bool,
    matrix: u8,
    range: u8,
    isa: Option<&str>,
) -> PyResult<()> {
    let (source, target) = (format_of(py, source)?, format_of(py, target)?);
    let (width, height) = size_of(py, size.0, size.1)?;
    let options = ConvertOptions { flip_y, matrix: matrix_of(matrix)?, range: range_of(range)?, isa: isa_of(isa)? };
    with_buffers(py, &data, &out, |data, out| {
        let source = Picture::packed(source, width, height, data)?;
        video::convert(&source, &mut PictureMut::packed(target, width, height, out)?, options)
    })
}

/// Converts a picture given as planes with strides into another given the same way.
#[pyfunction]
pub(crate) fn convert_planes(
    py: Python<'_>,
    source: i64,
    size: (i64, i64),
    planes: Vec<(PyBuffer<u8>, usize)>,
    target: i64,
    out: Vec<(PyBuffer<u8>, usize)>,
) -> PyResult<()> {
    let (source, target) = (format_of(py, source)?, format_of(py, target)?);
    let (width, height) = size_of(py, size.0, size.1)?;
    for (index, (buffer, _)) in out.iter().enumerate() {
        for (other, _) in planes.iter().chain(&out[..index]) {
            check_apart(py, other, buffer)?;
        }
    }
    let mut read = Vec::with_capacity(planes.len());
    for (buffer, stride) in &planes {
        read.push(Plane { data: bytes_of(py, buffer)?, stride: *stride });
    }
    let mut written = Vec::with_capacity(out.len());
    for (buffer, stride) in &out {
        written.push(PlaneMut { data: bytes_of_mut(py, buffer)?, stride: *stride });
    }
    py.detach(|| {
        let source = Picture::new(source, width, height, &read)?;
        video::convert(&source, &mut PictureMut::new(target, width, height, written)?, ConvertOptions::default())
    })
    .map_err(|error| to_frame_error(py, &error))
}

/// Scales a packed picture to `out_size` into `out`.
#[pyfunction]
pub(crate) fn resize_frame(
    py: Python<'_>,
    format: i64,
    size: (i64, i64),
    data: PyBuffer<u8>,
    out_size: (i64, i64),
    filter: u8,
    out: PyBuffer<u8>,
) -> PyResult<()> {
    let format = format_of(py, format)?;
    let (width, height) = size_of(py, size.0, size.1)?;
    let (out_width, out_height) = size_of(py, out_size.0, out_size.1)?;
    let filter = filter_of(filter)?;
    with_buffers(py, &data, &out, |data, out| {
        let source = Picture::packed(format, width, height, data)?;
        video::resize(&source, &mut PictureMut::packed(format, out_width, out_height, out)?, filter)
    })
}

/// Turns a packed picture clockwise by 0, 90, 180 or 270 degrees into `out`.
#[pyfunction]
pub(crate) fn rotate_frame(
    py: Python<'_>,
    format: i64,
    size: (i64, i64),
    data: PyBuffer<u8>,
    degrees: i64,
    out: PyBuffer<u8>,
) -> PyResult<()> {
    let format = format_of(py, format)?;
    let (width, height) = size_of(py, size.0, size.1)?;
    let rotation = Rotation::from_degrees(degrees)
        .ok_or_else(|| frame_error(py, &format!("a picture turns by 0, 90, 180 or 270 degrees, not by {degrees}")))?;
    let (out_width, out_height) = rotation.apply(width, height);
    with_buffers(py, &data, &out, |data, out| {
        let source = Picture::packed(format, width, height, data)?;
        video::rotate(&source, &mut PictureMut::packed(format, out_width, out_height, out)?, rotation)
    })
}

/// Copies a rectangle of a packed picture into `out`.
#[pyfunction]
pub(crate) fn crop_frame(
    py: Python<'_>,
    format: i64,
    size: (i64, i64),
    data: PyBuffer<u8>,
    rectangle: (i64, i64, i64, i64),
    out: PyBuffer<u8>,
) -> PyResult<()> {
    let format = format_of(py, format)?;
    let (width, height) = size_of(py, size.0, size.1)?;
    let (x, y) = size_of(py, rectangle.0, rectangle.1)?;
    let (columns, rows) = size_of(py, rectangle.2, rectangle.3)?;
    with_buffers(py, &data, &out, |data, out| {
        let source = Picture::packed(format, width, height, data)?.crop(x, y, columns, rows)?;
        video::convert(&source, &mut PictureMut::packed(format, columns, rows, out)?, ConvertOptions::default())
    })
}

/// Names of the instruction sets that conversions can use here, slowest first.
#[pyfunction]
pub(crate) fn instruction_sets() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

/// Runs `work` on the bytes of both buffers without the GIL.
fn with_buffers(
    py: Python<'_>,
    data: &PyBuffer<u8>,
    out: &PyBuffer<u8>,
    work: impl FnOnce(&[u8], &mut [u8]) -> Result<(), VideoError> + Send,
) -> PyResult<()> {
    check_apart(py, data, out)?;
    let (data, out) = (bytes_of(py, data)?, bytes_of_mut(py, out)?);
    py.detach(|| work(data, out)).map_err(|error| to_frame_error(py, &error))
}

fn check_apart(py: Python<'_>, data: &PyBuffer<u8>, out: &PyBuffer<u8>) -> PyResult<()> {
    let range = |buffer: &PyBuffer<u8>| {
        let start = buffer.buf_ptr() as usize;
        start..start + buffer.len_bytes()
    };
    let (a, b) = (range(data), range(out));
    if a.start < b.end && b.start < a.end {
        return Err(frame_error(py, "the target overlaps the source in memory: give it a buffer of its own"));
    }
    Ok(())
}

pub(crate) fn bytes_of<'a>(py: Python<'_>, buffer: &'a PyBuffer<u8>) -> PyResult<&'a [u8]> {
    if !buffer.is_c_contiguous() {
        return Err(frame_error(py, "the buffer is not contiguous"));
    }
    if buffer.len_bytes() == 0 {
        return Ok(&[]);
    }
    // SAFETY: the exporter keeps `len_bytes` contiguous bytes at this address alive and unresized while the view is held.
    Ok(unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast(), buffer.len_bytes()) })
}

#[allow(clippy::mut_from_ref, reason = "a Python buffer is shared memory; the view is exclusive within one call")]
fn bytes_of_mut<'a>(py: Python<'_>, buffer: &'a PyBuffer<u8>) -> PyResult<&'a mut [u8]> {
    if buffer.readonly() {
        return Err(frame_error(py, "the target buffer is read-only"));
    }
    if !buffer.is_c_contiguous() {
        return Err(frame_error(py, "the buffer is not contiguous"));
    }
    if buffer.len_bytes() == 0 {
        return Ok(&mut []);
    }
    // SAFETY: as in `bytes_of`; writable, and checked not to overlap what is read in the same call.
    Ok(unsafe { std::slice::from_raw_parts_mut(buffer.buf_ptr().cast(), buffer.len_bytes()) })
}

pub(crate) fn format_of(py: Python<'_>, number: i64) -> PyResult<VideoFormat> {
    VideoFormat::try_from(number).map_err(|error| to_frame_error(py, &error))
}

fn size_of(py: Python<'_>, width: i64, height: i64) -> PyResult<(u32, u32)> {
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err(frame_error(py, &format!("{width} and {height} cannot be a size or position in pixels"))),
    }
}

fn matrix_of(number: u8) -> PyResult<Matrix> {
    match number {
        0 => Ok(Matrix::Bt601),
        1 => Ok(Matrix::Bt709),
        _ => Err(PyValueError::new_err(format!("{number} is not a colour matrix"))),
    }
}

fn range_of(number: u8) -> PyResult<Range> {
    match number {
        0 => Ok(Range::Limited),
        1 => Ok(Range::Full),
        _ => Err(PyValueError::new_err(format!("{number} is not a colour range"))),
    }
}

fn filter_of(number: u8) -> PyResult<Filter> {
    match number {
        0 => Ok(Filter::Nearest),
        1 => Ok(Filter::Bilinear),
        2 => Ok(Filter::Area),
        _ => Err(PyValueError::new_err(format!("{number} is not a scaling filter"))),
    }
}

fn isa_of(name: Option<&str>) -> PyResult<Isa> {
    let Some(name) = name else {
        return Ok(Isa::best());
    };
    let found = Isa::available().into_iter().find(|isa| isa.name() == name);
    found.ok_or_else(|| PyValueError::new_err(format!("this machine has no instruction set {name:?}")))
}

fn to_frame_error(py: Python<'_>, error: &VideoError) -> PyErr {
    frame_error(py, &error.to_string())
}

/// `greenroom.errors.FrameError`, which is a `ValueError`.
fn frame_error(py: Python<'_>, message: &str) -> PyErr {
    let class = py.import("greenroom.errors").and_then(|module| module.getattr("FrameError"));
    match class.and_then(|class| class.call1((message,))) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
