/// What digital silence, which has no level, is reported as; also the floor of RFC 6464 audio levels.
pub const SILENCE_DBFS: f32 = -127.0;

/// RMS level relative to full scale (a full-scale square wave is 0 dB, a full-scale sine -3.01 dB).
///
/// Never below [`SILENCE_DBFS`], which is also what no samples at all have.
#[must_use]
pub fn level_dbfs(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return SILENCE_DBFS;
    }
    let energy: u64 = samples.iter().map(|&sample| u64::from(sample.unsigned_abs()).pow(2)).sum();
    let mean = energy as f64 / samples.len() as f64;
    to_dbfs(mean.sqrt())
}

/// The largest sample relative to full scale, in dB; [`SILENCE_DBFS`] for silence and for no samples.
#[must_use]
pub fn peak_dbfs(samples: &[i16]) -> f32 {
    let peak = samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
    to_dbfs(f64::from(peak))
}

/// Whether no sample exceeds `threshold_dbfs`. No samples at all are silent.
#[must_use]
pub fn is_silent(samples: &[i16], threshold_dbfs: f32) -> bool {
    peak_dbfs(samples) <= threshold_dbfs
}

/// The factor that a gain in dB multiplies samples by.
#[must_use]
pub fn gain_from_db(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

fn to_dbfs(amplitude: f64) -> f32 {
    if amplitude == 0.0 {
        return SILENCE_DBFS;
    }
    ((20.0 * (amplitude / 32_768.0).log10()) as f32).max(SILENCE_DBFS)
}
