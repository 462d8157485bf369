//! The video assembler under loss, reordering and duplication, on synthetic packets whose frames are known.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use greenroom_media::jitter::VideoCodec;
use greenroom_media::jitter::video::{Config, Frame, Output, VideoAssembler};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

#[derive(Debug, Clone)]
struct Packet {
    at: Duration,
    seq: u64,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    key: bool,
}

/// VP8 frames of 1 to 6 packets at 30 fps; frame `index` is a key frame when `key` says so. The body tells the frame.
fn stream(frames: u32, random: &mut Random, key: impl Fn(u32) -> bool) -> Vec<Packet> {
    let mut seq = 65_500;
    let mut packets = Vec::new();
    for index in 0..frames {
        let count = 1 + random.below(6);
        for part in 0..count {
            let first = part == 0;
            let mut payload = vec![if first { 0x10 } else { 0x00 }];
            payload.push(if first && key(index) { 0x00 } else { 0x01 });
            payload.extend_from_slice(&index.to_be_bytes());
            payload.push(part as u8);
            packets.push(Packet {
                at: ms(u64::from(index) * 33),
                seq,
                timestamp: (u32::MAX - 90_000).wrapping_add(index * 3_000),
                marker: part + 1 == count,
                payload: payload.into(),
                key: key(index),
            });
            seq += 1;
        }
        // Padding between frames counts as received.
        if random.chance(10) {
            let timestamp = packets.last().map_or(0, |packet| packet.timestamp);
            let at = ms(u64::from(index) * 33);
            packets.push(Packet { at, seq, timestamp, marker: false, payload: Bytes::new(), key: false });
            seq += 1;
        }
    }
    packets
}

/// What each frame should be, by its first sequence number.
fn expected(packets: &[Packet]) -> BTreeMap<u64, (Bytes, u32, bool)> {
    let mut frames: BTreeMap<u32, (u64, Vec<u8>, bool)> = BTreeMap::new();
    for packet in packets.iter().filter(|packet| !packet.payload.is_empty()) {
        let frame = frames.entry(packet.timestamp.wrapping_add(90_001)).or_insert((packet.seq, Vec::new(), packet.key));
        frame.1.extend_from_slice(&packet.payload[1..]);
    }
    frames.into_iter().map(|(time, (seq, body, key))| (seq, (body.into(), time.wrapping_sub(90_001), key))).collect()
}

#[derive(Default)]
struct Run {
    frames: Vec<Frame>,
    requests: Vec<Duration>,
}

/// Feed packets in order of arrival, polling after each and at every deadline.
fn run(assembler: &mut VideoAssembler, packets: &[Packet], start: Instant) -> Run {
    let mut sorted: Vec<_> = packets.iter().collect();
    sorted.sort_by_key(|packet| packet.at);
    let mut result = Run::default();
    let mut poll = |assembler: &mut VideoAssembler, now: Duration| {
        for round in 0.. {
            assert!(round < 10_000, "poll never ends");
            match assembler.poll(start + now) {
                Some(Output::Frame(frame)) => result.frames.push(frame),
                Some(Output::NeedKeyframe) => result.requests.push(now),
                None => break,
            }
        }
    };
    for packet in sorted {
        let mut guard = 0;
        while let Some(deadline) = assembler.deadline().filter(|deadline| *deadline < start + packet.at) {
            poll(assembler, deadline.saturating_duration_since(start));
            guard += 1;
            assert!(guard < 1_000, "the deadline {deadline:?} does not move");
        }
        assembler.insert(packet.seq, packet.timestamp, packet.marker, packet.payload.clone(), start + packet.at);
        poll(assembler, packet.at);
    }
    result
}

/// Frames must be whole, as sent, in order, and decodable: consecutive, or a key frame.
fn check(frames: &[Frame], packets: &[Packet]) {
    let truth = expected(packets);
    let order: Vec<u64> = truth.keys().copied().collect();
    let mut last: Option<usize> = None;
    for frame in frames {
        let (body, timestamp, key) = truth.get(&frame.first_seq).expect("a frame that was sent");
        assert_eq!((&frame.data, frame.timestamp, frame.keyframe), (body, *timestamp, *key));
        let position = order.binary_search(&frame.first_seq).unwrap();
        match last {
            Some(last) if position == last + 1 => {}
            Some(last) => assert!(position > last && frame.keyframe, "frame {position} after {last}"),
            None => assert!(frame.keyframe),
        }
        last = Some(position);
    }
}

