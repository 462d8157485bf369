//! The interpolation filter: a Kaiser-windowed sinc, tabulated by phase.

use std::f64::consts::PI;

use wide::f32x8;

/// Taps are a multiple of this, so that the inner loop has no remainder.
pub(super) const LANES: usize = 16;
/// Up to this many phases the table is exact; above, neighbouring phases are interpolated.
const MAX_EXACT_PHASES: u32 = 1_280;
/// Phases of an interpolated table: linear interpolation then errs by less than -117 dB.
const INTERPOLATED_PHASES: u32 = 1_024;

/// What a filter must do, in cycles per sample of the lower of the two rates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Design {
    /// Flat up to here.
    pub pass: f64,
    /// Attenuated from here on.
    pub stop: f64,
    /// By this many dB.
    pub attenuation: f64,
}

/// Filter coefficients for every position an output sample can have between two input samples.
#[derive(Debug)]
pub(super) struct Kernel {
    taps: usize,
    /// Denominator of the phases that `apply` is given.
    phases: u32,
    /// Rows of `taps` coefficients; one row per phase, or `INTERPOLATED_PHASES + 1` rows.
    rows: Vec<f32>,
    interpolated: bool,
}

impl Kernel {
    /// The kernel that makes `up` samples out of every `down` (in lowest terms).
    pub(super) fn new(up: u32, down: u32, design: Design) -> Self {
        let scale = f64::from(up.min(down)) / f64::from(down);
        let width = kaiser_taps(design) / scale;
        let half = (width / 2.0).ceil() as usize;
        let taps = (2 * half).next_multiple_of(LANES);
        let cutoff = (design.pass + design.stop) / 2.0 * scale;
        let window = Window::new(design.attenuation, taps as f64 / 2.0);
        let interpolated = up > MAX_EXACT_PHASES;
        let (divisions, row_count) =
            if interpolated { (INTERPOLATED_PHASES, INTERPOLATED_PHASES + 1) } else { (up, up) };
        let mut rows = Vec::with_capacity(taps * row_count as usize);
        for row in 0..row_count {
            let fraction = f64::from(row) / f64::from(divisions);
            push_row(&mut rows, taps, fraction, cutoff, &window);
        }
        Self { taps, phases: up, rows, interpolated }
    }

    /// Input samples that go into one output sample.
    pub(super) fn taps(&self) -> usize {
        self.taps
    }

    /// The output sample at `phase / up` after the middle of `window`, which holds `taps` samples.
    pub(super) fn apply(&self, window: &[f32], phase: u32) -> f32 {
        if !self.interpolated {
            return dot(window, self.row(phase as usize));
        }
        let position = f64::from(phase) * f64::from(INTERPOLATED_PHASES) / f64::from(self.phases);
        let row = position as usize;
        let fraction = (position - row as f64) as f32;
        let (low, high) = (dot(window, self.row(row)), dot(window, self.row(row + 1)));
        low + (high - low) * fraction
    }

    fn row(&self, index: usize) -> &[f32] {
        &self.rows[index * self.taps..][..self.taps]
    }
}

/// Kaiser's estimate of the filter length, in samples of the lower rate.
fn kaiser_taps(design: Design) -> f64 {
    (design.attenuation - 7.95) / (14.36 * (design.stop - design.pass))
}

/// Appends one phase, scaled so that a constant input comes out unchanged.
fn push_row(rows: &mut Vec<f32>, taps: usize, fraction: f64, cutoff: f64, window: &Window) {
    let centre = (taps / 2 - 1) as f64 + fraction;
    let row: Vec<f64> = (0..taps)
        .map(|tap| {
            let at = tap as f64 - centre;
            sinc(2.0 * cutoff * at) * window.at(at)
        })
        .collect();
    let sum: f64 = row.iter().sum();
    rows.extend(row.iter().map(|coefficient| (coefficient / sum) as f32));
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

struct Window {
    beta: f64,
    half_width: f64,
    peak: f64,
}

impl Window {
    fn new(attenuation: f64, half_width: f64) -> Self {
        let beta = 0.1102 * (attenuation - 8.7);
        Self { beta, half_width, peak: bessel_i0(beta) }
    }

    fn at(&self, offset: f64) -> f64 {
        let x = offset / self.half_width;
        bessel_i0(self.beta * (1.0 - x * x).max(0.0).sqrt()) / self.peak
    }
}

/// Modified Bessel function of the first kind, order zero, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// Sums in an order that depends on the tap only, so that results depend neither on how the input was cut up nor on the
/// machine.
fn dot(x: &[f32], h: &[f32]) -> f32 {
    let mut sums = [f32x8::ZERO; LANES / 8];
    let (x, h) = (x.as_chunks::<8>().0, h.as_chunks::<8>().0);
    let pairs = x.as_chunks::<2>().0.iter().zip(h.as_chunks::<2>().0);
    for ([x0, x1], [h0, h1]) in pairs {
        sums[0] += f32x8::new(*x0) * f32x8::new(*h0);
        sums[1] += f32x8::new(*x1) * f32x8::new(*h1);
    }
    let [a, b, c, d, e, f, g, h] = (sums[0] + sums[1]).to_array();
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
