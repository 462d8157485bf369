//! What a conversion means, pixel by pixel in floating point. Shares nothing with the code under test but the formats.

use greenroom_media::video::{ConvertOptions, Matrix, Range, VideoFormat};

/// Byte positions of R, G, B, A.
fn order(format: VideoFormat) -> Option<(usize, [usize; 3], Option<usize>)> {
    match format {
        VideoFormat::Rgba => Some((4, [0, 1, 2], Some(3))),
        VideoFormat::Abgr => Some((4, [3, 2, 1], Some(0))),
        VideoFormat::Argb => Some((4, [1, 2, 3], Some(0))),
        VideoFormat::Bgra => Some((4, [2, 1, 0], Some(3))),
        VideoFormat::Rgb24 => Some((3, [0, 1, 2], None)),
        _ => None,
    }
}

/// Pixels per chroma sample, horizontally and vertically.
fn sampling(format: VideoFormat) -> (usize, usize) {
    match format {
        VideoFormat::I444 => (1, 1),
        VideoFormat::I422 => (2, 1),
        _ => (2, 2),
    }
}

type Plane = Vec<Vec<f64>>;

pub struct Model {
    width: usize,
    height: usize,
    content: Content,
    alpha: Option<Plane>,
}

enum Content {
    Rgb(Vec<Vec<[f64; 3]>>),
    /// Codes as stored; the two chroma planes keep their sampling.
    Yuv {
        deep: bool,
        y: Plane,
        chroma: [Plane; 2],
        sampling: (usize, usize),
    },
}

fn plane(data: &mut impl Iterator<Item = f64>, width: usize, height: usize) -> Plane {
    (0..height).map(|_| data.take(width).collect()).collect()
}

impl Model {
    pub fn read(format: VideoFormat, width: usize, height: usize, data: &[u8]) -> Self {
        if let Some((size, rgb, a)) = order(format) {
            let rows: Vec<Vec<&[u8]>> = data.chunks(size * width).map(|row| row.chunks(size).collect()).collect();
            let pick = |pixel: &&[u8]| rgb.map(|index| f64::from(pixel[index]));
            let content = Content::Rgb(rows.iter().map(|row| row.iter().map(pick).collect()).collect());
            let alpha = a.map(|a| rows.iter().map(|row| row.iter().map(|p| f64::from(p[a])).collect()).collect());
            return Self { width, height, content, alpha };
        }
        let deep = format == VideoFormat::I010;
        let samples: Vec<f64> = if deep {
            data.chunks(2).map(|pair| f64::from(u16::from_le_bytes([pair[0], pair[1]]))).collect()
        } else {
            data.iter().map(|&byte| f64::from(byte)).collect()
        };
        let mut samples = samples.into_iter();
        let (sx, sy) = sampling(format);
        let (columns, rows) = (width.div_ceil(sx), height.div_ceil(sy));
        let y = plane(&mut samples, width, height);
        let chroma = if format == VideoFormat::Nv12 {
            let pairs = plane(&mut samples, columns * 2, rows);
            [0, 1].map(|first| pairs.iter().map(|row| row.iter().skip(first).step_by(2).copied().collect()).collect())
        } else {
            [plane(&mut samples, columns, rows), plane(&mut samples, columns, rows)]
        };
        let alpha = (format == VideoFormat::I420A).then(|| plane(&mut samples, width, height));
        Self { width, height, content: Content::Yuv { deep, y, chroma, sampling: (sx, sy) }, alpha }
    }

