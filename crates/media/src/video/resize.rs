use std::cell::RefCell;

use super::error::VideoError;
use super::format::VideoFormat;
use super::kernels::{self, Isa};
use super::picture::{Picture, PictureMut};

/// How pixels of another size are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Filter {
    /// The nearest pixel: fast, and jagged.
    Nearest,
    /// Linear between neighbours; when shrinking, over all pixels that the new one covers and its neighbours.
    #[default]
    Bilinear,
    /// Mean of the pixels that the new one covers: fastest for half the size.
    Area,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

struct Scratch {
    columns: Taps,
    rows: Taps,
    /// One row of the source's width, each sample the weighted sum of a column.
    row: Vec<f32>,
}

impl Scratch {
    const fn new() -> Self {
        Self { columns: Taps::new(), rows: Taps::new(), row: Vec::new() }
    }
}

/// For each sample of the target: the first sample of the source that counts, and the weights from there on.
struct Taps {
    first: Vec<usize>,
    /// `count` per target sample; they add up to 1.
    weights: Vec<f32>,
    count: usize,
}

/// Writes `source`, scaled to the target's size, into `target`, which has its format.
///
/// # Errors
/// [`VideoError::TargetFormat`]
pub fn resize(source: &Picture<'_>, target: &mut PictureMut<'_>, filter: Filter) -> Result<(), VideoError> {
    let format = source.format();
    if format != target.format() {
        return Err(VideoError::TargetFormat(target.format(), format));
    }
    SCRATCH.with_borrow_mut(|scratch| {
        for plane in 0..format.plane_count() {
            resize_plane(source, target, plane, filter, scratch);
        }
    });
    Ok(())
}

fn resize_plane(
    source: &Picture<'_>,
    target: &mut PictureMut<'_>,
    plane: usize,
    filter: Filter,
    scratch: &mut Scratch,
) {
    let (from, to) = (source.shapes()[plane], target.shapes()[plane]);
    let channels = channels(source.format(), plane);
    let deep = source.format() == VideoFormat::I010;
    if from == to {
        (0..to.rows).for_each(|y| target.row_mut(plane, y).copy_from_slice(source.row(plane, y)));
        return;
    }
    if filter == Filter::Area && channels == 1 && !deep && from.row == 2 * to.row && from.rows == 2 * to.rows {
        for y in 0..to.rows {
            let rows = [source.row(plane, 2 * y), source.row(plane, 2 * y + 1)];
            kernels::halve(Isa::best(), rows, target.row_mut(plane, y));
        }
        return;
    }
    let unit = channels * if deep { 2 } else { 1 };
    scratch.columns.fill(from.row / unit, to.row / unit, filter);
    scratch.rows.fill(from.rows, to.rows, filter);
    for y in 0..to.rows {
        let out = target.row_mut(plane, y);
        let (first, weights) = scratch.rows.at(y);
        if filter == Filter::Nearest {
            nearest(source.row(plane, first), &scratch.columns.first, unit, out);
            continue;
        }
        scratch.row.clear();
        scratch.row.resize(from.row / (unit / channels), 0.0);
        for (index, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
            let row = source.row(plane, first + index);
            if deep {
                kernels::accumulate_deep(Isa::best(), row, weight, &mut scratch.row);
            } else {
                kernels::accumulate(Isa::best(), row, weight, &mut scratch.row);
            }
        }
        scale_row(&scratch.columns, &scratch.row, channels, deep, out);
    }
}

/// Samples that alternate in the rows of a plane.
fn channels(format: VideoFormat, plane: usize) -> usize {
    match (format, plane) {
        (VideoFormat::Nv12, 1) => 2,
        _ => format.pixel_order().map_or(1, |order| order.size()),
    }
}

fn nearest(row: &[u8], columns: &[usize], unit: usize, out: &mut [u8]) {
    match unit {
        1 => pick::<1>(row, columns, out),
        2 => pick::<2>(row, columns, out),
        3 => pick::<3>(row, columns, out),
        _ => pick::<4>(row, columns, out),
    }
}

