//! What the payload readers see in known payloads, and that no bytes upset them.

use super::red::{self, Block, Red};
use super::{Codec, FrameInfo, Kind, av1, h264, vp8, vp9};

fn vp8_payload(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut payload = vec![first];
    payload.extend(rest);
    payload
}

#[test]
fn a_full_vp8_descriptor_is_read() {
    let payload = vp8_payload(0x90, &[0xf0, 0x92, 0x34, 7, 0b1010_0011, 0x00, 1, 2]);
    let descriptor = vp8::Descriptor::parse(&payload).expect("a descriptor");
    assert_eq!(descriptor.len, 6);
    assert_eq!(descriptor.picture_id, Some(vp8::PictureId { value: 0x1234, wide: true }));
    assert_eq!(descriptor.tl0_picture_index, Some(7));
    assert_eq!(descriptor.temporal, Some(vp8::Temporal { id: 2, sync: true }));
    assert_eq!(descriptor.key_index, Some(3));
    assert_eq!(descriptor.ids(), vp8::Ids { picture_id: 0x1234, tl0_picture_index: 7, key_index: 3 });
    let info = FrameInfo::parse(Codec::Vp8, &payload);
    assert!(info.key_frame && info.frame_start && info.layer_sync);
    assert_eq!(info.temporal, Some(2));
}

#[test]
fn short_vp8_descriptors_are_read() {
    let plain = vp8_payload(0x10, &[0x01]);
    let descriptor = vp8::Descriptor::parse(&plain).expect("a descriptor");
    assert_eq!((descriptor.len, descriptor.picture_id, descriptor.temporal), (1, None, None));
    let info = FrameInfo::parse(Codec::Vp8, &plain);
    assert!(info.frame_start && !info.key_frame && info.temporal.is_none());
    let narrow = vp8_payload(0x80, &[0x80, 0x55, 0]);
    let descriptor = vp8::Descriptor::parse(&narrow).expect("a descriptor");
    assert_eq!(descriptor.picture_id, Some(vp8::PictureId { value: 0x55, wide: false }));
    assert!(!FrameInfo::parse(Codec::Vp8, &narrow).frame_start, "a continuation");
    let other_partition = vp8_payload(0x11, &[0x00]);
    assert!(!FrameInfo::parse(Codec::Vp8, &other_partition).key_frame);
}

#[test]
fn vp8_descriptors_that_are_cut_short_are_none() {
    let payload = [0x90, 0xf0, 0x92, 0x34, 7, 0xa3, 0x00];
    for len in 0..payload.len() {
        assert_eq!(vp8::Descriptor::parse(payload.get(..len).unwrap_or_default()), None, "{len} bytes");
    }
}

#[test]
fn patching_changes_the_ids_and_nothing_else() {
    let mut dice = Dice(1);
    for _ in 0..20_000 {
        let mut payload: Vec<u8> = (0..dice.below(12) + 1).map(|_| dice.byte()).collect();
        let Some(before) = vp8::Descriptor::parse(&payload) else {
            continue;
        };
        let original = payload.clone();
        let ids =
            vp8::Ids { picture_id: dice.byte().into(), tl0_picture_index: dice.byte(), key_index: dice.byte() & 0x1f };
        before.patch(&mut payload, ids);
        let after = vp8::Descriptor::parse(&payload).expect("still a descriptor");
        assert_eq!(after.len, before.len);
        assert_eq!(after.temporal, before.temporal);
        assert_eq!(payload.get(after.len..), original.get(before.len..));
        let mask = before.picture_id.map_or(0, vp8::PictureId::mask);
        let written = |present: bool, value: u8| if present { value } else { 0 };
        let expected = vp8::Ids {
            picture_id: ids.picture_id & mask,
            tl0_picture_index: written(before.tl0_picture_index.is_some(), ids.tl0_picture_index),
            key_index: written(before.key_index.is_some(), ids.key_index),
        };
        assert_eq!(after.ids(), expected);
        before.patch(&mut payload, before.ids());
        assert_eq!(payload, original, "patching back restores every bit");
    }
}

