//! VP8 and H.264 end to end, judged by what a viewer would measure.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Random, Scene, psnr, still};
use greenroom_codec::packetize::{Depacketizer, Packetizer, PayloadShape};
use greenroom_codec::video::{EncodedFrame, Options, VideoDecoder, VideoEncoder};
use greenroom_codec::{CodecError, I420Ref, VideoCodec};

const BOTH: [VideoCodec; 2] = [VideoCodec::Vp8, VideoCodec::H264];
const FPS: u64 = 30;

fn at(index: u64) -> Duration {
    Duration::from_micros(1_000_000 * index / FPS)
}

fn options(width: u32, height: u32) -> Options {
    Options { width, height, bitrate: (width * height * 2).max(20_000), ..Options::default() }
}

/// Encode pictures of a moving scene; a dropped one is left out.
fn frames(codec: VideoCodec, width: u32, height: u32, count: u64) -> Vec<EncodedFrame> {
    let scene = Scene::new(width as usize, height as usize);
    let mut encoder = VideoEncoder::new(codec, options(width, height)).unwrap();
    (0..count)
        .filter_map(|index| {
            let picture = scene.picture(index as usize);
            let image = I420Ref::from_packed(width, height, &picture).unwrap();
            encoder.encode(image, false, at(index)).unwrap()
        })
        .collect()
}

#[test]
fn a_moving_scene_arrives_as_it_was() {
    for codec in BOTH {
        let scene = Scene::new(640, 360);
        let mut encoder = VideoEncoder::new(codec, options(640, 360)).unwrap();
        let mut decoder = VideoDecoder::new(codec).unwrap();
        let mut shown = 0;
        for index in 0..60 {
            let picture = scene.picture(index as usize);
            let image = I420Ref::from_packed(640, 360, &picture).unwrap();
            let Some(frame) = encoder.encode(image, false, at(index)).unwrap() else { continue };
            assert_eq!(frame.keyframe, index == 0, "{codec:?} frame {index}");
            assert_eq!((frame.width, frame.height), (640, 360));
            let decoded = decoder.decode(&frame.data).unwrap().expect("a picture for each frame");
            let quality = psnr(&decoded, &image);
            assert!(quality > 34.0, "{codec:?} frame {index}: {quality:.1} dB");
            shown += 1;
        }
        assert!(shown >= 57, "{codec:?}: {shown} of 60 frames");
    }
}

#[test]
fn colours_and_padded_rows_survive() {
    for codec in BOTH {
        for colour in [[76, 84, 255], [149, 43, 21], [29, 255, 107], [235, 128, 128], [16, 128, 128]] {
            let packed = still(320, 240, colour);
            let expected = I420Ref::from_packed(320, 240, &packed).unwrap();
            // The same picture with rubbish behind each row.
            let strides = [384, 200, 176];
            let planes: Vec<Vec<u8>> = (0..3)
                .map(|plane| {
                    let mut data = Vec::new();
                    for row in expected.rows(plane) {
                        data.extend_from_slice(row);
                        data.resize(data.len() + strides[plane] - row.len(), 0xaa);
                    }
                    data
                })
                .collect();
            let image = I420Ref::new(320, 240, [&planes[0], &planes[1], &planes[2]], strides).unwrap();
            let mut encoder = VideoEncoder::new(codec, options(320, 240)).unwrap();
            let frame = encoder.encode(image, false, Duration::ZERO).unwrap().unwrap();
            let mut decoder = VideoDecoder::new(codec).unwrap();
            let decoded = decoder.decode(&frame.data).unwrap().unwrap();
            for plane in 0..3 {
                let worst = decoded.rows(plane).flatten().map(|value| value.abs_diff(colour[plane])).max().unwrap();
                assert!(worst <= 6, "{codec:?} {colour:?} plane {plane}: off by {worst}");
            }
        }
    }
}

