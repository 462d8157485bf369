//! Leaves out or repeats one period of audio so that nobody hears it.

/// Shortest and longest period, in 1/10 ms: 100 to 400 Hz.
const SHORTEST: usize = 25;
const LONGEST: usize = 100;
/// Likeness (normalised correlation) from which two neighbouring pieces count as periods of one sound.
const ALIKE: f32 = 0.9;
/// Mean square below which nothing can be heard: about -56 dB of full scale.
const QUIET: f32 = 2_500.0;

/// Shorten a decoded frame of interleaved samples by one period of no more than `most` samples per channel, in place.
/// `must`: even if it can be heard.
///
/// Returns whether it was done.
pub(crate) fn shrink(pcm: &mut Vec<i16>, sample_rate: u32, channels: usize, most: usize, must: bool) -> bool {
    let Some(period) = find_period(pcm, sample_rate, channels, most, must) else { return false };
    let length = period * channels;
    // Fade from the first period into the second, which then is followed by what always followed it.
    for index in 0..length {
        pcm[index] = mix(pcm[index], pcm[index + length], index / channels, period);
    }
    pcm.drain(length..2 * length);
    true
}

/// Lengthen a decoded frame by one period, in place. Returns whether it was done.
pub(crate) fn stretch(pcm: &mut Vec<i16>, sample_rate: u32, channels: usize) -> bool {
    let Some(period) = find_period(pcm, sample_rate, channels, usize::MAX, false) else { return false };
    let length = period * channels;
    // After the first period, fade from the second back into the first.
    let bridge: Vec<i16> =
        (0..length).map(|index| mix(pcm[index + length], pcm[index], index / channels, period)).collect();
    pcm.splice(length..length, bridge);
    true
}

fn mix(from: i16, to: i16, step: usize, steps: usize) -> i16 {
    let share = (step as f32 + 0.5) / steps as f32;
    (f32::from(from) * (1.0 - share) + f32::from(to) * share).round() as i16
}

/// Length in samples per channel of the period at the start of a frame; `None` when there is none and it matters.
fn find_period(pcm: &[i16], sample_rate: u32, channels: usize, most: usize, must: bool) -> Option<usize> {
    let mono: Vec<f32> = pcm
        .chunks_exact(channels)
        .map(|frame| frame.iter().map(|&sample| f32::from(sample)).sum::<f32>() / channels as f32)
        .collect();
    let longest = (sample_rate as usize * LONGEST / 10_000).min(mono.len() / 2).min(most);
    if energy(&mono) < QUIET * mono.len() as f32 {
        return Some(longest).filter(|longest| *longest > 0);
    }
    let shortest = sample_rate as usize * SHORTEST / 10_000;
    if shortest == 0 || longest < shortest {
        return None;
    }
    // First roughly, on every fourth sample, then exactly around the best.
    let rough = best(&mono, (shortest..=longest).step_by(4), 4)?.0;
    let (period, likeness) = best(&mono, rough.saturating_sub(3).max(shortest)..=(rough + 3).min(longest), 1)?;
    (must || likeness >= ALIKE).then_some(period)
}

fn best(mono: &[f32], periods: impl Iterator<Item = usize>, stride: usize) -> Option<(usize, f32)> {
    periods.map(|period| (period, likeness(mono, period, stride))).max_by(|left, right| left.1.total_cmp(&right.1))
}

fn likeness(mono: &[f32], period: usize, stride: usize) -> f32 {
    let (mut cross, mut first, mut second) = (0.0, 1.0, 1.0);
    for (left, right) in mono.iter().zip(mono.iter().skip(period)).take(period).step_by(stride) {
        cross += left * right;
        first += left * left;
        second += right * right;
    }
    cross / (first * second).sqrt()
}

fn energy(mono: &[f32]) -> f32 {
    mono.iter().map(|sample| sample * sample).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hertz: f32, samples: usize, channels: usize) -> Vec<i16> {
        (0..samples * channels)
            .map(|index| {
                let time = (index / channels) as f32 / 48_000.0;
                (10_000.0 * (std::f32::consts::TAU * hertz * time).sin()) as i16
            })
            .collect()
    }

    /// Largest step between neighbouring samples of a channel.
    fn roughness(pcm: &[i16], channels: usize) -> i32 {
        pcm.iter().zip(pcm.iter().skip(channels)).map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs()).max().unwrap()
    }

    #[test]
    fn a_tone_gets_shorter_and_longer_by_whole_periods_without_a_click() {
        for (hertz, channels) in [(200.0, 1), (440.0, 1), (440.0, 2), (300.0, 2)] {
            let whole = sine(hertz, 960, channels);
            let smooth = roughness(&whole, channels) + 30;
            let period = 48_000.0 / hertz;
            let mut shorter = whole.clone();
            assert!(shrink(&mut shorter, 48_000, channels, 480, false));
            let mut longer = whole.clone();
            assert!(stretch(&mut longer, 48_000, channels));
            for changed in [&shorter, &longer] {
                let by = changed.len().abs_diff(whole.len()) as f32 / channels as f32;
                let periods = by / period;
                assert!(by >= 120.0 && (periods - periods.round()).abs() * period < 2.0, "{hertz}: {by}");
                assert!(roughness(changed, channels) <= smooth);
            }
            let ends = shorter.iter().rev().zip(whole.iter().rev()).take(100 * channels);
            assert!(ends.map(|(a, b)| a.abs_diff(*b)).max().unwrap() < 50, "it must end where it ended");
        }
    }

    #[test]
    fn noise_is_left_alone_unless_it_must_be() {
        let mut state = 1u32;
        let noise: Vec<i16> = (0..960)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 17) as i16
            })
            .map(|sample| sample - 16_384)
            .collect();
        let mut changed = noise.clone();
        assert!(!shrink(&mut changed, 48_000, 1, 480, false));
        assert!(!stretch(&mut changed, 48_000, 1));
        assert_eq!(changed, noise);
        assert!(shrink(&mut changed, 48_000, 1, 480, true));
        assert!(changed.len() < noise.len());
    }

    #[test]
    fn silence_goes_by_the_largest_piece() {
        let mut silence = vec![0; 960];
        assert!(shrink(&mut silence, 48_000, 1, 480, false));
        assert_eq!(silence.len(), 480);
    }

    #[test]
    fn frames_too_short_for_a_period_stay() {
        let mut short = vec![1000; 60];
        assert!(!shrink(&mut short, 48_000, 1, 480, true));
        assert!(!stretch(&mut short, 48_000, 1));
        assert_eq!(short.len(), 60);
    }
}