    /// The samples of the picture in another format, not rounded.
    pub fn write(&self, to: VideoFormat, options: ConvertOptions) -> Vec<f64> {
        let flipped = |plane: &Plane| -> Plane {
            if options.flip_y { plane.iter().rev().cloned().collect() } else { plane.clone() }
        };
        let opaque = vec![vec![255.0; self.width]; self.height];
        let alpha = self.alpha.as_ref().map_or(opaque, flipped);
        if let Some((size, rgb, a)) = order(to) {
            let mut pixels = self.to_rgb(options);
            if options.flip_y {
                pixels.reverse();
            }
            let mut out = Vec::new();
            for (y, row) in pixels.iter().enumerate() {
                for (x, pixel) in row.iter().enumerate() {
                    let mut bytes = vec![0.0; size];
                    (0..3).for_each(|channel| bytes[rgb[channel]] = pixel[channel]);
                    a.into_iter().for_each(|position| bytes[position] = alpha[y][x]);
                    out.extend(bytes);
                }
            }
            return out;
        }
        let deep = to == VideoFormat::I010;
        let (y, chroma) = self.to_yuv(sampling(to), deep, options);
        let mut out: Vec<f64> = y.concat();
        if to == VideoFormat::Nv12 {
            out.extend(chroma[0].concat().iter().zip(chroma[1].concat()).flat_map(|(&u, v)| [u, v]));
        } else {
            out.extend(chroma[0].concat());
            out.extend(chroma[1].concat());
        }
        if to == VideoFormat::I420A {
            out.extend(alpha.concat());
        }
        out
    }

    fn to_rgb(&self, options: ConvertOptions) -> Vec<Vec<[f64; 3]>> {
        let (deep, y, chroma, (sx, sy)) = match &self.content {
            Content::Rgb(pixels) => return pixels.clone(),
            Content::Yuv { deep, y, chroma, sampling } => (*deep, y, chroma, *sampling),
        };
        let (kr, kb) = weights(options.matrix);
        let [black, luma, middle, span] = codes(options.range, deep);
        let mut pixels = vec![vec![[0.0; 3]; self.width]; self.height];
        for (row, line) in pixels.iter_mut().enumerate() {
            for (column, pixel) in line.iter_mut().enumerate() {
                let luma = (y[row][column] - black) / luma;
                let [cb, cr] = [0, 1].map(|c| (chroma[c][row / sy][column / sx] - middle) / span);
                let r = luma + 2.0 * (1.0 - kr) * cr;
                let b = luma + 2.0 * (1.0 - kb) * cb;
                let g = (luma - kr * r - kb * b) / (1.0 - kr - kb);
                *pixel = [r, g, b].map(|value| (value * 255.0).clamp(0.0, 255.0));
            }
        }
        pixels
    }

    fn to_yuv(&self, to: (usize, usize), deep: bool, options: ConvertOptions) -> (Plane, [Plane; 2]) {
        let (width, height) = (self.width, self.height);
        match &self.content {
            Content::Rgb(pixels) => {
                let mut pixels = pixels.clone();
                if options.flip_y {
                    pixels.reverse();
                }
                let codes = |pixel: [f64; 3]| yuv(pixel, options, deep);
                let y = pixels.iter().map(|row| row.iter().map(|&pixel| codes(pixel)[0]).collect()).collect();
                let means = blocks(width, height, to, |x, y| pixels[y][x]);
                (y, [1, 2].map(|c| means.iter().map(|row| row.iter().map(|&mean| codes(mean)[c]).collect()).collect()))
            }
            Content::Yuv { deep: from_deep, y, chroma, sampling } => {
                let depth = |plane: &Plane, chroma| change_depth(plane, *from_deep, deep, chroma, options.range);
                let mut luma = depth(y, false);
                if options.flip_y {
                    luma.reverse();
                }
                (luma, [0, 1].map(|c| depth(&self.resample(&chroma[c], *sampling, to, options.flip_y), true)))
            }
        }
    }

