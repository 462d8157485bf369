use std::f64::consts::TAU;

use super::*;

const RATES: [u32; 8] = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
const QUALITIES: [Quality; 5] = [Quality::Quick, Quality::Low, Quality::Medium, Quality::High, Quality::VeryHigh];

fn sine(frequency: f64, rate: u32, frames: usize, amplitude: f64) -> Vec<i16> {
    let step = TAU * frequency / f64::from(rate);
    (0..frames).map(|n| (amplitude * (step * n as f64).sin()).round() as i16).collect()
}

/// Repeatable samples that use the whole range.
fn noise(length: usize) -> Vec<i16> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 48) as u16 as i16
    };
    std::iter::repeat_with(step).take(length).collect()
}

fn resample(input: &[i16], from: u32, to: u32, channels: usize, quality: Quality) -> Vec<i16> {
    let mut resampler = Resampler::new(from, to, channels, quality).unwrap();
    let mut out = Vec::new();
    resampler.push(input, &mut out);
    resampler.flush(&mut out);
    out
}

/// dB by which the sine of `frequency` that was asked for exceeds everything else, edges left out.
fn snr(out: &[i16], frequency: f64, rate: u32, amplitude: f64) -> f64 {
    let step = TAU * frequency / f64::from(rate);
    let inside = out.len() / 4..out.len() * 3 / 4;
    let (mut signal, mut error) = (0.0, 0.0);
    for n in inside {
        let wanted = amplitude * (step * n as f64).sin();
        signal += wanted * wanted;
        error += (f64::from(out[n]) - wanted).powi(2);
    }
    10.0 * (signal / error).log10()
}

fn pairs() -> impl Iterator<Item = (u32, u32)> {
    RATES.into_iter().flat_map(|from| RATES.into_iter().map(move |to| (from, to)))
}

#[test]
fn sines_survive_every_pair_of_rates() {
    for quality in [Quality::Medium, Quality::High] {
        for (from, to) in pairs() {
            let low = f64::from(from.min(to));
            for frequency in [20.0, 440.0, 0.2 * low, 0.35 * low, 0.45 * low] {
                let input = sine(frequency, from, from as usize / 4, 30_000.0);
                let out = resample(&input, from, to, 1, quality);
                let db = snr(&out, frequency, to, 30_000.0);
                assert!(db > 80.0, "{quality:?} {from} -> {to}, {frequency} Hz: {db:.1} dB");
            }
        }
    }
}

#[test]
fn what_the_output_cannot_hold_is_removed() {
    for (quality, from_fraction, limit) in [
        (Quality::Quick, 0.6, -55.0),
        (Quality::Low, 0.58, -70.0),
        (Quality::Medium, 0.55, -80.0),
        (Quality::High, 0.501, -80.0),
        (Quality::VeryHigh, 0.501, -80.0),
    ] {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            let frequency = from_fraction * f64::from(to);
            if frequency >= 0.5 * f64::from(from) {
                continue;
            }
            let out = resample(&sine(frequency, from, from as usize / 4, 30_000.0), from, to, 1, quality);
            let level = level_dbfs(&out[out.len() / 4..out.len() * 3 / 4]);
            assert!(level < limit, "{quality:?} {from} -> {to}: {level:.1} dBFS");
        }
    }
}

#[test]
fn chunking_does_not_change_a_bit() {
    for quality in QUALITIES {
        for (from, to) in [(48_000, 16_000), (44_100, 48_000), (8_000, 44_100), (16_001, 47_999)] {
            for channels in [1, 2, 3] {
                let input = noise(4_000 * channels);
                let whole = resample(&input, from, to, channels, quality);
                for chunk in [1, 7, 160, 441, 480] {
                    let mut resampler = Resampler::new(from, to, channels, quality).unwrap();
                    let mut out = Vec::new();
                    for part in input.chunks(chunk) {
                        resampler.push(part, &mut out);
                    }
                    resampler.flush(&mut out);
                    assert!(out == whole, "{quality:?} {from} -> {to} in {chunk}s");
                }
            }
        }
    }
}

#[test]
fn counts_are_exact_after_flush() {
    for (from, to) in pairs().chain([(1_000, 768_000), (768_000, 1_000), (47_999, 48_001)]) {
        let mut resampler = Resampler::new(from, to, 2, Quality::Quick).unwrap();
        for frames in [0, 1, 2, 479, 480, 4_801] {
            let mut out = Vec::new();
            resampler.push(&vec![100; 2 * frames], &mut out);
            resampler.flush(&mut out);
            let wanted = (frames as f64 * f64::from(to) / f64::from(from)).round() as usize;
            assert_eq!(out.len(), 2 * wanted, "{frames} frames {from} -> {to}");
        }
    }
}

