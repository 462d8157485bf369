//! Work on one row at a time, in the best instruction set the machine has. All sets give the same bytes.

mod planes;
mod portable;

use super::coefficients::{Range, RgbToYuv, YuvToRgb};
use super::format::{PixelOrder, VideoFormat};

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Portable,
}

impl Isa {
    /// Plain code, for any machine.
    pub const PORTABLE: Isa = Isa(Level::Portable);

    /// The fastest one.
    pub fn best() -> Self {
        Self::PORTABLE
    }

    /// All of them, slowest first.
    pub fn available() -> Vec<Self> {
        vec![Self::PORTABLE]
    }

    /// `"portable"`, ...
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
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

/// Evaluates `$call` with `$order` as the constant number of a packed format.
macro_rules! by_order {
    ($format:expr, $order:ident => $call:expr) => {
        match $format {
            VideoFormat::Rgba => by_order!(@ 0, $order, $call),
            VideoFormat::Abgr => by_order!(@ 1, $order, $call),
            VideoFormat::Argb => by_order!(@ 2, $order, $call),
            VideoFormat::Bgra => by_order!(@ 3, $order, $call),
            _ => by_order!(@ 4, $order, $call),
        }
    };
    (@ $number:literal, $order:ident, $call:expr) => {{
        const $order: u8 = $number;
        $call
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
    let start = 0;
    match chroma {
        ChromaRow::Half => {
            by_order!(format, ORDER => portable::yuv_to_rgb::<{ ChromaRow::HALF }, ORDER>(weights, source, target, start));
        }
        ChromaRow::Pairs => {
            by_order!(format, ORDER => portable::yuv_to_rgb::<{ ChromaRow::PAIRS }, ORDER>(weights, source, target, start));
        }
        ChromaRow::Full => {
            by_order!(format, ORDER => portable::yuv_to_rgb::<{ ChromaRow::FULL }, ORDER>(weights, source, target, start));
        }
        ChromaRow::Deep => {
            by_order!(format, ORDER => portable::yuv_to_rgb::<{ ChromaRow::DEEP }, ORDER>(weights, source, target, start));
        }
    }
}

/// Luma of one row of pixels, of 10 bits if `deep`.
pub(super) fn luma(
    isa: Isa,
    deep: bool,
    format: VideoFormat,
    weights: &RgbToYuv,
    source: &[u8],
    target: &mut [u8],
) {
    let start = 0;
    if deep {
        by_order!(format, ORDER => portable::luma_deep::<ORDER>(weights, source, target, start));
    } else {
        by_order!(format, ORDER => portable::luma::<ORDER>(weights, source, target, start));
    }
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
    let start = 0;
    match chroma {
        ChromaRow::Half => {
            by_order!(format, ORDER => portable::chroma_half::<ORDER, { ChromaRow::HALF }>(weights, rows, u, v, start));
        }
        ChromaRow::Pairs => {
            by_order!(format, ORDER => portable::chroma_half::<ORDER, { ChromaRow::PAIRS }>(weights, rows, u, v, start));
        }
        ChromaRow::Full => {
            by_order!(format, ORDER => portable::chroma_full::<ORDER>(weights, rows[0], u, v, start));
        }
        ChromaRow::Deep => {
            by_order!(format, ORDER => portable::chroma_half::<ORDER, { ChromaRow::DEEP }>(weights, rows, u, v, start));
        }
    }
}

/// One packed format to another.
pub(super) fn shuffle(
    isa: Isa,
    from: VideoFormat,
    to: VideoFormat,
    source: &[u8],
    target: &mut [u8],
) {
    let (Some(from), Some(to)) = (from.pixel_order(), to.pixel_order()) else {
        return;
    };
    let mut order = [255; 4];
    (order[to.r], order[to.g], order[to.b]) = (from.r as u8, from.g as u8, from.b as u8);
    if let (Some(to), Some(from)) = (to.a, from.a) {
        order[to] = from as u8;
    }
    let start = 0;
    match (from.size(), to.size()) {
        (4, 4) => portable::shuffle::<4, 4>(order, source, target, start),
        (4, _) => portable::shuffle::<4, 3>(order, source, target, start),
        (_, 4) => portable::shuffle::<3, 4>(order, source, target, start),
        _ => target.copy_from_slice(source),
    }
}

/// The alpha bytes of one row of four-byte pixels.
pub(super) fn take_alpha(_isa: Isa, format: VideoFormat, source: &[u8], target: &mut [u8]) {
    if let Some(position) = format.pixel_order().and_then(|order| order.a) {
        portable::take_alpha(position, source, target);
    }
}

/// Sets the alpha bytes of one row of four-byte pixels.
pub(super) fn put_alpha(_isa: Isa, format: VideoFormat, source: &[u8], target: &mut [u8]) {
    if let Some(position) = format.pixel_order().and_then(|order| order.a) {
        portable::put_alpha(position, source, target);
    }
}

macro_rules! plane_kernels {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*);)*) => {
        $($(#[$doc])*
        pub(super) fn $name(isa: Isa, $($argument: $type),*) {
            match isa.0 {
                Level::Portable => planes::$name($($argument),*),
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
}
