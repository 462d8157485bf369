//! Kernels on rows of single samples. Plain code that compilers vectorise; each is compiled once per instruction set.

use crate::video::coefficients::Range;

/// Mean of 2 x 2 samples; the last column of an odd width counts twice.
#[inline(always)]
pub(super) fn halve(rows: [&[u8]; 2], target: &mut [u8]) {
    let pairs = target.len().min(rows[0].len() / 2).min(rows[1].len() / 2);
    let (whole, rest) = target.split_at_mut(pairs);
    let (a, b) = (rows[0][..2 * pairs].chunks_exact(2), rows[1][..2 * pairs].chunks_exact(2));
    for ((a, b), mean) in a.zip(b).zip(whole) {
        let sum = u16::from(a[0]) + u16::from(a[1]) + u16::from(b[0]) + u16::from(b[1]);
        *mean = ((sum + 2) >> 2) as u8;
    }
    if let ([a, ..], [b, ..], [mean, ..]) = (&rows[0][2 * pairs..], &rows[1][2 * pairs..], rest) {
        *mean = ((u16::from(*a) + u16::from(*b) + 1) >> 1) as u8;
    }
}

/// Mean of two rows.
#[inline(always)]
pub(super) fn mean(rows: [&[u8]; 2], target: &mut [u8]) {
    for ((&a, &b), mean) in rows[0].iter().zip(rows[1]).zip(target) {
        *mean = ((u16::from(a) + u16::from(b) + 1) >> 1) as u8;
    }
}

/// Every sample twice; an odd width drops the last copy.
#[inline(always)]
pub(super) fn double(source: &[u8], target: &mut [u8]) {
    let mut pairs = target.chunks_exact_mut(2);
    for (&sample, pair) in source.iter().zip(&mut pairs) {
        pair[0] = sample;
        pair[1] = sample;
    }
    if let ([last], Some(&sample)) = (pairs.into_remainder(), source.last()) {
        *last = sample;
    }
}

#[inline(always)]
pub(super) fn interleave(u: &[u8], v: &[u8], target: &mut [u8]) {
    for ((&u, &v), pair) in u.iter().zip(v).zip(target.chunks_exact_mut(2)) {
        pair[0] = u;
        pair[1] = v;
    }
}

#[inline(always)]
pub(super) fn deinterleave(source: &[u8], u: &mut [u8], v: &mut [u8]) {
    for ((pair, u), v) in source.chunks_exact(2).zip(u).zip(v) {
        *u = pair[0];
        *v = pair[1];
    }
}

/// 8 bits to 10. In full range 255 becomes 1023 and the chroma middle stays the middle.
#[inline(always)]
pub(super) fn widen(source: &[u8], target: &mut [u8], range: Range, chroma: bool) {
    // 1023 / 255 = 4 + 3 / 255, and a chroma code counts from 128 on.
    let (extra, rounding) = match (range, chroma) {
        (Range::Limited, _) => (0, 0),
        (Range::Full, false) => (3, 128),
        (Range::Full, true) => (3, 128 - 385),
    };
    for (&sample, pair) in source.iter().zip(target.chunks_exact_mut(2)) {
        let sample = i16::from(sample);
        let wide = (sample * 4 + ((sample * extra + rounding) >> 8)).max(0);
        pair.copy_from_slice(&wide.to_le_bytes());
    }
}

/// 10 bits to 8, rounded; codes above 1023 count as 1023.
#[inline(always)]
pub(super) fn narrow(source: &[u8], target: &mut [u8], range: Range, chroma: bool) {
    // 255 / 1023 = 1021 / 4096 to five digits.
    let (gain, rounding) = match (range, chroma) {
        (Range::Limited, _) => (1024, 2048),
        (Range::Full, false) => (1021, 2048),
        (Range::Full, true) => (1021, 2048 + 3 * 512),
    };
    for (pair, sample) in source.chunks_exact(2).zip(target) {
        let wide = u32::from(u16::from_le_bytes([pair[0], pair[1]]).min(1023));
        *sample = ((wide * gain + rounding) >> 12).min(255) as u8;
    }
}

/// Adds a row times its weight to sums.
#[inline(always)]
pub(super) fn accumulate(row: &[u8], weight: f32, sums: &mut [f32]) {
    for (&sample, sum) in row.iter().zip(sums) {
        *sum += f32::from(sample) * weight;
    }
}

/// The same for samples of 10 bits.
#[inline(always)]
pub(super) fn accumulate_deep(row: &[u8], weight: f32, sums: &mut [f32]) {
    for (pair, sum) in row.chunks_exact(2).zip(sums) {
        *sum += f32::from(u16::from_le_bytes([pair[0], pair[1]]).min(1023)) * weight;
    }
}