#[test]
fn output_lags_by_the_delay_it_tells() {
    for quality in QUALITIES {
        let mut resampler = Resampler::new(48_000, 16_000, 1, quality).unwrap();
        let mut out = Vec::new();
        resampler.push(&vec![0; 48_000], &mut out);
        let missing = 48_000 - 3 * out.len();
        assert!(missing.abs_diff(resampler.delay()) <= 3, "{quality:?} {missing}");
    }
}

#[test]
fn an_impulse_stays_where_it_was() {
    for (from, to) in [(16_000, 48_000), (48_000, 16_000), (44_100, 8_000)] {
        let mut input = vec![0; from as usize];
        input[from as usize / 2] = 32_000;
        let out = resample(&input, from, to, 1, Quality::High);
        let peak = (0..out.len()).max_by_key(|&n| out[n].unsigned_abs()).unwrap();
        assert_eq!(peak, to as usize / 2, "{from} -> {to}");
    }
}

#[test]
fn channels_do_not_leak() {
    let left = sine(440.0, 44_100, 4_410, 20_000.0);
    let right = sine(3_000.0, 44_100, 4_410, 10_000.0);
    let both: Vec<i16> = left.iter().zip(&right).flat_map(|(&l, &r)| [l, r]).collect();
    let out = resample(&both, 44_100, 48_000, 2, Quality::Medium);
    let (l, r): (Vec<i16>, Vec<i16>) = out.as_chunks::<2>().0.iter().map(|&[l, r]| (l, r)).unzip();
    assert_eq!(l, resample(&left, 44_100, 48_000, 1, Quality::Medium));
    assert_eq!(r, resample(&right, 44_100, 48_000, 1, Quality::Medium));
}

#[test]
fn equal_rates_pass_every_sample() {
    let input = noise(999);
    assert_eq!(resample(&input, 48_000, 48_000, 3, Quality::VeryHigh), input);
}