#[test]
fn a_key_frame_comes_when_asked_for_and_only_then() {
    for codec in BOTH {
        let scene = Scene::new(320, 180);
        let mut encoder = VideoEncoder::new(codec, options(320, 180)).unwrap();
        let mut keys = Vec::new();
        let mut late = Vec::new();
        for index in 0..40 {
            let picture = scene.picture(index as usize);
            let image = I420Ref::from_packed(320, 180, &picture).unwrap();
            let frame = encoder.encode(image, index == 20, at(index)).unwrap().unwrap();
            if frame.keyframe {
                keys.push(index);
            }
            if index >= 20 {
                late.push(frame.data);
            }
        }
        assert_eq!(keys, [0, 20], "{codec:?}");
        // A viewer who joins at the second key frame sees everything from there on.
        let mut decoder = VideoDecoder::new(codec).unwrap();
        assert!(late.iter().all(|data| decoder.decode(data).unwrap().is_some()));
    }
}

#[test]
fn a_size_change_takes_effect_at_once_with_a_key_frame() {
    for codec in BOTH {
        let mut encoder = VideoEncoder::new(codec, options(640, 360)).unwrap();
        let mut decoder = VideoDecoder::new(codec).unwrap();
        let mut index = 0;
        for (width, height) in [(640, 360), (320, 180), (1280, 720), (360, 640), (640, 360)] {
            let scene = Scene::new(width as usize, height as usize);
            for step in 0..3 {
                let picture = scene.picture(step);
                let image = I420Ref::from_packed(width, height, &picture).unwrap();
                let frame = encoder.encode(image, false, at(index)).unwrap();
                index += 1;
                assert!(step > 0 || frame.as_ref().is_some_and(|frame| frame.keyframe), "{codec:?} {width}x{height}");
                let Some(frame) = frame else { continue };
                let decoded = decoder.decode(&frame.data).unwrap().unwrap();
                assert!(psnr(&decoded, &image) > 28.0, "{codec:?} {width}x{height}");
            }
        }
        assert_eq!((encoder.options().width, encoder.options().height), (640, 360));
    }
}

#[test]
fn odd_and_tiny_sizes_work() {
    for codec in BOTH {
        for (width, height) in [(2, 2), (16, 16), (17, 33), (175, 143), (321, 241), (1, 64)] {
            let scene = Scene::new(width as usize, height as usize);
            let picture = scene.picture(0);
            let image = I420Ref::from_packed(width, height, &picture).unwrap();
            let encoder = VideoEncoder::new(codec, Options { width, height, ..Options::default() });
            if codec == VideoCodec::H264 && width < 16 {
                assert!(matches!(encoder, Err(CodecError::Invalid(_))));
                continue;
            }
            let frame = encoder.unwrap().encode(image, false, Duration::ZERO).unwrap().unwrap();
            let mut decoder = VideoDecoder::new(codec).unwrap();
            let decoded = decoder.decode(&frame.data).unwrap().unwrap();
            let expected = if codec == VideoCodec::H264 { (width & !1, height & !1) } else { (width, height) };
            assert_eq!((decoded.width(), decoded.height()), expected, "{codec:?} {width}x{height}");
            assert_eq!((frame.width, frame.height), expected);
        }
    }
}

#[test]
fn the_rate_is_kept_and_follows_a_change() {
    for codec in BOTH {
        let scene = Scene::new(640, 360);
        let mut encoder = VideoEncoder::new(codec, Options { bitrate: 600_000, ..options(640, 360) }).unwrap();
        encoder.set_rate(900_000, 30.0).unwrap();
        let measure = |encoder: &mut VideoEncoder, from: u64| {
            let bytes: usize = (from..from + 90)
                .filter_map(|index| {
                    let picture = scene.picture(index as usize);
                    let image = I420Ref::from_packed(640, 360, &picture).unwrap();
                    encoder.encode(image, false, at(index)).unwrap()
                })
                .map(|frame| frame.data.len())
                .sum();
            bytes as f64 * 8.0 / 3.0
        };
        let high = measure(&mut encoder, 0);
        encoder.set_rate(300_000, 30.0).unwrap();
        let low = measure(&mut encoder, 90);
        assert!((700_000.0..1_050_000.0).contains(&high), "{codec:?}: {high:.0} bit/s for 900 000");
        assert!((200_000.0..400_000.0).contains(&low), "{codec:?}: {low:.0} bit/s for 300 000");
        for (bitrate, fps) in [(0, 30.0), (300_000, 0.0), (300_000, f32::NAN), (u32::MAX, 30.0)] {
            assert!(matches!(encoder.set_rate(bitrate, fps), Err(CodecError::Invalid(_))));
        }
        assert_eq!(encoder.options().bitrate, 300_000);
    }
}

