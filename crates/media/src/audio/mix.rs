/// The saturated sum of all inputs, as long as the longest of them; shorter ones are followed by silence.
#[must_use]
pub fn mix(inputs: &[&[i16]]) -> Vec<i16> {
    let length = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
    let mut sum = vec![0i32; length];
    for input in inputs {
        mix_into(&mut sum, input);
    }
    let mut out = Vec::new();
    saturate_into(&sum, &mut out);
    out
}

/// Adds `input` to the start of `sum`. Samples past the end of `sum` are left out.
pub fn mix_into(sum: &mut [i32], input: &[i16]) {
    for (sum, &sample) in sum.iter_mut().zip(input) {
        *sum += i32::from(sample);
    }
}

/// Appends `sum`, clipped to 16 bits.
pub fn saturate_into(sum: &[i32], out: &mut Vec<i16>) {
    out.extend(sum.iter().map(|&sum| sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16));
}

/// Multiplies samples by `gain`, rounded to nearest and clipped. A gain that is not a number silences them.
pub fn apply_gain(samples: &mut [i16], gain: f32) {
    for sample in samples {
        *sample = (f32::from(*sample) * gain).round() as i16;
    }
}