#[test]
fn vp9_key_frames_and_layers_are_read() {
    // I, L, B set; 15 bit picture id; temporal 1 with switching point, spatial 0; TL0PICIDX 9.
    let payload = [0xa8, 0x81, 0x02, 0b0011_0000, 9, 0];
    let descriptor = vp9::Descriptor::parse(&payload).expect("a descriptor");
    assert_eq!(descriptor.picture_id, Some(0x0102));
    let layers = descriptor.layers.expect("layers");
    assert_eq!((layers.temporal, layers.switching_up, layers.spatial, layers.tl0_picture_index), (1, true, 0, Some(9)));
    let info = FrameInfo::parse(Codec::Vp9, &payload);
    assert!(info.key_frame && info.frame_start);
    let inter = [0xa8 | 0x40, 0x81, 0x02, 0b0011_0000, 9, 0];
    assert!(!FrameInfo::parse(Codec::Vp9, &inter).key_frame);
    let upper_spatial = [0xa8, 0x81, 0x02, 0b0011_0011, 9, 0];
    let info = FrameInfo::parse(Codec::Vp9, &upper_spatial);
    assert!(!info.key_frame && !info.frame_start, "predicted from the spatial layer below");
}

#[test]
fn h264_key_frames_are_found_in_every_packetisation() {
    let start = |payload: &[u8]| {
        let info = FrameInfo::parse(Codec::H264, payload);
        (info.key_frame, info.frame_start, info.parameter_sets)
    };
    assert_eq!(start(&[0x67, 1, 2]), (true, true, true), "SPS");
    assert_eq!(start(&[0x65, 0x88]), (true, true, false), "first IDR slice");
    assert_eq!(start(&[0x65, 0x40]), (true, false, false), "second IDR slice");
    assert_eq!(start(&[0x41, 0x9a]), (false, true, false), "first slice of another picture");
    assert_eq!(start(&[0x68, 1]), (false, false, false), "PPS");
    let aggregate = [0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 1, 0, 2, 0x65, 0x88];
    assert_eq!(start(&aggregate), (true, true, true), "STAP-A");
    assert_eq!(start(&[0x7c, 0x85, 0x88, 1]), (true, true, false), "first fragment of an IDR slice");
    assert_eq!(start(&[0x7c, 0x05, 0x88, 1]), (true, false, false), "later fragment of an IDR slice");
    assert_eq!(start(&[0x7c, 0x81, 0x9a]), (false, true, false), "first fragment of another slice");
    // An aggregate that promises more than there is ends where its bytes do.
    assert!(h264::Contents::parse(&[0x78, 0, 3, 0x67, 1, 2, 0xff, 0xff, 0x65]).sps);
}

#[test]
fn h265_key_frames_are_found() {
    let key = |payload: &[u8]| {
        let info = FrameInfo::parse(Codec::H265, payload);
        (info.key_frame, info.frame_start)
    };
    assert_eq!(key(&[19 << 1, 1, 0x80]), (true, true), "IDR");
    assert_eq!(key(&[1 << 1, 1, 0x80]), (false, true), "trailing picture");
    assert_eq!(key(&[48 << 1, 1, 0, 3, 33 << 1, 1, 9, 0, 3, 19 << 1, 1, 0x80]), (true, true), "aggregate");
    assert_eq!(key(&[49 << 1, 1, 0x80 | 19, 0x80]), (true, true), "first fragment");
    assert_eq!(key(&[49 << 1, 1, 19, 0x80]), (true, false), "later fragment");
}