#[test]
fn a_screen_is_sharp_within_two_seconds_and_loses_no_frame() {
    // Black strokes, one and two pixels wide, on white.
    let mut picture = still(960, 540, [235, 128, 128]);
    for y in 0..540 {
        for x in 0..960 {
            if (x * 7 + y * 3) % 11 < 2 && y % 16 < 10 {
                picture[y * 960 + x] = 16;
            }
        }
    }
    let image = I420Ref::from_packed(960, 540, &picture).unwrap();
    for codec in BOTH {
        let screen = Options { screencast: true, fps: 15.0, bitrate: 1_500_000, ..options(960, 540) };
        let mut encoder = VideoEncoder::new(codec, screen).unwrap();
        let mut decoder = VideoDecoder::new(codec).unwrap();
        let mut quality = 0.0;
        for index in 0..30 {
            let frame = encoder.encode(image, false, at(2 * index)).unwrap().expect("no frame may be dropped");
            quality = psnr(&decoder.decode(&frame.data).unwrap().unwrap(), &image);
        }
        assert!(quality > 34.0, "{codec:?}: {quality:.1} dB");
    }
}

#[test]
fn timestamps_that_stand_still_or_go_back_are_survived() {
    let scene = Scene::new(320, 180);
    for codec in BOTH {
        let mut encoder = VideoEncoder::new(codec, options(320, 180)).unwrap();
        let mut decoder = VideoDecoder::new(codec).unwrap();
        for (index, seconds) in [5.0, 5.0, 4.0, 0.0, 1e9, 1.0, 1e9].into_iter().enumerate() {
            let picture = scene.picture(index);
            let image = I420Ref::from_packed(320, 180, &picture).unwrap();
            if let Some(frame) = encoder.encode(image, false, Duration::from_secs_f64(seconds)).unwrap() {
                assert!(decoder.decode(&frame.data).unwrap().is_some());
            }
        }
    }
}

#[test]
fn wrong_sizes_are_refused_with_what_would_be_right() {
    let data = vec![0; 100];
    for (width, height) in [(0, 10), (10, 0), (5_000, 10), (16, 16)] {
        assert!(matches!(I420Ref::from_packed(width, height, &data), Err(CodecError::Invalid(_))));
    }
    let result = I420Ref::new(16, 16, [&[0; 256], &[0; 64], &[0; 63]], [16, 8, 8]);
    assert!(result.unwrap_err().to_string().contains("V plane"));
    assert!(I420Ref::new(16, 16, [&[0; 256], &[0; 64], &[0; 64]], [15, 8, 8]).is_err());
    assert!(I420Ref::new(16, 16, [&[0; 256], &[0; 64], &[0; 64]], [usize::MAX, 8, 8]).is_err());
    for codec in BOTH {
        for wrong in [
            Options { width: 0, ..Options::default() },
            Options { height: 9_000, ..Options::default() },
            Options { bitrate: 1, ..Options::default() },
            Options { fps: f32::INFINITY, ..Options::default() },
        ] {
            assert!(matches!(VideoEncoder::new(codec, wrong), Err(CodecError::Invalid(_))), "{wrong:?}");
        }
    }
}

