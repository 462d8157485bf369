//! Opus end to end, judged by what a listener would measure.

mod common;

use common::{Random, error_energy, rms, sine, tone_level, tone_snr};
use greenroom_codec::CodecError;
use greenroom_codec::opus::{Application, Decoder, Encoder, Options, has_fec, packet_samples};

const RATE: u32 = 48_000;
const FRAME: usize = 960;

/// Encode `pcm` in 20 ms frames of one channel.
fn encode(pcm: &[i16], options: Options) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(RATE, 1, options).unwrap();
    let mut packet = Vec::new();
    pcm.chunks_exact(FRAME)
        .map(|frame| {
            encoder.encode(frame, &mut packet).unwrap();
            packet.clone()
        })
        .collect()
}

#[test]
fn a_tone_survives_at_every_rate_frame_length_and_channel_count() {
    for rate in [8_000, 12_000, 16_000, 24_000, 48_000] {
        for channels in [1u8, 2] {
            for milliseconds in [10, 20, 40, 60] {
                let application = Application::Audio;
                let mut encoder = Encoder::new(rate, channels, Options { application, ..Options::default() }).unwrap();
                let mut decoder = Decoder::new(rate, channels).unwrap();
                let samples = rate as usize * milliseconds / 1000;
                let pcm = sine(440.0, rate, rate as usize * 6 / 5, channels.into(), 0.5);
                let (mut packet, mut out, mut heard) = (Vec::new(), Vec::new(), Vec::new());
                for frame in pcm.chunks_exact(samples * usize::from(channels)) {
                    assert!(!encoder.encode(frame, &mut packet).unwrap().silent);
                    assert_eq!(packet_samples(&packet, rate).unwrap(), samples);
                    assert_eq!(decoder.decode(&packet, &mut out).unwrap(), samples);
                    heard.extend(out.iter().copied().step_by(channels.into()));
                }
                // The first 200 ms belong to the codec's run-in.
                let settled = &heard[rate as usize / 5..rate as usize * 6 / 5 - samples];
                let whole = settled.len() / (rate as usize / 20) * (rate as usize / 20);
                let (level, snr) =
                    (tone_level(&settled[..whole], 440.0, rate), tone_snr(&settled[..whole], 440.0, rate));
                assert!((level - 0.5).abs() < 0.05, "{rate} Hz x{channels} {milliseconds} ms: level {level}");
                assert!(snr > 15.0, "{rate} Hz x{channels} {milliseconds} ms: {snr} dB");
            }
        }
    }
}

/// A melody of whole frames.
fn melody(frames: usize) -> Vec<i16> {
    common::melody(frames * FRAME)
}

#[test]
fn a_lost_packet_is_rebuilt_from_the_next_one() {
    let packets = encode(&melody(60), Options { expected_loss: 20, ..Options::default() });
    assert!(packets.iter().skip(3).filter(|packet| has_fec(packet)).count() > 50);
    let (mut repaired, mut concealed) = (0.0, 0.0);
    for lost in (9..57).step_by(3) {
        let [mut whole, mut with_fec, mut without] = [(); 3].map(|()| Decoder::new(RATE, 1).unwrap());
        let (mut truth, mut fec, mut guess) = (Vec::new(), Vec::new(), Vec::new());
        for packet in &packets[..lost] {
            for decoder in [&mut whole, &mut with_fec, &mut without] {
                decoder.decode(packet, &mut truth).unwrap();
            }
        }
        whole.decode(&packets[lost], &mut truth).unwrap();
        assert_eq!(with_fec.decode_fec(&packets[lost + 1], FRAME, &mut fec).unwrap(), FRAME);
        assert_eq!(without.conceal(FRAME, &mut guess).unwrap(), FRAME);
        repaired += error_energy(&truth, &fec);
        concealed += error_energy(&truth, &guess);
    }
    assert!(repaired * 4.0 < concealed, "error energy {repaired:.0} with FEC, {concealed:.0} without");
}

#[test]
fn without_fec_packets_carry_no_copy() {
    let packets = encode(&melody(20), Options { fec: false, expected_loss: 20, ..Options::default() });
    assert!(!packets.iter().any(|packet| has_fec(packet)));
}

#[test]
fn concealment_continues_the_sound_and_then_fades() {
    let pcm = sine(300.0, RATE, 30 * FRAME, 1, 0.4);
    let mut decoder = Decoder::new(RATE, 1).unwrap();
    let mut out = Vec::new();
    for packet in encode(&pcm, Options::default()) {
        decoder.decode(&packet, &mut out).unwrap();
    }
    let before = rms(&out);
    decoder.conceal(FRAME / 2, &mut out).unwrap();
    assert_eq!(out.len(), FRAME / 2);
    assert!(rms(&out) > before / 2.0, "the first 10 ms fell from {before} to {}", rms(&out));
    for _ in 0..50 {
        decoder.conceal(FRAME, &mut out).unwrap();
    }
    assert!(rms(&out) < before / 5.0, "after a second there is still {}", rms(&out));
}