#[test]
fn in_order_packets_become_all_frames_at_once() {
    let mut random = Random(1);
    let packets = stream(100, &mut random, |index| index % 30 == 0);
    let mut assembler = VideoAssembler::new(VideoCodec::Vp8, Config::default());
    let start = Instant::now();
    let result = run(&mut assembler, &packets, start);
    check(&result.frames, &packets);
    assert_eq!(result.frames.len(), 100);
    assert!(result.requests.is_empty());
    assert!(result.frames.iter().zip(0..).all(|(frame, index)| frame.completed == start + ms(33 * index)));
    let statistics = assembler.statistics();
    assert_eq!((statistics.frames, statistics.keyframes, statistics.breaks), (100, 4, 0));
}

#[test]
fn reordering_and_duplicates_within_the_wait_change_nothing() {
    for seed in 1..40 {
        let mut random = Random(seed * 7_919);
        let mut packets = stream(60, &mut random, |index| index == 0);
        let original = packets.clone();
        for packet in &mut packets {
            packet.at += ms(random.below(120));
        }
        for _ in 0..40 {
            let mut twin = packets[random.below(packets.len() as u64) as usize].clone();
            twin.at += ms(random.below(400));
            packets.push(twin);
        }
        let mut assembler = VideoAssembler::new(VideoCodec::Vp8, Config::default());
        let result = run(&mut assembler, &packets, Instant::now());
        check(&result.frames, &original);
        assert_eq!(result.frames.len(), 60, "seed {seed}");
        assert!(result.requests.len() <= 1, "seed {seed}: {:?}", result.requests);
        assert_eq!(assembler.statistics().breaks, 0, "seed {seed}");
    }
}

#[test]
fn a_retransmission_in_time_costs_no_frame_and_one_too_late_asks_once() {
    for (delay, frames, requests) in [(150, 60, 0), (600, 10, 2)] {
        let mut random = Random(3);
        let mut packets = stream(60, &mut random, |index| index == 0);
        let original = packets.clone();
        let tenth = packets.iter().position(|packet| packet.at == ms(330)).unwrap();
        packets[tenth].at += ms(delay);
        let mut assembler = VideoAssembler::new(VideoCodec::Vp8, Config::default());
        let result = run(&mut assembler, &packets, Instant::now());
        check(&result.frames, &original);
        assert_eq!(result.frames.len(), frames, "{delay} ms");
        // The stream goes on for 1.4 s after the gap is given up at 0.61 s: 0.61, 1.11, 1.61.
        assert!(result.requests.len() >= requests && result.requests.len() <= requests + 1, "{:?}", result.requests);
        // The wait begins with the first packet behind the gap: of the same frame, or of the next one.
        assert!(result.requests.first().is_none_or(|first| (ms(580)..ms(663)).contains(first)));
        assert!(result.requests.windows(2).all(|pair| pair[1] - pair[0] >= ms(500)), "{:?}", result.requests);
    }
}

#[test]
fn after_a_loss_the_next_key_frame_is_shown_without_waiting() {
    let mut random = Random(9);
    let mut packets = stream(60, &mut random, |index| index == 0 || index == 13);
    let original = packets.clone();
    packets.retain(|packet| packet.at != ms(330));
    let start = Instant::now();
    let mut assembler = VideoAssembler::new(VideoCodec::Vp8, Config::default());
    let result = run(&mut assembler, &packets, start);
    check(&result.frames, &original);
    assert_eq!(result.frames.len(), 10 + 47);
    assert!(result.requests.is_empty(), "{:?}", result.requests);
    assert_eq!(result.frames[10].completed, start + ms(13 * 33));
}

#[test]
fn any_loss_leaves_only_decodable_frames_and_recovers_when_answered() {
    for seed in 1..60 {
        let mut random = Random(seed * 104_729);
        let loss = 1 + random.below(30);
        let mut packets = stream(150, &mut random, |index| index % 40 == 0);
        let original = packets.clone();
        packets.retain(|_| !random.chance(loss));
        for packet in &mut packets {
            packet.at += ms(random.below(60));
        }
        // The last 40 frames arrive whole.
        packets.retain(|packet| packet.at < ms(110 * 33));
        packets.extend(original.iter().filter(|packet| packet.at >= ms(112 * 33)).cloned());
        let mut assembler = VideoAssembler::new(VideoCodec::Vp8, Config::default());
        let result = run(&mut assembler, &packets, Instant::now());
        check(&result.frames, &original);
        assert!(result.requests.windows(2).all(|pair| pair[1] > pair[0]));
        // Key frame 120 and all after it.
        assert!(result.frames.len() >= 30, "seed {seed}, {loss} %: {} frames", result.frames.len());
        let last = expected(&original).into_keys().next_back();
        assert_eq!(result.frames.last().map(|frame| frame.first_seq), last, "seed {seed}, {loss} %");
    }
}

