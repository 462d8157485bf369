//! Every kernel in plain Rust: the reference for the others, their tail, and what runs where there is no better.
//!
//! All functions start at pixel `start` of the row, so that a vector kernel can leave its remainder to them.

use crate::video::coefficients::{RgbToYuv, YuvToRgb};
use crate::video::format::PixelOrder;

use super::{ChromaRow, YuvRow, order_of};

/// `(a * b + 2^14) >> 15`: the product that SSE, AVX and NEON have as one instruction.
#[inline(always)]
fn scale(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b) + 0x4000) >> 15) as i16
}

/// A 10-bit sample; codes above 1023 are not possible in a valid picture and count as 1023.
#[inline(always)]
fn deep(row: &[u8], index: usize) -> u16 {
    u16::from_le_bytes([row[2 * index], row[2 * index + 1]]).min(1023)
}

#[inline(always)]
fn channel(luma: i16, chroma: i16) -> u8 {
    (luma.saturating_add(chroma) >> 6).clamp(0, 255) as u8
}

/// Pixels per block of `yuv_to_rgb`: a few vectors' worth of every intermediate row.
const BLOCK: usize = 32;

pub(super) fn yuv_to_rgb<const CHROMA: u8, const ORDER: u8>(
    weights: &YuvToRgb,
    source: &YuvRow<'_>,
    target: &mut [u8],
    start: usize,
) {
    let size = const { order_of(ORDER) }.size();
    for (index, pixels) in target[start * size..].chunks_mut(BLOCK * size).enumerate() {
        let x = start + index * BLOCK;
        let count = pixels.len() / size;
        let (mut luma, mut u, mut v) = ([0; BLOCK], [0; BLOCK], [0; BLOCK]);
        luma_codes::<CHROMA>(source.y, x, &mut luma[..count]);
        let samples = if CHROMA == ChromaRow::FULL { count } else { count.div_ceil(2) };
        chroma_codes::<CHROMA>(source, x, &mut u[..samples], &mut v[..samples]);
        block::<CHROMA, ORDER>(weights, &luma, &u, &v, pixels);
    }
}

/// Luma as 8-bit codes times 2^7.
#[inline(always)]
fn luma_codes<const CHROMA: u8>(y: &[u8], x: usize, codes: &mut [i16]) {
    if CHROMA == ChromaRow::DEEP {
        let samples = y[2 * x..].chunks_exact(2);
        codes.iter_mut().zip(samples).for_each(|(code, pair)| *code = (deep(pair, 0) << 5) as i16);
    } else {
        codes.iter_mut().zip(&y[x..]).for_each(|(code, &sample)| *code = i16::from(sample) << 7);
    }
}

/// Chroma as distances of 8-bit codes from their middle, times 2^8. `x` is even, but for full chroma.
#[inline(always)]
fn chroma_codes<const CHROMA: u8>(source: &YuvRow<'_>, x: usize, u: &mut [i16], v: &mut [i16]) {
    let signed = |sample: u8| (u16::from(sample ^ 0x80) << 8) as i16;
    let signed_deep = |pair: &[u8]| ((deep(pair, 0) << 6) ^ 0x8000) as i16;
    match CHROMA {
        ChromaRow::PAIRS => {
            for ((u, v), pair) in u.iter_mut().zip(v).zip(source.u[x..].chunks_exact(2)) {
                (*u, *v) = (signed(pair[0]), signed(pair[1]));
            }
        }
        ChromaRow::DEEP => {
            u.iter_mut().zip(source.u[x..].chunks_exact(2)).for_each(|(code, pair)| *code = signed_deep(pair));
            v.iter_mut().zip(source.v[x..].chunks_exact(2)).for_each(|(code, pair)| *code = signed_deep(pair));
        }
        _ => {
            let first = if CHROMA == ChromaRow::FULL { x } else { x / 2 };
            u.iter_mut().zip(&source.u[first..]).for_each(|(code, &sample)| *code = signed(sample));
            v.iter_mut().zip(&source.v[first..]).for_each(|(code, &sample)| *code = signed(sample));
        }
    }
}

#[inline(always)]
fn block<const CHROMA: u8, const ORDER: u8>(
    weights: &YuvToRgb,
    luma: &[i16; BLOCK],
    u: &[i16; BLOCK],
    v: &[i16; BLOCK],
    pixels: &mut [u8],
) {
    let order = const { order_of(ORDER) };
    let luma = luma.map(|code| scale(code, weights.y).wrapping_add(weights.y_offset));
    let r = v.map(|v| scale(v, weights.rv));
    let b = u.map(|u| scale(u, weights.bu));
    let mut g = [0; BLOCK];
    for ((g, &u), &v) in g.iter_mut().zip(u).zip(v) {
        *g = scale(u, weights.gu).wrapping_add(scale(v, weights.gv));
    }
    let mut planes = [[255; BLOCK]; 4];
    for (position, terms) in [(order.r, &r), (order.g, &g), (order.b, &b)] {
        if CHROMA == ChromaRow::FULL {
            for ((out, &luma), &term) in planes[position].iter_mut().zip(&luma).zip(terms) {
                *out = channel(luma, term);
            }
        } else {
            let (pairs, _) = planes[position].as_chunks_mut::<2>();
            for ((out, luma), &term) in pairs.iter_mut().zip(luma.as_chunks::<2>().0).zip(terms) {
                *out = luma.map(|luma| channel(luma, term));
            }
        }
    }
    let [a, b, c, d] = planes;
    if order.a.is_some() {
        let (pixels, _) = pixels.as_chunks_mut::<4>();
        for ((((pixel, a), b), c), d) in pixels.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *pixel = [a, b, c, d];
        }
    } else {
        let (pixels, _) = pixels.as_chunks_mut::<3>();
        for (((pixel, a), b), c) in pixels.iter_mut().zip(a).zip(b).zip(c) {
            *pixel = [a, b, c];
        }
    }
}