#[test]
fn full_scale_clips_and_does_not_wrap() {
    let square: Vec<i16> = (0..4_800).map(|n| if n / 37 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
    let out = resample(&square, 48_000, 44_100, 1, Quality::High);
    let wrapped = out.windows(2).filter(|pair| pair[0] == i16::MAX && pair[1] == i16::MIN).count();
    assert_eq!(wrapped, 0);
    assert!(out.contains(&i16::MAX) && out.contains(&i16::MIN));
}

#[test]
fn memory_stays_bounded() {
    let mut resampler = Resampler::new(44_100, 48_000, 2, Quality::High).unwrap();
    let mut out = Vec::new();
    for _ in 0..10_000 {
        resampler.push(&[1; 882], &mut out);
        out.clear();
    }
    assert!(out.capacity() < 10_000);
}

#[test]
fn formats_that_cannot_be_are_refused() {
    let resampler = |from, to, channels| Resampler::new(from, to, channels, Quality::Medium).unwrap_err();
    assert_eq!(resampler(0, 48_000, 1), AudioError::SampleRate(0));
    assert_eq!(resampler(48_000, u32::MAX, 1), AudioError::SampleRate(u32::MAX));
    assert_eq!(resampler(48_000, 16_000, 0), AudioError::Channels(0));
    assert_eq!(resampler(48_000, 16_000, 256), AudioError::Channels(256));
}

#[test]
fn remix_repeats_and_averages() {
    let made = |input: &[i16], from, to| {
        let mut out = Vec::new();
        remix(input, from, to, &mut out);
        out
    };
    assert_eq!(made(&[1, -2], 1, 2), [1, 1, -2, -2]);
    assert_eq!(made(&[1, 3, -3, -4, i16::MAX, i16::MAX, i16::MIN, i16::MIN], 2, 1), [2, -3, i16::MAX, i16::MIN]);
    assert_eq!(made(&[1, 2, 3, 4], 2, 2), [1, 2, 3, 4]);
    assert_eq!(made(&[1, 2], 2, 5), [1, 2, 1, 2, 1]);
    assert_eq!(made(&[10, 20, 30, 40, 99], 4, 2), [20, 30]);
    assert_eq!(made(&[10, 20, 60], 3, 1), [30]);
    assert_eq!(made(&[1, 2], 0, 1), []);
}

#[test]
fn converter_follows_a_changing_input() {
    let mut converter = AudioConverter::new(48_000, 2, Quality::Medium).unwrap();
    let mut out = Vec::new();
    converter.push(&sine(440.0, 48_000, 4_800, 8_000.0), 48_000, 1, &mut out).unwrap();
    converter.push(&sine(440.0, 16_000, 1_600, 8_000.0), 16_000, 1, &mut out).unwrap();
    converter.push(&vec![50; 8_820], 44_100, 2, &mut out).unwrap();
    converter.flush(&mut out);
    assert_eq!(out.len(), 3 * 4_800 * 2);
    assert!(out.as_chunks::<2>().0.iter().all(|[left, right]| left == right));
    assert_eq!(converter.push(&[], 0, 1, &mut out), Err(AudioError::SampleRate(0)));
}

#[test]
fn a_change_of_format_makes_no_click() {
    let seconds = |n: usize| n as f64 / 48_000.0;
    for (first, second) in [(48_000, 16_000), (16_000, 44_100), (24_000, 24_000)] {
        // The tone goes on over the seam, where it is at its highest.
        let tone = |rate: u32, from: f64| -> Vec<i16> {
            (0..rate as usize / 10)
                .map(|n| (10_000.0 * (TAU * 205.0 * (from + n as f64 / f64::from(rate))).cos()).round() as i16)
                .collect()
        };
        let mut stereo = Vec::new();
        remix(&tone(second, 0.1), 1, 2, &mut stereo);
        let mut converter = AudioConverter::new(48_000, 1, Quality::Medium).unwrap();
        let mut out = Vec::new();
        converter.push(&tone(first, 0.0), first, 1, &mut out).unwrap();
        converter.push(&stereo, second, 2, &mut out).unwrap();
        let error = (1_000..8_000)
            .map(|n| (f64::from(out[n]) - 10_000.0 * (TAU * 205.0 * seconds(n)).cos()).abs())
            .fold(0.0, f64::max);
        assert!(error < 500.0, "{first} -> {second}: off by {error:.0}");
    }
}

#[test]
fn levels_are_relative_to_full_scale() {
    assert!((level_dbfs(&sine(1_000.0, 48_000, 48_000, 32_767.0)) + 3.01).abs() < 0.01);
    assert!(level_dbfs(&[i16::MIN; 100]).abs() < 1e-6);
    assert!((peak_dbfs(&[0, 16_384, 0]) + 6.02).abs() < 0.01);
    for silence in [&[][..], &[0; 100]] {
        assert_eq!((level_dbfs(silence), peak_dbfs(silence)), (SILENCE_DBFS, SILENCE_DBFS));
        assert!(is_silent(silence, SILENCE_DBFS));
    }
    assert!(is_silent(&[30; 10], -60.0) && !is_silent(&[40; 10], -60.0));
}

#[test]
fn mixing_saturates() {
    assert_eq!(mix(&[&[1, 2, 3], &[i16::MAX], &[0, i16::MIN, -4]]), [i16::MAX, -32_766, -1]);
    assert_eq!(mix(&[]), []);
    let mut samples = [100, -100, i16::MAX, i16::MIN];
    apply_gain(&mut samples, gain_from_db(6.0206));
    assert_eq!(samples, [200, -200, i16::MAX, i16::MIN]);
    apply_gain(&mut samples, f32::NAN);
    assert_eq!(samples, [0; 4]);
}

/// Bursts of a falling harmonic tone: enough like a voice for gain and echo control to act on.
fn voice(rate: u32, seconds: usize, pitch: f64) -> Vec<f64> {
    (0..rate as usize * seconds)
        .map(|n| {
            let time = n as f64 / f64::from(rate);
            let syllable = (TAU * 2.1 * time).sin().max(0.0) * (0.6 + 0.4 * (TAU * 0.31 * time).sin());
            let phase = TAU * pitch * time + 4.0 * (TAU * 0.7 * time).sin();
            let tone: f64 = (1..24).map(|k| (f64::from(k) * phase).sin() / f64::from(k)).sum();
            syllable * tone * 0.2
        })
        .collect()
}

fn to_samples(signal: &[f64]) -> Vec<i16> {
    signal.iter().map(|sample| (sample * 32_767.0) as i16).collect()
}

/// White noise of the given amplitude, 0..1.
fn hiss(length: usize, amplitude: f64) -> Vec<f64> {
    noise(length).into_iter().map(|sample| amplitude * f64::from(sample) / 32_768.0).collect()
}

/// Level after processing minus level before, in dB, over the second half.
fn gain_by(processing: Processing, rate: u32, near: &[i16], far: &[i16]) -> f32 {
    let block = rate as usize / 100;
    let mut processor = AudioProcessor::new(processing);
    let mut out = near.to_vec();
    for (near, far) in out.chunks_exact_mut(block).zip(far.chunks_exact(block)) {
        processor.process_reverse(far, rate, 1).unwrap();
        processor.set_delay_ms(0);
        processor.process(near, rate, 1).unwrap();
    }
    let half = near.len() / 2;
    level_dbfs(&out[half..]) - level_dbfs(&near[half..])
}

#[test]
fn echo_is_cancelled_and_the_near_voice_kept() {
    let processing = Processing { echo_cancellation: true, ..Processing::default() };
    for rate in [16_000, 48_000] {
        let far = voice(rate, 8, 120.0);
        let path = [(0.030, 0.4), (0.037, -0.25), (0.052, 0.15), (0.081, -0.08)];
        let echo: Vec<f64> = (0..far.len())
            .map(|n| {
                let heard = |&(delay, gain): &(f64, f64)| {
                    let back = (delay * f64::from(rate)) as usize;
                    n.checked_sub(back).map_or(0.0, |at| gain * far[at])
                };
                path.iter().map(heard).sum()
            })
            .collect();
        let far = to_samples(&far);
        let removed = gain_by(processing, rate, &to_samples(&echo), &far);
        assert!(removed < -25.0, "echo at {rate} Hz: {removed:.1} dB");
        let near = to_samples(&voice(rate, 8, 190.0));
        let kept = gain_by(processing, rate, &near, &vec![0; near.len()]);
        assert!(kept > -3.0, "near voice at {rate} Hz: {kept:.1} dB");
    }
}

#[test]
fn steady_noise_is_lowered() {
    let processing = Processing { noise_suppression: true, ..Processing::default() };
    for rate in [16_000, 32_000, 48_000] {
        let near = to_samples(&hiss(rate as usize * 8, 0.02));
        let lowered = gain_by(processing, rate, &near, &vec![0; near.len()]);
        assert!(lowered < -8.0, "{rate} Hz: {lowered:.1} dB");
    }
}

#[test]
fn rumble_is_filtered_and_quiet_speech_raised() {
    let high_pass = Processing { high_pass_filter: true, ..Processing::default() };
    let rumble = sine(20.0, 48_000, 96_000, 10_000.0);
    assert!(gain_by(high_pass, 48_000, &rumble, &vec![0; rumble.len()]) < -20.0);
    let gain = Processing { auto_gain_control: true, ..Processing::default() };
    let quiet: Vec<f64> = voice(16_000, 8, 150.0).iter().map(|sample| sample * 0.05).collect();
    let quiet = to_samples(&quiet);
    assert!(gain_by(gain, 16_000, &quiet, &vec![0; quiet.len()]) > 6.0);
}

#[test]
fn processing_follows_the_format_and_refuses_others() {
    let mut processor = AudioProcessor::new(Processing { noise_suppression: true, ..Processing::default() });
    for (rate, channels) in [(16_000, 1), (48_000, 2), (44_100, 1), (8_000, 8), (96_000, 1)] {
        let mut samples = vec![100; rate as usize / 50 * channels];
        processor.process(&mut samples, rate, channels).unwrap();
    }
    let error = processor.process(&mut [0; 479], 48_000, 1).unwrap_err();
    assert_eq!(error, AudioError::BlockLength { length: 479, block: 480 });
    for (rate, channels) in [(22_050, 1), (7_900, 1), (0, 1), (u32::MAX, 1), (48_000, 0), (48_000, 9)] {
        let refused = AudioError::Processing { sample_rate: rate, channels };
        assert_eq!(processor.process_reverse(&[], rate, channels), Err(refused));
    }
}

#[test]
fn a_converter_in_step_gives_with_each_push_as_much_as_it_takes() {
    for (from, to, channels) in [(48_000, 16_000, 1), (24_000, 48_000, 2), (44_100, 48_000, 1), (48_000, 8_000, 2)] {
        let mut converter = AudioConverter::new(to, channels, Quality::Medium).unwrap().in_step();
        let mut plain = AudioConverter::new(to, channels, Quality::Medium).unwrap();
        let input: Vec<i16> = (0..from as i32 * 2).map(|n| (n * 37 % 5_000) as i16).collect();
        let (mut out, mut lagging) = (Vec::new(), Vec::new());
        for (count, piece) in input.chunks(from as usize / 100 * 2).enumerate() {
            converter.push(piece, from, 2, &mut out).unwrap();
            plain.push(piece, from, 2, &mut lagging).unwrap();
            let due = (count + 1) * to as usize / 100 * channels;
            assert!((due..=due + 2 * channels).contains(&out.len()), "{} of {due} after {count}", out.len());
        }
        let silence = out.len() - lagging.len();
        assert!(silence > 0 && out[..silence].iter().all(|sample| *sample == 0));
        assert_eq!(out[silence..], lagging);
    }
}
