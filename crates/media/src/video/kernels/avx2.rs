//! AVX2 kernels: 32 pixels at a time, with the arithmetic of `portable` to the bit.
//!
//! Every function returns how many pixels (for chroma: samples) it has done; the last block overlaps the one before
//! instead of leaving a remainder. All memory is reached through slices, so that a wrong length panics and never reads
//! past an end; the only unsafe steps are loads and stores of a slice whose length was just checked.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use crate::video::coefficients::{RgbToYuv, YuvToRgb};
use crate::video::format::PixelOrder;

use super::{ChromaRow, YuvRow, order_of};

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8], at: usize) -> __m256i {
    let bytes = &bytes[at..at + 32];
    // SAFETY: 32 bytes, and unaligned loads may read anywhere within them.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_half(bytes: &[u8], at: usize) -> __m128i {
    let bytes = &bytes[at..at + 16];
    // SAFETY: 16 bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_quarter(bytes: &[u8], at: usize) -> __m128i {
    let bytes = &bytes[at..at + 8];
    // SAFETY: 8 bytes.
    unsafe { _mm_loadl_epi64(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8], at: usize, value: __m256i) {
    let bytes = &mut bytes[at..at + 32];
    // SAFETY: 32 bytes.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_half(bytes: &mut [u8], at: usize, value: __m128i) {
    let bytes = &mut bytes[at..at + 16];
    // SAFETY: 16 bytes.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), value) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_quarter(bytes: &mut [u8], at: usize, value: __m128i) {
    let bytes = &mut bytes[at..at + 8];
    // SAFETY: 8 bytes.
    unsafe { _mm_storel_epi64(bytes.as_mut_ptr().cast(), value) }
}

/// Starts of blocks of `block` that cover a row: the last begins at `last`, which is a multiple of `step`.
fn blocks(length: usize, block: usize, step: usize) -> (usize, impl Iterator<Item = usize>) {
    let last = length.checked_sub(block).map(|last| last / step * step);
    let done = last.map_or(0, |last| last + block);
    (done, (0..done).step_by(block).map(move |at| at.min(last.unwrap_or(0))))
}

/// Eight pixels as four bytes each; three-byte pixels get a zero.
#[inline]
#[target_feature(enable = "avx2")]
fn load_pixels<const SIZE: usize>(row: &[u8], pixel: usize) -> __m256i {
    if SIZE == 4 {
        return load(row, pixel * 4);
    }
    let spread = _mm256_setr_epi8(
        0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1, //
        4, 5, 6, -1, 7, 8, 9, -1, 10, 11, 12, -1, 13, 14, 15, -1,
    );
    let (low, high) = (load_half(row, pixel * 3), load_half(row, pixel * 3 + 8));
    _mm256_shuffle_epi8(_mm256_set_m128i(high, low), spread)
}

/// Eight pixels whose first three bytes are kept.
#[inline]
#[target_feature(enable = "avx2")]
fn store_three(row: &mut [u8], pixel: usize, pixels: __m256i) {
    let squeeze = _mm256_setr_epi8(
        0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, //
        0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,
    );
    let lanes = _mm256_shuffle_epi8(pixels, squeeze);
    let packed = _mm256_permutevar8x32_epi32(lanes, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
    store_half(row, pixel * 3, _mm256_castsi256_si128(packed));
    store_quarter(row, pixel * 3 + 16, _mm256_extracti128_si256::<1>(packed));
}

struct Weights {
    y: __m256i,
    y_offset: __m256i,
    rv: __m256i,
    gu: __m256i,
    gv: __m256i,
    bu: __m256i,
}

impl Weights {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(weights: &YuvToRgb) -> Self {
        Self {
            y: _mm256_set1_epi16(weights.y),
            y_offset: _mm256_set1_epi16(weights.y_offset),
            rv: _mm256_set1_epi16(weights.rv),
            gu: _mm256_set1_epi16(weights.gu),
            gv: _mm256_set1_epi16(weights.gv),
            bu: _mm256_set1_epi16(weights.bu),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn luma(&self, y: __m256i) -> __m256i {
        _mm256_add_epi16(_mm256_mulhrs_epi16(y, self.y), self.y_offset)
    }

    /// What chroma adds to red, green and blue.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn chroma(&self, u: __m256i, v: __m256i) -> [__m256i; 3] {
        let g = _mm256_add_epi16(_mm256_mulhrs_epi16(u, self.gu), _mm256_mulhrs_epi16(v, self.gv));
        [_mm256_mulhrs_epi16(v, self.rv), g, _mm256_mulhrs_epi16(u, self.bu)]
    }
}

/// Two vectors of 16 samples, in the order that unpacking 32 bytes gives: pixels 0-7 and 16-23, 8-15 and 24-31.
type Halves = [__m256i; 2];

#[inline]
#[target_feature(enable = "avx2")]
fn channel(luma: Halves, chroma: Halves) -> __m256i {
    let low = _mm256_srai_epi16::<6>(_mm256_adds_epi16(luma[0], chroma[0]));
    let high = _mm256_srai_epi16::<6>(_mm256_adds_epi16(luma[1], chroma[1]));
    _mm256_packus_epi16(low, high)
}

/// Luma of 32 pixels as 8-bit codes times 2^7.
#[inline]
#[target_feature(enable = "avx2")]
fn luma_codes<const CHROMA: u8>(y: &[u8], x: usize) -> Halves {
    if CHROMA == ChromaRow::DEEP {
        let most = _mm256_set1_epi16(1023);
        let code = |y| _mm256_slli_epi16::<5>(_mm256_min_epu16(y, most));
        let (first, second) = (code(load(y, 2 * x)), code(load(y, 2 * x + 32)));
        return [_mm256_permute2x128_si256::<0x20>(first, second), _mm256_permute2x128_si256::<0x31>(first, second)];
    }
    let (y, zero) = (load(y, x), _mm256_setzero_si256());
    [_mm256_slli_epi16::<7>(_mm256_unpacklo_epi8(y, zero)), _mm256_slli_epi16::<7>(_mm256_unpackhi_epi8(y, zero))]
}

/// Chroma terms of 32 pixels.
#[inline]
#[target_feature(enable = "avx2")]
fn chroma_terms<const CHROMA: u8>(weights: &Weights, source: &YuvRow<'_>, x: usize) -> [Halves; 3] {
    let middle = _mm256_set1_epi16(i16::MIN);
    if CHROMA == ChromaRow::FULL {
        let zero = _mm256_setzero_si256();
        let (u, v) = (load(source.u, x), load(source.v, x));
        let low = |c| _mm256_xor_si256(_mm256_unpacklo_epi8(zero, c), middle);
        let high = |c| _mm256_xor_si256(_mm256_unpackhi_epi8(zero, c), middle);
        let (low, high) = (weights.chroma(low(u), low(v)), weights.chroma(high(u), high(v)));
        return [[low[0], high[0]], [low[1], high[1]], [low[2], high[2]]];
    }
    let (u, v) = if CHROMA == ChromaRow::PAIRS {
        let pairs = load(source.u, x);
        (_mm256_slli_epi16::<8>(pairs), _mm256_and_si256(pairs, _mm256_set1_epi16(0xFF00_u16 as i16)))
    } else if CHROMA == ChromaRow::DEEP {
        let most = _mm256_set1_epi16(1023);
        let code = |c| _mm256_slli_epi16::<6>(_mm256_min_epu16(c, most));
        (code(load(source.u, x)), code(load(source.v, x)))
    } else {
        let code = |c| _mm256_slli_epi16::<8>(_mm256_cvtepu8_epi16(c));
        (code(load_half(source.u, x / 2)), code(load_half(source.v, x / 2)))
    };
    let [r, g, b] = weights.chroma(_mm256_xor_si256(u, middle), _mm256_xor_si256(v, middle));
    let twice = |term| [_mm256_unpacklo_epi16(term, term), _mm256_unpackhi_epi16(term, term)];
    [twice(r), twice(g), twice(b)]
}

#[target_feature(enable = "avx2")]
pub(super) fn yuv_to_rgb<const CHROMA: u8, const ORDER: u8>(
    weights: &YuvToRgb,
    source: &YuvRow<'_>,
    target: &mut [u8],
) -> usize {
    let order = const { order_of(ORDER) };
    let weights = Weights::new(weights);
    let (done, starts) = blocks(target.len() / order.size(), 32, 2);
    for x in starts {
        let luma = luma_codes::<CHROMA>(source.y, x);
        let luma = [weights.luma(luma[0]), weights.luma(luma[1])];
        let [r, g, b] = chroma_terms::<CHROMA>(&weights, source, x);
        let mut bytes = [_mm256_set1_epi8(-1); 4];
        bytes[order.r] = channel(luma, r);
        bytes[order.g] = channel(luma, g);
        bytes[order.b] = channel(luma, b);
        let (low, high) = (_mm256_unpacklo_epi8(bytes[0], bytes[1]), _mm256_unpackhi_epi8(bytes[0], bytes[1]));
        let (low2, high2) = (_mm256_unpacklo_epi8(bytes[2], bytes[3]), _mm256_unpackhi_epi8(bytes[2], bytes[3]));
        let (a, b) = (_mm256_unpacklo_epi16(low, low2), _mm256_unpackhi_epi16(low, low2));
        let (c, d) = (_mm256_unpacklo_epi16(high, high2), _mm256_unpackhi_epi16(high, high2));
        for (index, pixels) in [
            _mm256_permute2x128_si256::<0x20>(a, b),
            _mm256_permute2x128_si256::<0x20>(c, d),
            _mm256_permute2x128_si256::<0x31>(a, b),
            _mm256_permute2x128_si256::<0x31>(c, d),
        ]
        .into_iter()
        .enumerate()
        {
            if order.a.is_some() {
                store(target, (x + 8 * index) * 4, pixels);
            } else {
                store_three(target, x + 8 * index, pixels);
            }
        }
    }
    done
}

/// Weights of the even and of the odd bytes of a pixel.
struct PixelWeights {
    even: __m256i,
    odd: __m256i,
}

impl PixelWeights {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(weights: [i16; 3], order: PixelOrder) -> Self {
        let mut bytes = [0_i16; 4];
        (bytes[order.r], bytes[order.g], bytes[order.b]) = (weights[0], weights[1], weights[2]);
        let pair = |low: i16, high: i16| _mm256_set1_epi32(i32::from(low as u16) | i32::from(high) << 16);
        Self { even: pair(bytes[0], bytes[2]), odd: pair(bytes[1], bytes[3]) }
    }

    /// Weighted sums of eight pixels, given their even and odd bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sum(&self, even: __m256i, odd: __m256i, offset: __m256i) -> __m256i {
        let sum = _mm256_add_epi32(_mm256_madd_epi16(even, self.even), _mm256_madd_epi16(odd, self.odd));
        _mm256_add_epi32(sum, offset)
    }
}

/// Even and odd bytes of eight pixels, as 16-bit values.
#[inline]
#[target_feature(enable = "avx2")]
fn even_odd(pixels: __m256i) -> [__m256i; 2] {
    [_mm256_and_si256(pixels, _mm256_set1_epi16(0x00FF)), _mm256_srli_epi16::<8>(pixels)]
}

/// Four vectors of eight 32-bit values as 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn pack_bytes(values: [__m256i; 4]) -> __m256i {
    let [a, b, c, d] = values;
    let packed = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
    _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
}

#[target_feature(enable = "avx2")]
pub(super) fn luma<const ORDER: u8, const SIZE: usize>(weights: &RgbToYuv, source: &[u8], target: &mut [u8]) -> usize {
    let y = PixelWeights::new(weights.y, const { order_of(ORDER) });
    let offset = _mm256_set1_epi32((weights.black << 15) + (1 << 14));
    let (done, starts) = blocks(target.len(), 32, 1);
    for x in starts {
        let codes = [0, 8, 16, 24].map(|index| {
            let [even, odd] = even_odd(load_pixels::<SIZE>(source, x + index));
            _mm256_srai_epi32::<15>(y.sum(even, odd, offset))
        });
        store(target, x, pack_bytes(codes));
    }
    done
}

#[target_feature(enable = "avx2")]
pub(super) fn luma_deep<const ORDER: u8, const SIZE: usize>(
    weights: &RgbToYuv,
    source: &[u8],
    target: &mut [u8],
) -> usize {
    let y = PixelWeights::new(weights.y, const { order_of(ORDER) });
    let offset = _mm256_set1_epi32((weights.black << 15) + (1 << 12));
    let (done, starts) = blocks(target.len() / 2, 16, 1);
    for x in starts {
        let [a, b] = [0, 8].map(|index| {
            let [even, odd] = even_odd(load_pixels::<SIZE>(source, x + index));
            _mm256_srai_epi32::<13>(y.sum(even, odd, offset))
        });
        let codes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a, b));
        store(target, 2 * x, _mm256_min_epu16(codes, _mm256_set1_epi16(1023)));
    }
    done
}

