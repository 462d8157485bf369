//! Work on one row at a time, in the best instruction set the machine has. All sets give the same bytes.
//!
//! A vector kernel says how far it came, and the portable one finishes the row.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
mod planes;
mod portable;

use super::coefficients::{Range, RgbToYuv, YuvToRgb};
use super::format::{PixelOrder, VideoFormat};

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

/// Private, so that an [`Isa`] is proof that the machine can do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Isa {
    /// What every machine of this architecture has.
    pub const PORTABLE: Isa = Isa(Level::Portable);

    /// The fastest one.
    pub fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self(Level::Avx2);
        }
        Self::PORTABLE
    }

    /// All of them, slowest first.
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self::PORTABLE];
        if Self::best() != Self::PORTABLE {
            all.push(Self::best());
        }
        all
    }

    /// `"portable"` or `"avx2"`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
        }
    }
}

/// How a row's chroma is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChromaRow {
    /// One sample of U and of V per two pixels.
    Half,
    /// The same, as alternating samples in `u`.
    Pairs,
    /// One sample of U and of V per pixel.
    Full,
    /// As `Half` with 10 bits, as is the luma.
    Deep,
}

impl ChromaRow {
    const HALF: u8 = Self::Half as u8;
    const PAIRS: u8 = Self::Pairs as u8;
    const FULL: u8 = Self::Full as u8;
    const DEEP: u8 = Self::Deep as u8;
}

/// Luma and chroma of one row of pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct YuvRow<'a> {
    pub(super) y: &'a [u8],
    pub(super) u: &'a [u8],
    /// Empty for [`ChromaRow::Pairs`].
    pub(super) v: &'a [u8],
}

const fn order_of(format: u8) -> PixelOrder {
    match VideoFormat::ALL[format as usize].pixel_order() {
        Some(order) => order,
        None => panic!("not a packed format"),
    }
}

/// Evaluates `$call` with the constant number and pixel size of a packed format.
macro_rules! by_order {
    ($format:expr, $order:ident, $size:ident => $call:expr) => {
        match $format {
            VideoFormat::Rgba => by_order!(@ 0, 4, $order, $size, $call),
            VideoFormat::Abgr => by_order!(@ 1, 4, $order, $size, $call),
            VideoFormat::Argb => by_order!(@ 2, 4, $order, $size, $call),
            VideoFormat::Bgra => by_order!(@ 3, 4, $order, $size, $call),
            _ => by_order!(@ 4, 3, $order, $size, $call),
        }
    };
    (@ $number:literal, $bytes:literal, $order:ident, $size:ident, $call:expr) => {{
        const $order: u8 = $number;
        #[allow(dead_code, reason = "only some kernels ask for it")]
        const $size: usize = $bytes;
        $call
    }};
}

/// Runs a kernel on the vector unit, then the portable one from where that stopped.
macro_rules! run {
    ($isa:expr, $name:ident, [$($portable:expr),*], [$($vector:expr),*], ($($argument:expr),*)) => {{
        let start = match $isa.0 {
            Level::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            // SAFETY: an `Isa` of this level exists only where the machine has AVX2.
            Level::Avx2 => unsafe { avx2::$name::<$({ $vector }),*>($($argument),*) },
        };
        portable::$name::<$({ $portable }),*>($($argument,)* start);
    }};
}

/// One row of pixels from one row of luma and chroma, opaque.
pub(super) fn yuv_to_rgb(
    isa: Isa,
    chroma: ChromaRow,
    format: VideoFormat,
    weights: &YuvToRgb,
    source: &YuvRow<'_>,
    target: &mut [u8],
) {
    macro_rules! from {
        ($chroma:expr) => {
            by_order!(format, ORDER, SIZE => {
                run!(isa, yuv_to_rgb, [$chroma, ORDER], [$chroma, ORDER], (weights, source, target))
            })
        };
    }
    match chroma {
        ChromaRow::Half => from!(ChromaRow::HALF),
        ChromaRow::Pairs => from!(ChromaRow::PAIRS),
        ChromaRow::Full => from!(ChromaRow::FULL),
        ChromaRow::Deep => from!(ChromaRow::DEEP),
    }
}

/// Luma of one row of pixels, of 10 bits if `deep`.
pub(super) fn luma(isa: Isa, deep: bool, format: VideoFormat, weights: &RgbToYuv, source: &[u8], target: &mut [u8]) {
    by_order!(format, ORDER, SIZE => if deep {
        run!(isa, luma_deep, [ORDER], [ORDER, SIZE], (weights, source, target));
    } else {
        run!(isa, luma, [ORDER], [ORDER, SIZE], (weights, source, target));
    });
}