fn pick<const UNIT: usize>(row: &[u8], columns: &[usize], out: &mut [u8]) {
    let ((row, _), (out, _)) = (row.as_chunks::<UNIT>(), out.as_chunks_mut::<UNIT>());
    out.iter_mut().zip(columns).for_each(|(pixel, &column)| *pixel = row[column]);
}

fn scale_row(columns: &Taps, row: &[f32], channels: usize, deep: bool, out: &mut [u8]) {
    // Adding 2^23 leaves the rounded sum in the low bits, which vectorises where a saturating cast does not.
    let rounded = |sum: f32| (sum + 8_388_608.0).to_bits();
    let byte = |sum| rounded(sum) as u8;
    match channels {
        1 if deep => {
            let (out, _) = out.as_chunks_mut::<2>();
            let code = |sum| (rounded(sum) as u16).to_le_bytes();
            sum_columns::<1, _>(columns, row, out, code);
        }
        1 => sum_columns::<1, _>(columns, row, out, byte),
        2 => sum_columns::<2, _>(columns, row, out, byte),
        3 => sum_columns::<3, _>(columns, row, out, byte),
        _ => sum_columns::<4, _>(columns, row, out, byte),
    }
}

fn sum_columns<const CHANNELS: usize, T>(columns: &Taps, row: &[f32], out: &mut [T], quantise: impl Fn(f32) -> T) {
    let ((pixels, _), taps) = (row.as_chunks::<CHANNELS>(), columns.weights.chunks_exact(columns.count));
    for ((out, &first), weights) in out.chunks_exact_mut(CHANNELS).zip(&columns.first).zip(taps) {
        let pixels = &pixels[first..first + weights.len()];
        let sums: [f32; CHANNELS] = match (pixels, weights) {
            // Enlarging by `Bilinear`, the most frequent case.
            ([a, b], [weight_a, weight_b]) => {
                std::array::from_fn(|channel| a[channel] * weight_a + b[channel] * weight_b)
            }
            _ => {
                let mut sums = [0.0; CHANNELS];
                for (pixel, weight) in pixels.iter().zip(weights) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, sample)| *sum += sample * weight);
                }
                sums
            }
        };
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = quantise(sum));
    }
}

impl Taps {
    const fn new() -> Self {
        Self { first: Vec::new(), weights: Vec::new(), count: 0 }
    }

    fn at(&self, index: usize) -> (usize, &[f32]) {
        (self.first[index], &self.weights[index * self.count..(index + 1) * self.count])
    }

    /// Centres of both ends are aligned; weights that would fall outside count for the edge.
    fn fill(&mut self, from: usize, to: usize, filter: Filter) {
        let scale = from as f64 / to as f64;
        let radius = match filter {
            Filter::Nearest => 0.5,
            Filter::Bilinear => scale.max(1.0),
            Filter::Area => (scale / 2.0).max(0.5),
        };
        let most = (2.0 * radius).ceil() as usize;
        self.count = match filter {
            Filter::Nearest => 1,
            Filter::Bilinear => most.min(from),
            Filter::Area => (most + 1).min(from),
        };
        self.first.clear();
        self.weights.clear();
        for index in 0..to {
            let centre = (index as f64 + 0.5) * scale;
            let (left, right) = (centre - radius, centre + radius);
            let first = match filter {
                Filter::Nearest => centre,
                Filter::Bilinear => (left + 0.5).max(0.0),
                Filter::Area => left.max(0.0),
            };
            let first = (first as usize).min(from - self.count);
            let weight = |sample: usize| {
                let at = sample as f64;
                match filter {
                    Filter::Nearest => 1.0,
                    Filter::Bilinear => (1.0 - (at + 0.5 - centre).abs() / radius).max(0.0),
                    Filter::Area => (right.min(at + 1.0) - left.max(at)).max(0.0),
                }
            };
            let samples = first..first + self.count;
            let total: f64 = samples.clone().map(weight).sum();
            self.first.push(first);
            self.weights.extend(samples.map(|sample| (weight(sample) / total) as f32));
        }
    }
}
