//! Codecs other than VP8: payloads are never touched, and streams start at their key frames.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ALICE, BOB, PUBLISHER, Sent, Stage, TRACK, layers, ms};
use greenroom_sfu::{Codec, Origin, Packet, TrackConfig};

/// Sends scripted payloads of one layer.
struct Script {
    codec: Codec,
    layer: usize,
    ssrc: u32,
    seq: u64,
}

impl Script {
    fn new(codec: Codec, layer: usize) -> Script {
        Script { codec, layer, ssrc: layer as u32 + 1, seq: 60_000 * (layer as u64 + 1) }
    }

    /// The packets of one frame; the last one has the marker.
    fn frame(&mut self, stage: &mut Stage, payloads: &[&[u8]]) {
        for (index, payload) in payloads.iter().enumerate() {
            let packet = self.packet(stage.now, payload, index + 1 == payloads.len());
            stage.packet(TRACK, self.layer, &packet);
        }
    }

    fn packet(&mut self, at: Duration, payload: &[u8], marker: bool) -> Packet {
        self.seq += 1;
        Packet {
            ssrc: self.ssrc,
            seq: self.seq,
            timestamp: (at.as_millis() as u32 * 90).wrapping_add(self.ssrc * 0x5000_0000),
            marker,
            codec: self.codec,
            payload: Arc::from(payload),
            audio_level: None,
            sender_report: None,
        }
    }
}

fn payloads(received: &[&Sent]) -> Vec<Vec<u8>> {
    received.iter().map(|sent| sent.payload.clone()).collect()
}

fn contiguous(received: &[&Sent]) {
    assert!(received.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
    assert!(received.windows(2).all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) < 1 << 31));
}

const SPS: &[u8] = &[0x67, 1];
const PPS: &[u8] = &[0x68, 1];
const IDR: &[u8] = &[0x65, 0x88];
const SLICE: &[u8] = &[0x41, 0x9a];

#[test]
fn h264_starts_with_its_parameter_sets() {
    let mut stage = Stage::simulcast();
    let mut low = Script::new(Codec::H264, 0);
    low.frame(&mut stage, &[SPS, PPS, IDR]);
    stage.advance(ms(2000));
    stage.subscribe(ALICE);
    for _ in 0..3 {
        low.frame(&mut stage, &[SLICE]);
        stage.advance(ms(33));
    }
    assert!(stage.sent.is_empty());
    assert_eq!(stage.take_requests(), [0]);
    low.frame(&mut stage, &[SPS, PPS, IDR]);
    stage.advance(ms(33));
    low.frame(&mut stage, &[SLICE]);
    let received = stage.received(ALICE);
    assert_eq!(payloads(&received), [SPS, PPS, IDR, SLICE]);
    contiguous(&received);
    // A key frame that lost its parameter sets is no start for anybody else.
    stage.advance(ms(2000));
    stage.subscribe(BOB);
    low.frame(&mut stage, &[IDR]);
    assert!(stage.received(BOB).is_empty());
}

#[test]
fn h264_whose_parameter_sets_travel_out_of_band_starts_with_its_slices() {
    let mut stage = Stage::simulcast();
    let mut low = Script::new(Codec::H264, 0);
    stage.subscribe(ALICE);
    low.frame(&mut stage, &[SLICE]);
    low.frame(&mut stage, &[IDR, SLICE]);
    assert_eq!(payloads(&stage.received(ALICE)), [IDR, SLICE]);
}

#[test]
fn h264_layers_are_switched_at_key_frames() {
    let mut stage = Stage::simulcast();
    let (mut low, mut high) = (Script::new(Codec::H264, 0), Script::new(Codec::H264, 2));
    stage.subscribe(ALICE);
    let big: &[u8] = &[0x41, 0x9b];
    for round in 0..20 {
        low.frame(&mut stage, &[if round == 0 { SPS } else { SLICE }]);
        high.frame(&mut stage, &[if round == 10 { SPS } else { big }]);
        stage.advance(ms(33));
    }
    let received = stage.received(ALICE);
    contiguous(&received);
    let shown = payloads(&received);
    assert_eq!(shown.iter().filter(|payload| *payload == SLICE).count(), 10, "the low layer until the switch");
    assert_eq!(shown.iter().filter(|payload| *payload == big).count(), 9, "the high layer after it");
}

#[test]
fn vp9_with_spatial_layers_is_forwarded_whole() {
    let mut stage = Stage::new();
    stage.room.add_track(TRACK, TrackConfig::video(PUBLISHER, layers(1))).expect("a new track");
    let mut svc = Script::new(Codec::Vp9, 0);
    stage.subscribe(ALICE);
    let mut sent = Vec::new();
    for picture in 0..30_u8 {
        let inter = if picture == 5 { 0 } else { 0x40 };
        // Picture id, layers, start and end of frame; spatial layers 0 to 2, the upper ones predicted from below.
        let frames = [0_u8, 1, 2].map(|spatial| {
            let upper = u8::from(spatial > 0);
            vec![0xac | inter, 0x80, picture, spatial << 1 | upper, picture, spatial]
        });
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        svc.frame(&mut stage, &frames);
        if picture >= 5 {
            sent.extend(frames.iter().map(|frame| frame.to_vec()));
        }
        stage.advance(ms(33));
    }
    // A frame rate limit and a low quality leave a single stream alone.
    let received = stage.received(ALICE);
    contiguous(&received);
    assert_eq!(payloads(&received), sent);
    assert!(received.iter().all(|sent| sent.origin == Origin::Live && sent.nackable));
    let markers = received.iter().filter(|sent| sent.marker).count();
    assert_eq!(markers, 25, "one at the end of each picture");
}

#[test]
fn av1_starts_at_a_sequence_and_is_never_replayed_without_its_descriptors() {
    let mut stage = Stage::new();
    stage.room.add_track(TRACK, TrackConfig::video(PUBLISHER, layers(1))).expect("a new track");
    let mut stream = Script::new(Codec::Av1, 0);
    let (key, frame): (&[u8], &[u8]) = (&[0x18, 0x0a, 1], &[0x10, 0x32, 1]);
    stage.subscribe(ALICE);
    stream.frame(&mut stage, &[frame]);
    stream.frame(&mut stage, &[key]);
    stage.advance(ms(33));
    stream.frame(&mut stage, &[frame]);
    assert_eq!(payloads(&stage.received(ALICE)), [key, frame]);
    stage.subscribe(BOB);
    stage.advance(ms(33));
    stream.frame(&mut stage, &[frame]);
    assert!(stage.received(BOB).is_empty());
    stage.advance(ms(500));
    assert!(!stage.take_requests().is_empty());
    stream.frame(&mut stage, &[key]);
    assert_eq!(payloads(&stage.received(BOB)), [key]);
}

#[test]
fn a_publisher_may_change_its_codec() {
    let mut stage = Stage::simulcast();
    let (mut before, mut after) = (Script::new(Codec::H264, 0), Script::new(Codec::Av1, 0));
    after.seq = before.seq + 3;
    stage.subscribe(ALICE);
    before.frame(&mut stage, &[SPS, PPS, IDR]);
    stage.advance(ms(33));
    after.frame(&mut stage, &[&[0x10, 0x32, 1]]);
    stage.advance(ms(33));
    after.frame(&mut stage, &[&[0x18, 0x0a, 1]]);
    let received = stage.received(ALICE);
    contiguous(&received);
    let codecs: Vec<Codec> = received.iter().map(|sent| sent.codec).collect();
    assert_eq!(codecs, [Codec::H264, Codec::H264, Codec::H264, Codec::Av1]);
}
