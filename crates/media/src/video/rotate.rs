use super::error::VideoError;
use super::format::VideoFormat;
use super::picture::{Picture, PictureMut};

/// A clockwise turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// No turn.
    #[default]
    None,
    /// A quarter turn: the left edge becomes the top.
    Clockwise90,
    /// Upside down.
    Half,
    /// Three quarters: the right edge becomes the top.
    Clockwise270,
}

impl Rotation {
    /// From degrees clockwise: 0, 90, 180 or 270.
    pub fn from_degrees(degrees: i64) -> Option<Self> {
        match degrees {
            0 => Some(Self::None),
            90 => Some(Self::Clockwise90),
            180 => Some(Self::Half),
            270 => Some(Self::Clockwise270),
            _ => None,
        }
    }

    /// Whether width and height change places.
    pub fn is_quarter(self) -> bool {
        matches!(self, Self::Clockwise90 | Self::Clockwise270)
    }

    /// The size of a picture after the turn.
    pub fn apply(self, width: u32, height: u32) -> (u32, u32) {
        if self.is_quarter() { (height, width) } else { (width, height) }
    }
}

/// Side of the square blocks that a quarter turn works on, so that both sides stay in the cache.
const BLOCK: usize = 32;

/// Writes `source`, turned clockwise, into `target`, which has its format and the turned size.
///
/// # Errors
/// [`VideoError::TargetFormat`], [`VideoError::TargetSize`]
pub fn rotate(source: &Picture<'_>, target: &mut PictureMut<'_>, rotation: Rotation) -> Result<(), VideoError> {
    let format = source.format();
    if format != target.format() {
        return Err(VideoError::TargetFormat(target.format(), format));
    }
    let (width, height) = rotation.apply(source.width(), source.height());
    if (target.width(), target.height()) != (width, height) {
        return Err(VideoError::TargetSize(target.width(), target.height(), width, height));
    }
    for plane in 0..format.plane_count() {
        let is_chroma = plane == 1 || plane == 2;
        if is_chroma && format == VideoFormat::I422 && rotation.is_quarter() {
            quarter_of_i422(source, target, plane, rotation);
            continue;
        }
        match unit(format, plane) {
            1 => turn::<1>(source, target, plane, rotation),
            2 => turn::<2>(source, target, plane, rotation),
            3 => turn::<3>(source, target, plane, rotation),
            _ => turn::<4>(source, target, plane, rotation),
        }
    }
    Ok(())
}

/// Bytes that stay together.
fn unit(format: VideoFormat, plane: usize) -> usize {
    match (format, plane) {
        (VideoFormat::I010, _) | (VideoFormat::Nv12, 1) => 2,
        (VideoFormat::Rgb24, _) => 3,
        (VideoFormat::Rgba | VideoFormat::Abgr | VideoFormat::Argb | VideoFormat::Bgra, _) => 4,
        _ => 1,
    }
}

fn turn<const N: usize>(source: &Picture<'_>, target: &mut PictureMut<'_>, plane: usize, rotation: Rotation) {
    let (columns, rows) = (source.shapes()[plane].row / N, source.shapes()[plane].rows);
    match rotation {
        Rotation::None => {
            (0..rows).for_each(|y| target.row_mut(plane, y).copy_from_slice(source.row(plane, y)));
        }
        Rotation::Half => {
            for y in 0..rows {
                let (from, _) = source.row(plane, rows - 1 - y).as_chunks::<N>();
                let (to, _) = target.row_mut(plane, y).as_chunks_mut::<N>();
                to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
            }
        }
        Rotation::Clockwise90 | Rotation::Clockwise270 => {
            for top in (0..columns).step_by(BLOCK) {
                for left in (0..rows).step_by(BLOCK) {
                    quarter::<N>(source, target, plane, rotation, [left, top], [columns, rows]);
                }
            }
        }
    }
}

/// One block of a quarter turn; `corner` is in the target, `size` is the source's.
fn quarter<const N: usize>(
    source: &Picture<'_>,
    target: &mut PictureMut<'_>,
    plane: usize,
    rotation: Rotation,
    corner: [usize; 2],
    [columns, rows]: [usize; 2],
) {
    let [left, top] = corner;
    let clockwise = rotation == Rotation::Clockwise90;
    let width = BLOCK.min(rows - left);
    let mut from: [&[[u8; N]]; BLOCK] = [&[]; BLOCK];
    for (x, row) in from[..width].iter_mut().enumerate() {
        let x = left + x;
        *row = source.row(plane, if clockwise { rows - 1 - x } else { x }).as_chunks::<N>().0;
    }
    for y in top..(top + BLOCK).min(columns) {
        let column = if clockwise { y } else { columns - 1 - y };
        let (to, _) = target.row_mut(plane, y).as_chunks_mut::<N>();
        for (to, from) in to[left..left + width].iter_mut().zip(&from) {
            *to = from[column];
        }
    }
}

/// Chroma of I422 is halved the other way after a quarter turn: rows are averaged, columns repeated.
fn quarter_of_i422(source: &Picture<'_>, target: &mut PictureMut<'_>, plane: usize, rotation: Rotation) {
    let clockwise = rotation == Rotation::Clockwise90;
    let (width, rows) = (source.width() as usize, source.height() as usize);
    let oriented = |x: usize| if clockwise { rows - 1 - x } else { x };
    for y in 0..width {
        let column = (if clockwise { y } else { width - 1 - y }) / 2;
        for (x, to) in target.row_mut(plane, y).iter_mut().enumerate() {
            let sample = |x: usize| u16::from(source.row(plane, oriented(x))[column]);
            *to = ((sample(2 * x) + sample((2 * x + 1).min(rows - 1)) + 1) >> 1) as u8;
        }
    }
}
