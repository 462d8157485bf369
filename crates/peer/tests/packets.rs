//! Header extensions and payload descriptors on their way through.

mod common;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::*;
use greenroom_peer::{CaptureTime, Codec, Extensions, MediaKind, PlayoutDelay, Vp8Rewrite};

#[test]
fn header_extensions_arrive_as_they_were_sent() {
    let capture = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
    let raw = |length: u8| -> Option<Arc<[u8]>> { Some((0..length).collect::<Vec<u8>>().into()) };
    let video = Extensions {
        capture_time: Some(CaptureTime { time: capture, offset: Some(-5) }),
        orientation: Some(3),
        playout_delay: Some(PlayoutDelay { min: 10, max: 400 }),
        content_type: Some(1),
        color_space: raw(4),
        dependency_descriptor: raw(3),
        layers_allocation: raw(9),
        ..Extensions::default()
    };
    let audio = Extensions {
        audio_level: Some(0),
        voice_activity: Some(false),
        capture_time: Some(CaptureTime { time: capture, offset: None }),
        ..Extensions::default()
    };
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Video, "camera", &[Codec::Av1]));
    net.client().attach(2, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    net.connect();
    // A descriptor of more than 16 bytes needs the long form of the header extensions.
    let long = Extensions { dependency_descriptor: raw(70), ..video.clone() };
    for (key, codec, extensions) in [(1, Codec::Av1, video), (1, Codec::Av1, long), (2, Codec::Opus, audio)] {
        let mut source = Source { extensions: extensions.clone(), ..Source::new(key, codec) };
        source.seq =
            1000 + u64::from(extensions.dependency_descriptor.as_ref().is_some_and(|raw| raw.len() > 16)) * 100;
        net.stream(CLIENT, &mut source, 3);
        let packets = net.packets(SERVER);
        assert_eq!(packets.len(), 3);
        for packet in packets {
            let mut seen = packet.extensions;
            if let (Some(seen), Some(sent)) = (&mut seen.capture_time, &extensions.capture_time) {
                // NTP time and the system's differ in resolution.
                let apart = seen.time.duration_since(sent.time).unwrap_or_else(|error| error.duration());
                assert!(apart < Duration::from_micros(1), "{apart:?}");
                seen.time = sent.time;
            }
            assert_eq!(seen, extensions);
        }
    }
}

#[test]
fn audio_levels_cover_their_whole_range() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    net.connect();
    let mut source = Source::new(1, Codec::Opus);
    for level in [0, 1, 64, 126, 127] {
        for voice in [false, true] {
            source.extensions =
                Extensions { audio_level: Some(level), voice_activity: Some(voice), ..Extensions::default() };
            net.stream(CLIENT, &mut source, 1);
        }
    }
    let seen: Vec<_> = net
        .packets(SERVER)
        .iter()
        .map(|packet| (packet.extensions.audio_level.unwrap(), packet.extensions.voice_activity.unwrap()))
        .collect();
    let wanted: Vec<_> = [0, 1, 64, 126, 127].into_iter().flat_map(|level| [(level, false), (level, true)]).collect();
    assert_eq!(seen, wanted);
}

#[test]
fn the_vp8_descriptor_is_rewritten_and_the_payload_shared() {
    // X with I, L and T/K: a 15-bit picture id of 0x1234, TL0PICIDX 7, TID 0 with KEYIDX 3; then a key frame's payload.
    let long = [0x90, 0xF0, 0x92, 0x34, 7, 0x03, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a];
    // X with I only: a 7-bit picture id.
    let short = [0x90, 0x80, 0x12, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a];
    // No extension at all.
    let plain = [0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a];
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Video, "PA_a", "TR_a"));
    net.connect();
    let rewrite = Vp8Rewrite { picture_id: Some(0x7abc), tl0_pic_idx: Some(200), key_idx: Some(31) };
    let mut source = Source::new(1, Codec::Vp8);
    for payload in [&long[..], &short, &plain] {
        let mut packet = source.next(net.now);
        packet.payload = payload.into();
        packet.vp8 = Some(rewrite);
        let now = net.now;
        assert_eq!(net.server().send(now, packet), Ok(true));
        net.run_ms(10);
    }
    let seen: Vec<_> = net.packets(CLIENT).into_iter().map(|packet| packet.payload.to_vec()).collect();
    assert_eq!(seen[0], [0x90, 0xF0, 0xFA, 0xBC, 200, 0x1F, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a]);
    assert_eq!(seen[1], [0x90, 0x80, 0x3C, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a], "the lowest 7 bits");
    assert_eq!(seen[2], plain);
}

#[test]
fn sequence_numbers_and_timestamps_wrap_around() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_a"));
    net.connect();
    let mut source = Source::new(1, Codec::Opus);
    source.seq = 65_500;
    net.stream(SERVER, &mut source, 100);
    let packets = net.packets(CLIENT);
    assert_eq!(packets.len(), 100);
    assert!(packets.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1), "extended over the wrap-around");
    assert_eq!(packets[99].seq, 65_600);
    assert_eq!(packets[99].timestamp, 65_600 * 480);
}
