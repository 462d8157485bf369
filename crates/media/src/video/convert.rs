use super::chroma;
use super::coefficients::{Matrix, Range, RgbToYuv, YuvToRgb};
use super::error::VideoError;
use super::format::{ChromaLayout, VideoFormat};
use super::kernels::{self, ChromaRow, Isa, YuvRow};
use super::picture::{Picture, PictureMut};

/// How to convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvertOptions {
    /// Turn the picture upside down on the way.
    pub flip_y: bool,
    /// Weights between RGB and YUV; without effect between formats of one kind.
    pub matrix: Matrix,
    /// Codes of the YUV side.
    pub range: Range,
    /// Instruction set to use.
    pub isa: Isa,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self { flip_y: false, matrix: Matrix::default(), range: Range::default(), isa: Isa::best() }
    }
}

/// Writes `source` into `target` in the target's format. Every pair of formats works.
///
/// Alpha is kept where both have it and opaque where only the target does. Chroma is averaged on the way to fewer
/// samples and repeated on the way to more.
///
/// # Errors
/// [`VideoError::TargetSize`]
pub fn convert(source: &Picture<'_>, target: &mut PictureMut<'_>, options: ConvertOptions) -> Result<(), VideoError> {
    if (source.width(), source.height()) != (target.width(), target.height()) {
        return Err(VideoError::TargetSize(target.width(), target.height(), source.width(), source.height()));
    }
    if source.format() == target.format() && !options.flip_y {
        copy(source, target);
        return Ok(());
    }
    match (source.format().chroma(), target.format().chroma()) {
        (None, None) => packed_to_packed(source, target, options),
        (None, Some(chroma)) => packed_to_planar(source, target, chroma, options),
        (Some(chroma), None) => planar_to_packed(source, target, chroma, options),
        (Some(from), Some(to)) => chroma::planar_to_planar(source, target, from, to, options),
    }
    Ok(())
}

fn copy(source: &Picture<'_>, target: &mut PictureMut<'_>) {
    for plane in 0..source.format().plane_count() {
        copy_plane(source, target, plane, false);
    }
}

/// Copies a plane that has the same shape in both.
pub(super) fn copy_plane(source: &Picture<'_>, target: &mut PictureMut<'_>, plane: usize, flip_y: bool) {
    if !flip_y && let (Some(from), Some(to)) = (source.contiguous(plane), target.contiguous_mut(plane)) {
        to.copy_from_slice(from);
        return;
    }
    let rows = source.shapes()[plane].rows;
    for y in 0..rows {
        let from = if flip_y { rows - 1 - y } else { y };
        target.row_mut(plane, y).copy_from_slice(source.row(plane, from));
    }
}

fn packed_to_packed(source: &Picture<'_>, target: &mut PictureMut<'_>, options: ConvertOptions) {
    let (from, to) = (source.format(), target.format());
    if from == to {
        copy_plane(source, target, 0, options.flip_y);
        return;
    }
    let rows = source.height() as usize;
    for y in 0..rows {
        let row = if options.flip_y { rows - 1 - y } else { y };
        kernels::shuffle(options.isa, from, to, source.row(0, row), target.row_mut(0, y));
    }
}

fn planar_to_packed(source: &Picture<'_>, target: &mut PictureMut<'_>, chroma: ChromaLayout, options: ConvertOptions) {
    let format = target.format();
    let weights = YuvToRgb::new(options.matrix, options.range, chroma.deep);
    let rows = source.height() as usize;
    for y in 0..rows {
        let v = if chroma.interleaved { &[] } else { source.row(2, y >> chroma.y_shift) };
        let row = YuvRow { y: source.row(0, y), u: source.row(1, y >> chroma.y_shift), v };
        let pixels = target.row_mut(0, if options.flip_y { rows - 1 - y } else { y });
        kernels::yuv_to_rgb(options.isa, chroma_row(chroma), format, &weights, &row, pixels);
        if source.format() == VideoFormat::I420A {
            kernels::put_alpha(options.isa, format, source.row(3, y), pixels);
        }
    }
}

fn packed_to_planar(source: &Picture<'_>, target: &mut PictureMut<'_>, chroma: ChromaLayout, options: ConvertOptions) {
    let ConvertOptions { isa, flip_y, .. } = options;
    let format = source.format();
    let weights = RgbToYuv::new(options.matrix, options.range, chroma.deep);
    let last = source.height() as usize - 1;
    let pixels = |y: usize| source.row(0, if flip_y { last - y } else { y });
    for row in 0..target.shapes()[1].rows {
        let first = row << chroma.y_shift;
        let second = (first + chroma.y_shift as usize).min(last);
        for y in first..=second {
            kernels::luma(isa, chroma.deep, format, &weights, pixels(y), target.row_mut(0, y));
            if target.format() == VideoFormat::I420A {
                put_alpha_plane(isa, format, pixels(y), target.row_mut(3, y));
            }
        }
        let (u, v) = target.chroma_rows_mut(row);
        kernels::chroma(isa, chroma_row(chroma), format, &weights, [pixels(first), pixels(second)], u, v);
    }
}

fn put_alpha_plane(isa: Isa, format: VideoFormat, pixels: &[u8], alpha: &mut [u8]) {
    if format.has_alpha() {
        kernels::take_alpha(isa, format, pixels, alpha);
    } else {
        alpha.fill(255);
    }
}

fn chroma_row(chroma: ChromaLayout) -> ChromaRow {
    match chroma {
        ChromaLayout { deep: true, .. } => ChromaRow::Deep,
        ChromaLayout { interleaved: true, .. } => ChromaRow::Pairs,
        ChromaLayout { x_shift: 0, .. } => ChromaRow::Full,
        _ => ChromaRow::Half,
    }
}