#[test]
fn a_decoder_waits_for_a_key_frame_and_recovers_at_the_next() {
    for codec in BOTH {
        let scene = Scene::new(320, 180);
        let mut encoder = VideoEncoder::new(codec, options(320, 180)).unwrap();
        let data: Vec<Bytes> = (0..20)
            .map(|index| {
                let picture = scene.picture(index as usize);
                let image = I420Ref::from_packed(320, 180, &picture).unwrap();
                encoder.encode(image, index == 10, at(index)).unwrap().unwrap().data
            })
            .collect();
        let mut decoder = VideoDecoder::new(codec).unwrap();
        assert!(matches!(decoder.decode(&data[1]), Err(CodecError::Corrupt(_))), "{codec:?}");
        assert!(decoder.decode(&data[0]).unwrap().is_some());
        assert!(decoder.decode(&[]).is_err());
        assert!(decoder.decode(&data[10]).unwrap().is_some(), "{codec:?}");
        assert!(decoder.decode(&data[11]).unwrap().is_some());
    }
}

/// Decode; whatever comes, it is a picture that can be read or a typed error.
fn try_decode(decoder: &mut VideoDecoder, data: &[u8]) {
    match decoder.decode(data) {
        Ok(Some(image)) => {
            let mut copy = Vec::new();
            image.copy_into(&mut copy);
            assert_eq!(copy.len(), image.packed_len());
        }
        Ok(None) => {}
        Err(error) => assert!(matches!(error, CodecError::Corrupt(_)), "{error:?}"),
    }
}

#[test]
fn every_truncation_of_real_frames_is_survived() {
    for codec in BOTH {
        let frames = frames(codec, 64, 48, 4);
        for (index, frame) in frames.iter().enumerate() {
            for end in 0..frame.data.len() {
                let mut decoder = VideoDecoder::new(codec).unwrap();
                for before in &frames[..index] {
                    decoder.decode(&before.data).unwrap();
                }
                try_decode(&mut decoder, &frame.data[..end]);
                try_decode(&mut decoder, &frames[0].data);
            }
        }
    }
}

#[test]
fn flipped_bits_and_noise_are_survived() {
    for codec in BOTH {
        let frames = frames(codec, 160, 90, 10);
        let mut random = Random::new(3);
        let mut decoder = VideoDecoder::new(codec).unwrap();
        for round in 0..2_000usize {
            let mut data = frames[round % frames.len()].data.to_vec();
            match round % 3 {
                0 => {}
                1 => {
                    for _ in 0..=random.below(6) {
                        let at = random.below(data.len() as u64) as usize;
                        data[at] ^= 1 << random.below(8);
                    }
                }
                _ => {
                    let from = random.below(data.len() as u64) as usize;
                    data[from..].iter_mut().for_each(|byte| *byte = random.next() as u8);
                }
            }
            try_decode(&mut decoder, &data);
        }
        // It still works afterwards.
        assert!(decoder.decode(&frames[0].data).unwrap().is_some(), "{codec:?}");
    }
}

#[test]
fn frames_survive_packets_of_any_size() {
    for codec in BOTH {
        let frames = frames(codec, 640, 360, 5);
        for most in [64, 100, 555, 1_100, 60_000] {
            let mut packetizer = Packetizer::new(codec, most, 0x7ffe);
            let mut payloads = Vec::new();
            for frame in &frames {
                packetizer.packetize(&frame.data, &mut payloads);
                assert!(payloads.iter().all(|payload| !payload.is_empty() && payload.len() <= most));
                let smallest = payloads.len() >= frame.data.len().div_ceil(most);
                assert!(smallest, "{codec:?}: {} payloads for {} bytes", payloads.len(), frame.data.len());
                let first = PayloadShape::of(codec, &payloads[0]);
                assert_eq!(first, PayloadShape { starts_frame: true, keyframe: frame.keyframe }, "{codec:?}");
                let mut depacketizer = Depacketizer::new(codec);
                for payload in &payloads {
                    depacketizer.push(payload).unwrap();
                }
                assert_eq!(depacketizer.finish(), frame.data, "{codec:?} {most}");
            }
        }
        assert!(payloads_of_nothing(codec).is_empty());
    }
}