    /// Chroma in another sampling: turned over while it has every row, repeated or averaged.
    fn resample(&self, plane: &Plane, from: (usize, usize), to: (usize, usize), flip_y: bool) -> Plane {
        let mut plane = plane.clone();
        if from.1 == to.1 {
            if flip_y {
                plane.reverse();
            }
            return blocks(self.width, plane.len(), (to.0, 1), |x, y| [plane[y][x / from.0]; 3])
                .iter()
                .map(|row| row.iter().map(|value| value[0]).collect())
                .collect();
        }
        let mut full: Plane =
            (0..self.height).map(|y| (0..self.width).map(|x| plane[y / from.1][x / from.0]).collect()).collect();
        if flip_y {
            full.reverse();
        }
        blocks(self.width, self.height, to, |x, y| [full[y][x]; 3])
            .iter()
            .map(|row| row.iter().map(|value| value[0]).collect())
            .collect()
    }
}

/// Means of blocks of pixels; a block that sticks out at the right or bottom has fewer.
fn blocks(
    width: usize,
    height: usize,
    size: (usize, usize),
    at: impl Fn(usize, usize) -> [f64; 3],
) -> Vec<Vec<[f64; 3]>> {
    let mut means = Vec::new();
    for top in (0..height).step_by(size.1) {
        let mut row = Vec::new();
        for left in (0..width).step_by(size.0) {
            let (mut sum, mut count) = ([0.0; 3], 0.0);
            for y in top..(top + size.1).min(height) {
                for x in left..(left + size.0).min(width) {
                    at(x, y).iter().zip(&mut sum).for_each(|(value, sum)| *sum += value);
                    count += 1.0;
                }
            }
            row.push(sum.map(|sum| sum / count));
        }
        means.push(row);
    }
    means
}

fn weights(matrix: Matrix) -> (f64, f64) {
    match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
    }
}

/// Code of black, span of luma, middle and span of chroma.
fn codes(range: Range, deep: bool) -> [f64; 4] {
    match (range, deep) {
        (Range::Limited, false) => [16.0, 219.0, 128.0, 224.0],
        (Range::Limited, true) => [64.0, 876.0, 512.0, 896.0],
        (Range::Full, false) => [0.0, 255.0, 128.0, 255.0],
        (Range::Full, true) => [0.0, 1023.0, 512.0, 1023.0],
    }
}

fn yuv(pixel: [f64; 3], options: ConvertOptions, deep: bool) -> [f64; 3] {
    let (kr, kb) = weights(options.matrix);
    let [black, luma, middle, span] = codes(options.range, deep);
    let [r, g, b] = pixel.map(|value| value / 255.0);
    let y = kr * r + (1.0 - kr - kb) * g + kb * b;
    let (u, v) = ((b - y) / (2.0 * (1.0 - kb)), (r - y) / (2.0 * (1.0 - kr)));
    let most = if deep { 1023.0 } else { 255.0 };
    [black + luma * y, middle + span * u, middle + span * v].map(|code: f64| code.clamp(0.0, most))
}

fn change_depth(plane: &Plane, from: bool, to: bool, chroma: bool, range: Range) -> Plane {
    let ([black, luma, middle, span], [new_black, new_luma, new_middle, new_span]) =
        (codes(range, from), codes(range, to));
    let most = if to { 1023.0 } else { 255.0 };
    let change = |&code: &f64| {
        if from == to {
            code
        } else if chroma {
            ((code - middle) / span * new_span + new_middle).clamp(0.0, most)
        } else {
            ((code - black) / luma * new_luma + new_black).clamp(0.0, most)
        }
    };
    plane.iter().map(|row| row.iter().map(change).collect()).collect()
}

/// The largest distance between the bytes of a picture and the samples they should be.
pub fn worst_difference(format: VideoFormat, data: &[u8], expected: &[f64]) -> f64 {
    let samples: Vec<f64> = if format == VideoFormat::I010 {
        data.chunks(2).map(|pair| f64::from(u16::from_le_bytes([pair[0], pair[1]]))).collect()
    } else {
        data.iter().map(|&byte| f64::from(byte)).collect()
    };
    assert_eq!(samples.len(), expected.len());
    samples.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