/// Chroma of one or (the mean of) two rows of pixels. `v` is not used for [`ChromaRow::Pairs`].
pub(super) fn chroma(
    isa: Isa,
    chroma: ChromaRow,
    format: VideoFormat,
    weights: &RgbToYuv,
    rows: [&[u8]; 2],
    u: &mut [u8],
    v: &mut [u8],
) {
    macro_rules! to {
        ($chroma:expr) => {
            by_order!(format, ORDER, SIZE => {
                run!(isa, chroma_half, [ORDER, $chroma], [ORDER, SIZE, $chroma], (weights, rows, u, v))
            })
        };
    }
    match chroma {
        ChromaRow::Half => to!(ChromaRow::HALF),
        ChromaRow::Pairs => to!(ChromaRow::PAIRS),
        ChromaRow::Deep => to!(ChromaRow::DEEP),
        ChromaRow::Full => by_order!(format, ORDER, SIZE => {
            run!(isa, chroma_full, [ORDER], [ORDER, SIZE], (weights, rows[0], u, v))
        }),
    }
}

/// One packed format to another.
pub(super) fn shuffle(isa: Isa, from: VideoFormat, to: VideoFormat, source: &[u8], target: &mut [u8]) {
    let (Some(from), Some(to)) = (from.pixel_order(), to.pixel_order()) else {
        return;
    };
    let mut order = [255; 4];
    (order[to.r], order[to.g], order[to.b]) = (from.r as u8, from.g as u8, from.b as u8);
    if let (Some(to), Some(from)) = (to.a, from.a) {
        order[to] = from as u8;
    }
    match (from.size(), to.size()) {
        (4, 4) => run!(isa, shuffle, [4, 4], [4, 4], (order, source, target)),
        (4, _) => run!(isa, shuffle, [4, 3], [4, 3], (order, source, target)),
        (_, 4) => run!(isa, shuffle, [3, 4], [3, 4], (order, source, target)),
        _ => target.copy_from_slice(source),
    }
}

/// The alpha bytes of one row of four-byte pixels.
pub(super) fn take_alpha(isa: Isa, format: VideoFormat, source: &[u8], target: &mut [u8]) {
    if let Some(position) = format.pixel_order().and_then(|order| order.a) {
        run!(isa, take_alpha, [], [], (position, source, target));
    }
}

/// Sets the alpha bytes of one row of four-byte pixels.
pub(super) fn put_alpha(isa: Isa, format: VideoFormat, source: &[u8], target: &mut [u8]) {
    if let Some(position) = format.pixel_order().and_then(|order| order.a) {
        run!(isa, put_alpha, [], [], (position, source, target));
    }
}

/// Plain kernels that are compiled a second time for AVX2.
macro_rules! plane_kernels {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*);)*) => {
        $($(#[$doc])*
        pub(super) fn $name(isa: Isa, $($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($argument: $type),*) {
                planes::$name($($argument),*);
            }
            match isa.0 {
                Level::Portable => planes::$name($($argument),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this level exists only where the machine has AVX2.
                Level::Avx2 => unsafe { avx2($($argument),*) },
            }
        })*
    };
}

plane_kernels! {
    /// Mean of 2 x 2 samples; the last column of an odd width counts twice.
    fn halve(rows: [&[u8]; 2], target: &mut [u8]);
    /// Mean of two rows.
    fn mean(rows: [&[u8]; 2], target: &mut [u8]);
    /// Every sample twice; an odd width drops the last copy.
    fn double(source: &[u8], target: &mut [u8]);
    /// U and V to pairs.
    fn interleave(u: &[u8], v: &[u8], target: &mut [u8]);
    /// Pairs to U and V.
    fn deinterleave(source: &[u8], u: &mut [u8], v: &mut [u8]);
    /// 8 bits to 10.
    fn widen(source: &[u8], target: &mut [u8], range: Range, chroma: bool);
    /// 10 bits to 8.
    fn narrow(source: &[u8], target: &mut [u8], range: Range, chroma: bool);
    /// Adds a row times its weight to sums.
    fn accumulate(row: &[u8], weight: f32, sums: &mut [f32]);
    /// The same for samples of 10 bits.
    fn accumulate_deep(row: &[u8], weight: f32, sums: &mut [f32]);
}