#[target_feature(enable = "avx2")]
pub(super) fn chroma_full<const ORDER: u8, const SIZE: usize>(
    weights: &RgbToYuv,
    source: &[u8],
    u: &mut [u8],
    v: &mut [u8],
) -> usize {
    let order = const { order_of(ORDER) };
    let (wu, wv) = (PixelWeights::new(weights.u, order), PixelWeights::new(weights.v, order));
    let offset = _mm256_set1_epi32((128 << 15) + (1 << 14));
    let (done, starts) = blocks(u.len(), 32, 1);
    for x in starts {
        let pixels = [0, 8, 16, 24].map(|index| even_odd(load_pixels::<SIZE>(source, x + index)));
        store(u, x, pack_bytes(pixels.map(|[even, odd]| _mm256_srai_epi32::<15>(wu.sum(even, odd, offset)))));
        store(v, x, pack_bytes(pixels.map(|[even, odd]| _mm256_srai_epi32::<15>(wv.sum(even, odd, offset)))));
    }
    done
}

/// Sums of 2 x 2 pixels from 16 columns, as even and odd bytes; samples come in the order 0 1 4 5, 2 3 6 7.
#[inline]
#[target_feature(enable = "avx2")]
fn sum_squares<const SIZE: usize>(rows: [&[u8]; 2], x: usize) -> [__m256i; 2] {
    let [left, right] = [x, x + 8].map(|x| {
        let [even, odd] = even_odd(load_pixels::<SIZE>(rows[0], x));
        let [even2, odd2] = even_odd(load_pixels::<SIZE>(rows[1], x));
        [_mm256_add_epi16(even, even2), _mm256_add_epi16(odd, odd2)]
    });
    [0, 1].map(|index| {
        let (a, b) = (_mm256_castsi256_ps(left[index]), _mm256_castsi256_ps(right[index]));
        let first = _mm256_castps_si256(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
        let second = _mm256_castps_si256(_mm256_shuffle_ps::<0b11_01_11_01>(a, b));
        _mm256_add_epi16(first, second)
    })
}

#[target_feature(enable = "avx2")]
pub(super) fn chroma_half<const ORDER: u8, const SIZE: usize, const TARGET: u8>(
    weights: &RgbToYuv,
    rows: [&[u8]; 2],
    u: &mut [u8],
    v: &mut [u8],
) -> usize {
    let order = const { order_of(ORDER) };
    let (wu, wv) = (PixelWeights::new(weights.u, order), PixelWeights::new(weights.v, order));
    let deep = TARGET == ChromaRow::DEEP;
    let offset = _mm256_set1_epi32((128 << 17) + if deep { 1 << 14 } else { 1 << 16 });
    let most = _mm256_set1_epi16(if deep { 1023 } else { 255 });
    let quantise = |sum| {
        if deep { _mm256_srai_epi32::<15>(sum) } else { _mm256_srai_epi32::<17>(sum) }
    };
    let (done, starts) = blocks(rows[0].len() / SIZE / 2, 16, 1);
    for x in starts {
        let sums = [sum_squares::<SIZE>(rows, 2 * x), sum_squares::<SIZE>(rows, 2 * x + 16)];
        let [cu, cv] = [&wu, &wv].map(|weights| {
            let [a, b] = sums.map(|[even, odd]| quantise(weights.sum(even, odd, offset)));
            let codes = _mm256_min_epu16(_mm256_packus_epi32(a, b), most);
            _mm256_permutevar8x32_epi32(codes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
        });
        if TARGET == ChromaRow::HALF {
            let both = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(cu, cv));
            store_half(u, x, _mm256_castsi256_si128(both));
            store_half(v, x, _mm256_extracti128_si256::<1>(both));
        } else if TARGET == ChromaRow::PAIRS {
            store(u, 2 * x, _mm256_or_si256(cu, _mm256_slli_epi16::<8>(cv)));
        } else {
            store(u, 2 * x, cu);
            store(v, 2 * x, cv);
        }
    }
    done
}

#[target_feature(enable = "avx2")]
pub(super) fn shuffle<const FROM: usize, const TO: usize>(order: [u8; 4], source: &[u8], target: &mut [u8]) -> usize {
    let (mut moves, mut ones) = ([0_i8; 16], [0_i8; 16]);
    for (index, (position, one)) in moves.iter_mut().zip(&mut ones).enumerate() {
        let from = order[index % 4];
        // A negative index gives zero.
        (*position, *one) = if from == 255 { (-1, -1) } else { ((from + (index as u8 & !3)) as i8, 0) };
    }
    let vector = |bytes: [i8; 16]| _mm256_broadcastsi128_si256(load_half(&bytes.map(|byte| byte as u8), 0));
    let (moves, ones) = (vector(moves), vector(ones));
    let (done, starts) = blocks(target.len() / TO, 8, 1);
    for x in starts {
        let pixels = _mm256_or_si256(_mm256_shuffle_epi8(load_pixels::<FROM>(source, x), moves), ones);
        if TO == 4 {
            store(target, 4 * x, pixels);
        } else {
            store_three(target, x, pixels);
        }
    }
    done
}

#[target_feature(enable = "avx2")]
pub(super) fn take_alpha(position: usize, source: &[u8], target: &mut [u8]) -> usize {
    let shift = _mm_cvtsi32_si128(8 * position as i32);
    let (done, starts) = blocks(target.len(), 32, 1);
    for x in starts {
        let alphas = [0, 8, 16, 24].map(|index| {
            let pixels = _mm256_srl_epi32(load(source, 4 * (x + index)), shift);
            _mm256_and_si256(pixels, _mm256_set1_epi32(0xFF))
        });
        store(target, x, pack_bytes(alphas));
    }
    done
}

#[target_feature(enable = "avx2")]
pub(super) fn put_alpha(position: usize, source: &[u8], target: &mut [u8]) -> usize {
    let shift = _mm_cvtsi32_si128(8 * position as i32);
    let mask = _mm256_sll_epi32(_mm256_set1_epi32(0xFF), shift);
    let (done, starts) = blocks(source.len(), 8, 1);
    for x in starts {
        let alpha = _mm256_sll_epi32(_mm256_cvtepu8_epi32(load_quarter(source, x)), shift);
        let pixels = _mm256_andnot_si256(mask, load(target, 4 * x));
        store(target, 4 * x, _mm256_or_si256(pixels, alpha));
    }
    done
}