#[test]
fn a_stream_without_a_key_frame_asks_at_an_interval_and_holds_little() {
    let mut random = Random(31);
    let packets = stream(300, &mut random, |_| false);
    let mut assembler = VideoAssembler::new(VideoCodec::Vp8, Config::default());
    let result = run(&mut assembler, &packets, Instant::now());
    assert!(result.frames.is_empty());
    // 300 frames last 9.9 s.
    assert!((18..=21).contains(&result.requests.len()), "{} requests", result.requests.len());
    assert_eq!(result.requests[0], Duration::ZERO);
}

#[test]
fn a_decoder_that_failed_gets_a_key_frame() {
    let mut random = Random(8);
    let packets = stream(60, &mut random, |index| index == 0 || index == 40);
    let start = Instant::now();
    let mut assembler = VideoAssembler::new(VideoCodec::Vp8, Config::default());
    let (before, after): (Vec<_>, Vec<_>) = packets.iter().cloned().partition(|packet| packet.at < ms(660));
    assert_eq!(run(&mut assembler, &before, start).frames.len(), 20);
    assembler.restart();
    assembler.restart();
    assert_eq!(assembler.poll(start + ms(655)), Some(Output::NeedKeyframe));
    assert_eq!(assembler.poll(start + ms(655)), None);
    let result = run(&mut assembler, &after, start);
    assert_eq!(result.frames.first().map(|frame| frame.keyframe), Some(true));
    assert_eq!(result.frames.len(), 20);
}

#[test]
fn a_flood_and_nonsense_are_bounded() {
    let mut random = Random(77);
    let start = Instant::now();
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        let config = Config { max_packets: 64, ..Config::default() };
        let mut assembler = VideoAssembler::new(codec, config);
        let mut outputs = 0;
        for step in 0..20_000u64 {
            let now = start + Duration::from_micros(step * 500);
            let seq = match random.below(20) {
                0 => random.below(u64::MAX >> 17),
                1 => u64::MAX - random.below(3),
                _ => step / 2 + random.below(20),
            };
            let length = random.below(12) as usize;
            let payload: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            let timestamp = if random.chance(10) { random.below(1 << 32) as u32 } else { (step / 10 * 3_000) as u32 };
            assembler.insert(seq, timestamp, random.chance(20), payload.into(), now);
            while assembler.poll(now).is_some() {
                outputs += 1;
                assert!(outputs < 100_000);
            }
        }
    }
}

#[test]
fn h264_frames_need_no_marker_on_the_frame_before_and_start_at_their_parameters() {
    let start = Instant::now();
    let mut assembler = VideoAssembler::new(VideoCodec::H264, Config::default());
    let packets: [(u64, u32, bool, &[u8]); 6] = [
        (9, 0, true, &[0x61, 0x9a, 1]),
        (10, 3_000, false, &[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2]),
        (11, 3_000, false, &[0x7c, 0x85, 0x80, 1]),
        (12, 3_000, true, &[0x7c, 0x45, 2]),
        // Without a marker; the next timestamp ends it.
        (13, 6_000, false, &[0x61, 0x9a, 2]),
        (14, 9_000, true, &[0x61, 0x9a, 3]),
    ];
    let mut frames = Vec::new();
    for (index, (seq, timestamp, marker, payload)) in packets.into_iter().enumerate() {
        let now = start + ms(index as u64);
        assembler.insert(seq, timestamp, marker, Bytes::copy_from_slice(payload), now);
        while let Some(output) = assembler.poll(now) {
            if let Output::Frame(frame) = output {
                frames.push((frame.timestamp, frame.keyframe, frame.data));
            }
        }
    }
    let key: &[u8] = &[0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 0x80, 1, 2];
    assert_eq!(frames[0], (3_000, true, Bytes::from_static(key)));
    assert_eq!(frames.iter().map(|frame| frame.0).collect::<Vec<_>>(), [3_000, 6_000, 9_000]);
}