fn payloads_of_nothing(codec: VideoCodec) -> Vec<Bytes> {
    let mut payloads = vec![Bytes::from_static(b"old")];
    Packetizer::new(codec, 1_100, 0).packetize(&[], &mut payloads);
    payloads
}

#[test]
fn vp8_numbers_pictures_with_15_bits_and_h264_packs_its_parameters() {
    let data = frames(VideoCodec::Vp8, 160, 90, 1).remove(0).data;
    let mut packetizer = Packetizer::new(VideoCodec::Vp8, 200, 0x7fff);
    let mut payloads = Vec::new();
    let ids: Vec<_> = (0..2)
        .map(|_| {
            packetizer.packetize(&data, &mut payloads);
            assert!(payloads.len() > 1);
            let ids: Vec<_> = payloads.iter().map(|payload| (payload[0], payload[2], payload[3])).collect();
            assert_eq!(ids[0].0 & 0x10, 0x10);
            assert!(ids[1..].iter().all(|id| id.0 & 0x10 == 0 && (id.1, id.2) == (ids[0].1, ids[0].2)));
            u16::from_be_bytes([ids[0].1, ids[0].2])
        })
        .collect();
    assert_eq!(ids, [0xffff, 0x8000]);

    let data = frames(VideoCodec::H264, 160, 90, 1).remove(0).data;
    Packetizer::new(VideoCodec::H264, 1_100, 0).packetize(&data, &mut payloads);
    assert_eq!(payloads[0][0] & 0x1f, 24);
    assert_eq!((payloads[0][3] & 0x1f, data[4] & 0x1f), (7, 7));
}

/// Another client follows a call and never sees the frames that may be repeated: both must show the same ever after.
#[test]
fn a_repeatable_frame_shows_the_picture_as_often_as_it_comes_and_leaves_no_trace() {
    let scene = Scene::new(640, 360);
    let mut encoder = VideoEncoder::new(VideoCodec::Vp8, options(640, 360)).unwrap();
    let mut repeated = VideoDecoder::new(VideoCodec::Vp8).unwrap();
    let mut without = VideoDecoder::new(VideoCodec::Vp8).unwrap();
    let mut index = 0;
    let mut planes = Vec::new();
    for scene_number in [0, 20, 40] {
        let picture = scene.picture(scene_number);
        let image = I420Ref::from_packed(640, 360, &picture).unwrap();
        for _ in 0..8 {
            index += 1;
            let Some(frame) = encoder.encode(image, scene_number == 20, at(index)).unwrap() else { continue };
            let mut there = Vec::new();
            repeated.decode(&frame.data).unwrap().unwrap().copy_into(&mut planes);
            without.decode(&frame.data).unwrap().unwrap().copy_into(&mut there);
            assert!(planes == there, "the decoders differ at {index}");
        }
        let before = psnr(&I420Ref::from_packed(640, 360, &planes).unwrap(), &image);
        index += 1;
        let again = encoder.encode_repeatable(image, at(index)).unwrap().unwrap();
        assert!(!again.keyframe && again.data.len() < 200, "{} bytes", again.data.len());
        let mut shown = Vec::new();
        for _ in 0..5 {
            let decoded = repeated.decode(&again.data).unwrap().unwrap();
            let quality = psnr(&decoded, &image);
            assert!(quality > before - 0.1, "{quality:.1} dB after {before:.1}");
            decoded.copy_into(&mut planes);
            assert!(shown.is_empty() || shown == planes);
            shown.clone_from(&planes);
        }
    }
    let mut h264 = VideoEncoder::new(VideoCodec::H264, options(640, 360)).unwrap();
    let picture = scene.picture(0);
    let image = I420Ref::from_packed(640, 360, &picture).unwrap();
    assert!(h264.encode(image, false, at(0)).unwrap().is_some());
    assert_eq!(h264.encode_repeatable(image, at(1)).unwrap(), None);
}