#[test]
fn av1_sequences_start_at_key_frames() {
    let read = |payload: &[u8]| {
        let info = FrameInfo::parse(Codec::Av1, payload);
        (info.key_frame, info.frame_start)
    };
    assert_eq!(read(&[0x18, 0x0a, 1]), (true, true), "N, one element: sequence header");
    assert_eq!(read(&[0x28, 0x02, 0x0a, 1, 0x32, 0]), (true, true), "N, two elements");
    assert_eq!(read(&[0x10, 0x32, 1]), (false, true), "a frame");
    assert_eq!(read(&[0x90, 0x32, 1]), (false, false), "a continuation");
    assert_eq!(read(&[0x10, 0x22, 1]), (false, false), "a tile group");
    let aggregation = av1::Aggregation::parse(&[0x00, 0x80, 0x01, 0x32]).expect("a header");
    assert_eq!(aggregation.first_obu, Some(6), "behind a length of two bytes");
    assert_eq!(av1::Aggregation::parse(&[0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), None);
}

#[test]
fn red_comes_back_as_it_was_built() {
    let blocks = [
        Block { payload_type: 111, timestamp_offset: 1920, data: &[1, 2, 3] },
        Block { payload_type: 111, timestamp_offset: 960, data: &[4] },
    ];
    let mut payload = Vec::new();
    red::build(&mut payload, 111, &[9, 9], &blocks);
    assert_eq!(payload.len(), 4 + 4 + 1 + 3 + 1 + 2);
    let red = Red::parse(&payload).expect("a RED payload");
    assert_eq!(red.redundant().collect::<Vec<_>>(), blocks);
    assert_eq!(red.primary(), Block { payload_type: 111, timestamp_offset: 0, data: &[9, 9] });
}

#[test]
fn red_leaves_out_what_a_header_cannot_describe() {
    let long = vec![0; red::MAX_BLOCK_LEN + 1];
    let block = |timestamp_offset, data| Block { payload_type: 111, timestamp_offset, data };
    let blocks = [
        block(960, &long[..]),
        block(red::MAX_TIMESTAMP_OFFSET + 1, &[1]),
        block(0, &[1]),
        block(960, &[]),
        block(5, &[7]),
    ];
    let mut payload = vec![1, 2, 3];
    red::build(&mut payload, 111, &[9], &blocks);
    let red = Red::parse(&payload).expect("a RED payload");
    assert_eq!(red.redundant().collect::<Vec<_>>(), [block(5, &[7])]);
}

#[test]
fn red_that_promises_more_than_there_is_is_none() {
    let mut payload = Vec::new();
    red::build(&mut payload, 111, &[9], &[Block { payload_type: 111, timestamp_offset: 960, data: &[1, 2, 3] }]);
    for len in 0..8 {
        assert_eq!(Red::parse(payload.get(..len).unwrap_or_default()), None, "{len} bytes");
    }
    assert!(Red::parse(payload.get(..8).unwrap_or_default()).is_some(), "an empty primary block is allowed");
    assert_eq!(Red::parse(&[0xff; 40]), None);
}

#[test]
fn the_red_encoder_repeats_the_last_blocks() {
    let mut encoder = red::Encoder::<2>::default();
    let mut payload = Vec::new();
    for number in 1..=4_u8 {
        encoder.encode(&mut payload, 111, u32::from(number) * 960, &[number]);
        let red = Red::parse(&payload).expect("a RED payload");
        assert_eq!(red.primary().data, [number]);
        let earlier: Vec<(u32, u8)> =
            red.redundant().map(|block| (block.timestamp_offset, block.data.first().copied().unwrap_or(0))).collect();
        let expected: Vec<(u32, u8)> = match number {
            1 => vec![],
            2 => vec![(960, 1)],
            _ => vec![(1920, number - 2), (960, number - 1)],
        };
        assert_eq!(earlier, expected);
    }
}

#[test]
fn every_short_payload_and_many_random_ones_are_read_without_panic() {
    let read = |payload: &[u8]| {
        for codec in Codec::ALL {
            let info = FrameInfo::parse(codec, payload);
            assert!(codec.kind() == Kind::Video || info == FrameInfo::default());
        }
        if let Some(red) = Red::parse(payload) {
            let redundant: usize = red.redundant().map(|block| block.data.len()).sum();
            assert_eq!(red.redundant().count(), red.redundant_count());
            assert_eq!(red.redundant_count() * 4 + 1 + redundant + red.primary().data.len(), payload.len());
        }
    };
    read(&[]);
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            read(&[first, second]);
            read(&[first, second, first ^ second, 0xff, 0]);
        }
        read(&[first]);
        read(&[first; 1500]);
    }
    let mut dice = Dice(7);
    for _ in 0..100_000 {
        let payload: Vec<u8> = (0..dice.below(30)).map(|_| dice.byte()).collect();
        read(&payload);
    }
}

#[test]
fn mime_types_name_codecs_in_any_case() {
    for codec in Codec::ALL {
        assert_eq!(Codec::from_mime(&codec.mime().to_lowercase()), Some(codec));
    }
    assert_eq!(Codec::from_mime("video/rtx"), None);
}

/// A small reproducible generator (xorshift).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    fn below(&mut self, limit: u64) -> usize {
        (self.next() % limit) as usize
    }
}
