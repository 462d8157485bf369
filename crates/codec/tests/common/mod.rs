//! Content that behaves like the real thing, and measures of what is left of it.
#![allow(dead_code)]

use greenroom_codec::I420Ref;

/// A small deterministic generator (xorshift).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A camera-like scene: a textured background that pans slowly, a face-sized object that moves, sensor noise.
pub struct Scene {
    width: usize,
    height: usize,
    texture: Vec<u8>,
    side: usize,
    noise: Vec<i8>,
}

impl Scene {
    pub fn new(width: usize, height: usize) -> Self {
        let side = 512;
        let mut random = Random::new(7);
        let mut noise = || (random.next() >> 40) as u8;
        let grid: Vec<u8> = (0..64 * 64).map(|_| noise()).collect();
        let fine: Vec<i8> = (0..4099).map(|_| (noise() % 5) as i8 - 2).collect();
        let smooth = |x: f32, y: f32| {
            let at = |x: usize, y: usize| f32::from(grid[(y % 64) * 64 + x % 64]);
            let (i, j) = (x as usize, y as usize);
            let (u, v) = (x.fract(), y.fract());
            let top = at(i, j) * (1.0 - u) + at(i + 1, j) * u;
            let low = at(i, j + 1) * (1.0 - u) + at(i + 1, j + 1) * u;
            top * (1.0 - v) + low * v
        };
        let texture = (0..side * side)
            .map(|index| {
                let (x, y) = ((index % side) as f32, (index / side) as f32);
                let value = 0.7 * smooth(x / 64.0, y / 64.0)
                    + 0.2 * smooth(x / 16.0, y / 16.0)
                    + 0.1 * smooth(x / 4.0, y / 4.0);
                32.0 + value * 0.75
            })
            .map(|value| value as u8)
            .collect();
        Self { width, height, texture, side, noise: fine }
    }

    /// The packed I420 picture number `index`.
    pub fn picture(&self, index: usize) -> Vec<u8> {
        let (width, height) = (self.width, self.height);
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let mut data = Vec::with_capacity(width * height + 2 * half_width * half_height);
        let shift = index / 2;
        let phase = index as f32 * 0.08;
        let (centre_x, centre_y) =
            (width as f32 * (0.5 + 0.15 * phase.sin()), height as f32 * (0.5 + 0.1 * (phase * 1.7).cos()));
        let radius = height as f32 * 0.25;
        for y in 0..height {
            let row = (y % self.side) * self.side;
            for x in 0..width {
                let (dx, dy) = (x as f32 - centre_x, y as f32 - centre_y);
                let value = if dx * dx + dy * dy < radius * radius {
                    let (u, v) = (((dx + radius) as usize) % self.side, ((dy + radius) as usize) % self.side);
                    self.texture[v * self.side + u] ^ 0x18
                } else {
                    self.texture[row + (x + shift) % self.side]
                };
                let grain = self.noise[(y * 31 + x * 17 + index * 101) % self.noise.len()];
                data.push(value.saturating_add_signed(grain));
            }
        }
        for plane in 0..2usize {
            for y in 0..half_height {
                for x in 0..half_width {
                    let (dx, dy) = (2.0 * x as f32 - centre_x, 2.0 * y as f32 - centre_y);
                    let inside = dx * dx + dy * dy < radius * radius;
                    data.push(if inside { 150 - 40 * plane as u8 } else { 120 + (y * 16 / half_height) as u8 });
                }
            }
        }
        data
    }
}

/// A picture of one colour.
pub fn still(width: usize, height: usize, colour: [u8; 3]) -> Vec<u8> {
    let chroma = width.div_ceil(2) * height.div_ceil(2);
    let mut data = vec![colour[0]; width * height];
    data.resize(width * height + chroma, colour[1]);
    data.resize(width * height + 2 * chroma, colour[2]);
    data
}

/// Peak signal-to-noise ratio in dB over all three planes of two pictures of the same size.
pub fn psnr(left: &I420Ref<'_>, right: &I420Ref<'_>) -> f64 {
    assert_eq!((left.width(), left.height()), (right.width(), right.height()));
    let (mut error, mut count) = (0f64, 0usize);
    for plane in 0..3 {
        for (a, b) in left.rows(plane).zip(right.rows(plane)) {
            error += a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum::<f64>();
            count += a.len();
        }
    }
    10.0 * (255.0f64.powi(2) * count as f64 / error.max(1e-9)).log10()
}

/// Interleaved sine of the same phase in every channel.
pub fn sine(hertz: f64, rate: u32, samples: usize, channels: usize, level: f64) -> Vec<i16> {
    (0..samples * channels)
        .map(|index| {
            let time = (index / channels) as f64 / f64::from(rate);
            (level * 32767.0 * (std::f64::consts::TAU * hertz * time).sin()) as i16
        })
        .collect()
}

/// Amplitude of one frequency in a channel, 1.0 for a full-scale sine (Goertzel).
pub fn tone_level(pcm: &[i16], hertz: f64, rate: u32) -> f64 {
    let step = std::f64::consts::TAU * hertz / f64::from(rate);
    let (mut real, mut imaginary) = (0.0, 0.0);
    for (index, sample) in pcm.iter().enumerate() {
        let value = f64::from(*sample) / 32767.0;
        real += value * (step * index as f64).cos();
        imaginary += value * (step * index as f64).sin();
    }
    2.0 * (real * real + imaginary * imaginary).sqrt() / pcm.len() as f64
}

pub fn rms(pcm: &[i16]) -> f64 {
    (pcm.iter().map(|sample| (f64::from(*sample) / 32767.0).powi(2)).sum::<f64>() / pcm.len() as f64).sqrt()
}

/// Signal-to-noise ratio in dB of a sine: its power against everything else.
pub fn tone_snr(pcm: &[i16], hertz: f64, rate: u32) -> f64 {
    let signal = tone_level(pcm, hertz, rate).powi(2) / 2.0;
    let all = rms(pcm).powi(2);
    10.0 * (signal / (all - signal).max(1e-12)).log10()
}

/// Something that the encoder takes for speech and concealment cannot guess: a tone whose pitch steps every 60 ms.
pub fn melody(samples: usize) -> Vec<i16> {
    let pitches = [220.0, 330.0, 275.0, 440.0, 247.0, 370.0];
    let mut phase = 0.0f64;
    (0..samples)
        .map(|index| {
            let hertz: f64 = pitches[index / 2_880 % pitches.len()];
            phase += std::f64::consts::TAU * hertz / 48_000.0;
            (9_000.0 * phase.sin() + 4_000.0 * (3.0 * phase).sin()) as i16
        })
        .collect()
}

/// Sum of the squared differences of two signals.
pub fn error_energy(left: &[i16], right: &[i16]) -> f64 {
    left.iter().zip(right).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}