#[inline(always)]
fn rgb(pixel: &[u8], order: PixelOrder) -> [i32; 3] {
    [i32::from(pixel[order.r]), i32::from(pixel[order.g]), i32::from(pixel[order.b])]
}

#[inline(always)]
fn weigh(weights: [i16; 3], [r, g, b]: [i32; 3]) -> i32 {
    i32::from(weights[0]) * r + i32::from(weights[1]) * g + i32::from(weights[2]) * b
}

pub(super) fn luma<const ORDER: u8>(weights: &RgbToYuv, source: &[u8], target: &mut [u8], start: usize) {
    let order = const { order_of(ORDER) };
    let offset = (weights.black << 15) + (1 << 14);
    for (pixel, y) in source.chunks_exact(order.size()).zip(target).skip(start) {
        *y = ((weigh(weights.y, rgb(pixel, order)) + offset) >> 15).min(255) as u8;
    }
}

pub(super) fn luma_deep<const ORDER: u8>(weights: &RgbToYuv, source: &[u8], target: &mut [u8], start: usize) {
    let order = const { order_of(ORDER) };
    let offset = (weights.black << 15) + (1 << 12);
    for (pixel, y) in source.chunks_exact(order.size()).zip(target.chunks_exact_mut(2)).skip(start) {
        let sample = ((weigh(weights.y, rgb(pixel, order)) + offset) >> 13).min(1023) as u16;
        y.copy_from_slice(&sample.to_le_bytes());
    }
}

/// Chroma of every pixel.
pub(super) fn chroma_full<const ORDER: u8>(
    weights: &RgbToYuv,
    source: &[u8],
    u: &mut [u8],
    v: &mut [u8],
    start: usize,
) {
    let order = const { order_of(ORDER) };
    let offset = (128 << 15) + (1 << 14);
    for ((pixel, u), v) in source.chunks_exact(order.size()).zip(u).zip(v).skip(start) {
        let pixel = rgb(pixel, order);
        *u = ((weigh(weights.u, pixel) + offset) >> 15).min(255) as u8;
        *v = ((weigh(weights.v, pixel) + offset) >> 15).min(255) as u8;
    }
}

/// Chroma of the mean of 2 x 2 pixels; the last column of an odd width counts twice. `start` counts chroma samples.
///
/// `TARGET` is a [`ChromaRow`] number: two rows, one row of pairs (then `v` is not used), or two rows of 10 bits.
pub(super) fn chroma_half<const ORDER: u8, const TARGET: u8>(
    weights: &RgbToYuv,
    rows: [&[u8]; 2],
    u: &mut [u8],
    v: &mut [u8],
    start: usize,
) {
    let order = const { order_of(ORDER) };
    let pixels = order.size() * 2;
    let (shift, most) = if TARGET == ChromaRow::DEEP { (15, 1023) } else { (17, 255) };
    let offset = (128 << 17) + (1 << (shift - 1));
    for (index, (first, second)) in rows[0].chunks(pixels).zip(rows[1].chunks(pixels)).enumerate().skip(start) {
        let last = first.len() - order.size();
        let mut sum = [0; 3];
        for pixel in [first, &first[last..], second, &second[last..]] {
            for (sum, channel) in sum.iter_mut().zip(rgb(pixel, order)) {
                *sum += channel;
            }
        }
        let quantise = |weights| ((weigh(weights, sum) + offset) >> shift).min(most);
        let (cu, cv) = (quantise(weights.u), quantise(weights.v));
        match TARGET {
            ChromaRow::HALF => {
                u[index] = cu as u8;
                v[index] = cv as u8;
            }
            ChromaRow::PAIRS => {
                u[2 * index] = cu as u8;
                u[2 * index + 1] = cv as u8;
            }
            _ => {
                u[2 * index..2 * index + 2].copy_from_slice(&(cu as u16).to_le_bytes());
                v[2 * index..2 * index + 2].copy_from_slice(&(cv as u16).to_le_bytes());
            }
        }
    }
}

/// Reorders the bytes of each pixel: byte `i` of the target is byte `order[i]` of the source, 255 where that is 255.
pub(super) fn shuffle<const FROM: usize, const TO: usize>(
    order: [u8; 4],
    source: &[u8],
    target: &mut [u8],
    start: usize,
) {
    for (from, to) in source.chunks_exact(FROM).zip(target.chunks_exact_mut(TO)).skip(start) {
        for (byte, &index) in to.iter_mut().zip(&order) {
            *byte = from.get(usize::from(index)).copied().unwrap_or(255);
        }
    }
}

pub(super) fn take_alpha(position: usize, source: &[u8], target: &mut [u8], start: usize) {
    for (pixel, alpha) in source.chunks_exact(4).zip(target).skip(start) {
        *alpha = pixel[position];
    }
}

pub(super) fn put_alpha(position: usize, source: &[u8], target: &mut [u8], start: usize) {
    for (&alpha, pixel) in source.iter().zip(target.chunks_exact_mut(4)).skip(start) {
        pixel[position] = alpha;
    }
}