#[test]
fn dtx_is_silent_in_silence_and_awake_for_sound() {
    let mut encoder = Encoder::new(RATE, 1, Options { dtx: true, ..Options::default() }).unwrap();
    let mut packet = Vec::new();
    let mut silent = |encoder: &mut Encoder, pcm: &[i16]| {
        pcm.chunks_exact(FRAME).filter(|frame| encoder.encode(frame, &mut packet).unwrap().silent).count()
    };
    assert_eq!(silent(&mut encoder, &melody(50)), 0);
    let quiet = silent(&mut encoder, &vec![0; 100 * FRAME]);
    assert!((70..100).contains(&quiet), "{quiet} of 100 silent frames need not be sent");
    assert_eq!(silent(&mut encoder, &melody(20)), 0);
    encoder.set_dtx(false).unwrap();
    assert_eq!(silent(&mut encoder, &vec![0; 100 * FRAME]), 0);
}

#[test]
fn the_bit_rate_is_kept() {
    for bitrate in [16_000, 32_000, 64_000] {
        let packets = encode(&melody(200), Options { bitrate, ..Options::default() });
        let actual = packets.iter().map(Vec::len).sum::<usize>() as f64 * 8.0 / 4.0;
        assert!((actual / f64::from(bitrate) - 1.0).abs() < 0.35, "{bitrate} bit/s became {actual}");
    }
}

#[test]
fn wrong_arguments_are_refused_with_what_would_be_right() {
    let refused = |result: Result<(), CodecError>, hint: &str| match result {
        Err(CodecError::Invalid(text)) => assert!(text.contains(hint), "{text}"),
        other => panic!("{other:?}"),
    };
    refused(Encoder::new(44_100, 1, Options::default()).map(drop), "48000");
    refused(Encoder::new(RATE, 3, Options::default()).map(drop), "1 or 2");
    refused(Encoder::new(RATE, 1, Options { bitrate: 1, ..Options::default() }).map(drop), "500");
    refused(Encoder::new(RATE, 1, Options { complexity: 11, ..Options::default() }).map(drop), "complexity");
    refused(Encoder::new(RATE, 1, Options { expected_loss: 101, ..Options::default() }).map(drop), "loss");
    refused(Decoder::new(RATE, 0).map(drop), "1 or 2");
    let mut encoder = Encoder::new(RATE, 2, Options::default()).unwrap();
    for length in [0, 1, 959, 960 * 2 + 1, 1440 * 2, 48_000 * 2] {
        refused(encoder.encode(&vec![0; length], &mut Vec::new()).map(drop), "10, 20, 40 or 60 ms");
    }
    let mut decoder = Decoder::new(RATE, 1).unwrap();
    for samples in [0, 1, 119, 5_880] {
        refused(decoder.conceal(samples, &mut Vec::new()).map(drop), "2.5 ms");
    }
}

#[test]
fn damaged_packets_are_errors_and_the_decoder_goes_on() {
    let packets = encode(&melody(30), Options { expected_loss: 20, ..Options::default() });
    let mut decoder = Decoder::new(RATE, 2).unwrap();
    let mut out = Vec::new();
    let mut try_one = |decoder: &mut Decoder, packet: &[u8]| {
        for result in [decoder.decode(packet, &mut out), decoder.decode_fec(packet, FRAME, &mut out)] {
            match result {
                Ok(samples) => assert!(samples <= 5_760),
                Err(error) => assert!(matches!(error, CodecError::Corrupt(_)), "{error:?}"),
            }
        }
    };
    for packet in &packets[..12] {
        for end in 0..=packet.len() {
            try_one(&mut decoder, &packet[..end]);
        }
    }
    let mut random = Random::new(1);
    for _ in 0..3_000 {
        let length = random.below(200) as usize;
        let noise: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        try_one(&mut decoder, &noise);
        let mut flipped = packets[random.below(30) as usize].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(flipped.len() as u64) as usize;
            flipped[at] ^= 1 << random.below(8);
        }
        try_one(&mut decoder, &flipped);
    }
    let mut out = Vec::new();
    assert_eq!(decoder.decode(&packets[5], &mut out).unwrap(), FRAME);
    assert_eq!(out.len(), 2 * FRAME);
}
