//! One planar format to another: luma and alpha are copied or change depth, chroma changes sampling and storage.

use std::cell::RefCell;

use super::convert::{ConvertOptions, copy_plane};
use super::format::{ChromaLayout, VideoFormat};
use super::kernels;
use super::picture::{Picture, PictureMut};

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// Rows of 8-bit U and V on the way between two storages.
struct Scratch {
    source: [Vec<u8>; 2],
    target: [Vec<u8>; 2],
}

impl Scratch {
    const fn new() -> Self {
        Self { source: [const { Vec::new() }; 2], target: [const { Vec::new() }; 2] }
    }
}

pub(super) fn planar_to_planar(
    source: &Picture<'_>,
    target: &mut PictureMut<'_>,
    from: ChromaLayout,
    to: ChromaLayout,
    options: ConvertOptions,
) {
    luma(source, target, from, to, options);
    if target.format() == VideoFormat::I420A {
        alpha(source, target, options);
    }
    if from == to {
        for plane in 1..if from.interleaved { 2 } else { 3 } {
            copy_plane(source, target, plane, options.flip_y);
        }
        return;
    }
    let rows = Rows { source, from, to, options };
    let width = source.width() as usize;
    SCRATCH.with_borrow_mut(|scratch| {
        let samples = |layout: ChromaLayout| width.div_ceil(1 << layout.x_shift);
        scratch.source.iter_mut().for_each(|row| row.resize(samples(from), 0));
        scratch.target.iter_mut().for_each(|row| row.resize(samples(to), 0));
        for y in 0..target.shapes()[1].rows {
            let (u, v) = target.chroma_rows_mut(y);
            rows.convert(y, scratch, u, v);
        }
    });
}

fn luma(
    source: &Picture<'_>,
    target: &mut PictureMut<'_>,
    from: ChromaLayout,
    to: ChromaLayout,
    options: ConvertOptions,
) {
    if from.deep == to.deep {
        copy_plane(source, target, 0, options.flip_y);
        return;
    }
    let rows = source.height() as usize;
    for y in 0..rows {
        let samples = source.row(0, if options.flip_y { rows - 1 - y } else { y });
        if to.deep {
            kernels::widen(options.isa, samples, target.row_mut(0, y), options.range, false);
        } else {
            kernels::narrow(options.isa, samples, target.row_mut(0, y), options.range, false);
        }
    }
}

fn alpha(source: &Picture<'_>, target: &mut PictureMut<'_>, options: ConvertOptions) {
    if source.format() == VideoFormat::I420A {
        copy_plane(source, target, 3, options.flip_y);
    } else {
        for y in 0..target.shapes()[3].rows {
            target.row_mut(3, y).fill(255);
        }
    }
}

struct Rows<'a> {
    source: &'a Picture<'a>,
    from: ChromaLayout,
    to: ChromaLayout,
    options: ConvertOptions,
}

impl Rows<'_> {
    /// Fills row `y` of the target's chroma; `v` is not used for pairs.
    fn convert(&self, y: usize, scratch: &mut Scratch, u: &mut [u8], v: &mut [u8]) {
        let (from, to) = (self.from, self.to);
        let rows = self.source_rows(y);
        let resampled = from.x_shift != to.x_shift || rows[0] != rows[1];
        let packed = to.interleaved || to.deep;
        let unpacked = from.interleaved || from.deep;
        if unpacked && !resampled && !packed {
            self.unpack(rows[0], u, v);
            return;
        }
        let Scratch { source: [su, sv], target: [tu, tv] } = scratch;
        let samples = if unpacked {
            self.unpack(rows[0], su, sv);
            [[&su[..]; 2], [&sv[..]; 2]]
        } else {
            [1, 2].map(|plane| rows.map(|row| self.source.row(plane, row)))
        };
        match (resampled, packed) {
            (true, false) => {
                self.resample(samples[0], u);
                self.resample(samples[1], v);
            }
            (true, true) => {
                self.resample(samples[0], tu);
                self.resample(samples[1], tv);
                self.pack(tu, tv, u, v);
            }
            (false, true) => self.pack(samples[0][0], samples[1][0], u, v),
            (false, false) => {
                u.copy_from_slice(samples[0][0]);
                v.copy_from_slice(samples[1][0]);
            }
        }
    }

    /// The two rows (often the same) of the source that row `y` of the target is made of.
    ///
    /// A picture is turned over where it has all its rows, so that each keeps its own chroma.
    fn source_rows(&self, y: usize) -> [usize; 2] {
        let flip = |row: usize, rows: usize| {
            if self.options.flip_y { rows - 1 - row } else { row }
        };
        let rows = self.source.shapes()[1].rows;
        let height = self.source.height() as usize;
        match (self.from.y_shift, self.to.y_shift) {
            (0, 1) => [flip(2 * y, height), flip((2 * y + 1).min(height - 1), height)],
            (1, 0) => [flip(y, height) / 2; 2],
            _ => [flip(y, rows); 2],
        }
    }

    fn unpack(&self, row: usize, u: &mut [u8], v: &mut [u8]) {
        let ConvertOptions { isa, range, .. } = self.options;
        if self.from.interleaved {
            kernels::deinterleave(isa, self.source.row(1, row), u, v);
        } else {
            kernels::narrow(isa, self.source.row(1, row), u, range, true);
            kernels::narrow(isa, self.source.row(2, row), v, range, true);
        }
    }

    fn resample(&self, rows: [&[u8]; 2], target: &mut [u8]) {
        match (self.from.x_shift, self.to.x_shift) {
            (0, 1) => kernels::halve(self.options.isa, rows, target),
            (1, 0) => kernels::double(self.options.isa, rows[0], target),
            _ => kernels::mean(self.options.isa, rows, target),
        }
    }

    fn pack(&self, su: &[u8], sv: &[u8], u: &mut [u8], v: &mut [u8]) {
        let ConvertOptions { isa, range, .. } = self.options;
        if self.to.interleaved {
            kernels::interleave(isa, su, sv, u);
        } else {
            kernels::widen(isa, su, u, range, true);
            kernels::widen(isa, sv, v, range, true);
        }
    }
}
