/// Which weights turn RGB into luma and chroma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matrix {
    /// ITU-R BT.601, what WebRTC's cameras send.
    #[default]
    Bt601,
    /// ITU-R BT.709.
    Bt709,
}

/// Which codes black and white have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Range {
    /// Luma 16 to 235, chroma 16 to 240 (and four times that with 10 bits).
    #[default]
    Limited,
    /// 0 to 255 (0 to 1023 with 10 bits).
    Full,
}

/// Weights of YUV to RGB in fixed point.
///
/// A luma code enters as an 8-bit code times 2^7, a chroma code as its signed distance to the middle times 2^8; every
/// product is `(a * b + 2^14) >> 15`, which leaves six fractional bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct YuvToRgb {
    /// Luma gain, times 2^14.
    pub(crate) y: i16,
    /// Added to the luma product: black to zero, and half a unit for rounding; times 2^6.
    pub(crate) y_offset: i16,
    /// V to red, times 2^13.
    pub(crate) rv: i16,
    /// U to green.
    pub(crate) gu: i16,
    /// V to green.
    pub(crate) gv: i16,
    /// U to blue.
    pub(crate) bu: i16,
}

/// Weights of RGB to YUV, times 2^15, each for R, G, B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RgbToYuv {
    pub(crate) y: [i16; 3],
    pub(crate) u: [i16; 3],
    pub(crate) v: [i16; 3],
    /// Code of black, in 8-bit units.
    pub(crate) black: i32,
}

impl YuvToRgb {
    pub(crate) fn new(matrix: Matrix, range: Range, deep: bool) -> Self {
        let (kr, kb) = weights(matrix);
        let kg = 1.0 - kr - kb;
        let (luma, chroma, black) = scales(range, deep);
        let fixed = |value: f64, bits: i32| (value * f64::from(1 << bits)).round() as i16;
        let (luma, chroma) = (1.0 / luma, 1.0 / chroma);
        Self {
            y: fixed(luma, 14),
            y_offset: fixed(0.5 - black * luma, 6),
            rv: fixed(2.0 * (1.0 - kr) * chroma, 13),
            gu: fixed(-2.0 * (1.0 - kb) * kb / kg * chroma, 13),
            gv: fixed(-2.0 * (1.0 - kr) * kr / kg * chroma, 13),
            bu: fixed(2.0 * (1.0 - kb) * chroma, 13),
        }
    }
}

impl RgbToYuv {
    pub(crate) fn new(matrix: Matrix, range: Range, deep: bool) -> Self {
        let (kr, kb) = weights(matrix);
        let kg = 1.0 - kr - kb;
        let (luma, chroma, black) = scales(range, deep);
        let fixed = |value: f64| (value * 32_768.0).round() as i16;
        let (u, v) = (chroma * 0.5 / (1.0 - kb), chroma * 0.5 / (1.0 - kr));
        let (ur, ub) = (fixed(-kr * u), fixed((1.0 - kb) * u));
        let (vr, vb) = (fixed((1.0 - kr) * v), fixed(-kb * v));
        // Grey must stay exactly in the middle, so green takes what rounding left.
        Self {
            y: [fixed(kr * luma), fixed(kg * luma), fixed(kb * luma)],
            u: [ur, -ur - ub, ub],
            v: [vr, -vr - vb, vb],
            black: black as i32,
        }
    }
}

/// Weights of red and blue in luma.
fn weights(matrix: Matrix) -> (f64, f64) {
    match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
    }
}

/// Codes of luma and of chroma per unit of R, G, B, and the code of black, all in units of 8-bit codes.
fn scales(range: Range, deep: bool) -> (f64, f64, f64) {
    match range {
        Range::Limited => (219.0 / 255.0, 224.0 / 255.0, 16.0),
        Range::Full if deep => (1023.0 / 4.0 / 255.0, 1023.0 / 4.0 / 255.0, 0.0),
        Range::Full => (1.0, 1.0, 0.0),
    }
}
