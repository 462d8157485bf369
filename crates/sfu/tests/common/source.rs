//! Publishers that number everything they send, so that a receiver can check it.

use std::sync::Arc;
use std::time::Duration;

use greenroom_sfu::{Codec, Packet, SenderReport};

/// What a packet of [`Vp8Layer`] says about itself, behind the VP8 descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    pub layer: u8,
    /// Restarts of the encoder.
    pub epoch: u8,
    pub frame: u32,
    /// The latest frame that this one is predicted from; itself for a key frame.
    pub reference: u32,
    pub index: u8,
    pub count: u8,
    /// Microseconds since the test began.
    pub captured: u64,
}

impl Label {
    pub const LEN: usize = 20;

    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.layer, self.epoch]);
        out.extend(self.frame.to_be_bytes());
        out.extend(self.reference.to_be_bytes());
        out.extend([self.index, self.count]);
        out.extend(self.captured.to_be_bytes());
    }

    pub fn read(bytes: &[u8]) -> Label {
        let four = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        Label {
            layer: bytes[0],
            epoch: bytes[1],
            frame: four(2),
            reference: four(6),
            index: bytes[10],
            count: bytes[11],
            captured: u64::from_be_bytes(bytes[12..20].try_into().expect("eight bytes")),
        }
    }

    pub fn is_key(&self) -> bool {
        self.frame == self.reference
    }
}

/// One simulcast layer of VP8 with three temporal layers.
#[derive(Debug, Clone)]
pub struct Vp8Layer {
    pub layer: u8,
    pub ssrc: u32,
    pub seq: u64,
    /// RTP timestamp at the start of the test.
    pub timestamp_base: u32,
    pub packets_per_frame: u8,
    pub payload_len: usize,
    /// 15 bit picture ids, else 7.
    pub wide: bool,
    pub reports: bool,
    /// The publisher's clock at the start of the test.
    pub clock: Duration,
    pub key_next: bool,
    pub epoch: u8,
    pub frame: u32,
    pub position: usize,
    pub picture_id: u16,
    pub tl0: u8,
    pub key_index: u8,
    pub last: [u32; 3],
}

impl Vp8Layer {
    pub fn new(layer: u8) -> Vp8Layer {
        let seed = u32::from(layer) + 1;
        Vp8Layer {
            layer,
            ssrc: 1000 + seed,
            seq: u64::from(seed) * 7_919,
            timestamp_base: seed.wrapping_mul(0x5bd1_e995),
            packets_per_frame: layer + 1,
            payload_len: 100,
            wide: true,
            reports: true,
            clock: Duration::from_secs(3_900_000_000),
            key_next: true,
            epoch: 0,
            frame: 0,
            position: 0,
            picture_id: 0x7ff0_u16.wrapping_sub(u16::from(layer)),
            tl0: 250,
            key_index: 30,
            last: [0; 3],
        }
    }

    /// The publisher's encoder and stream start anew.
    pub fn restart(&mut self, seed: u32) {
        *self = Vp8Layer {
            ssrc: self.ssrc + 100,
            seq: u64::from(seed) + 1,
            timestamp_base: seed.wrapping_mul(0x9e37_79b9),
            epoch: self.epoch + 1,
            picture_id: 77,
            tl0: 7,
            key_index: 3,
            key_next: true,
            ..self.clone()
        };
    }

    /// The packets of the frame captured at `at`.
    pub fn frame(&mut self, at: Duration) -> Vec<Packet> {
        let key = std::mem::take(&mut self.key_next);
        if key {
            self.position = 0;
            self.key_index = self.key_index.wrapping_add(1) & 0x1f;
        }
        let temporal = [0, 2, 1, 2][self.position % 4];
        // The second frame of temporal layer 2 is predicted from layer 1, all others from layer 0.
        let (parent, sync) = match self.position % 4 {
            0 => (self.last[0], false),
            1 | 2 => (self.last[0], true),
            _ => (self.last[1], false),
        };
        self.position += 1;
        self.frame += 1;
        self.picture_id = (self.picture_id + 1) & if self.wide { 0x7fff } else { 0x7f };
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        self.last[temporal] = self.frame;
        let reference = if key { self.frame } else { parent };
        let count = self.packets_per_frame;
        (0..count).map(|index| self.packet(at, index, count, reference, temporal as u8, sync)).collect()
    }

    /// A packet of padding only, as senders use for probing.
    pub fn padding(&mut self, at: Duration) -> Packet {
        self.rtp(at, false, Arc::from([]))
    }

    fn packet(&mut self, at: Duration, index: u8, count: u8, reference: u32, temporal: u8, sync: bool) -> Packet {
        let mut payload = vec![0x80 | if index == 0 { 0x10 } else { 0 }, 0xf0];
        if self.wide {
            payload.extend((0x8000 | self.picture_id).to_be_bytes());
        } else {
            payload.push(self.picture_id as u8);
        }
        payload.extend([self.tl0, temporal << 6 | u8::from(sync) << 5 | self.key_index]);
        // The first byte of a VP8 frame: its lowest bit is set for inter frames.
        payload.push(u8::from(self.frame != reference));
        let label = Label {
            layer: self.layer,
            epoch: self.epoch,
            frame: self.frame,
            reference,
            index,
            count,
            captured: at.as_micros() as u64,
        };
        label.write(&mut payload);
        payload.resize(payload.len().max(self.payload_len), 0);
        self.rtp(at, index + 1 == count, Arc::from(payload))
    }

    fn rtp(&mut self, at: Duration, marker: bool, payload: Arc<[u8]>) -> Packet {
        self.seq += 1;
        let timestamp = self.timestamp_base.wrapping_add((at.as_micros() as u64 * 9 / 100) as u32);
        // One report a second, as if sent with the second's first packet.
        let whole = Duration::from_secs(at.as_secs());
        let report = SenderReport {
            sender_time: self.clock + whole,
            rtp_time: self.timestamp_base.wrapping_add((whole.as_secs() * 90_000) as u32),
        };
        Packet {
            ssrc: self.ssrc,
            seq: self.seq,
            timestamp,
            marker,
            codec: Codec::Vp8,
            payload,
            audio_level: None,
            sender_report: self.reports.then_some(report),
        }
    }
}

/// An Opus stream of 20 ms packets; the payload is the packet's number.
#[derive(Debug, Clone)]
pub struct OpusStream {
    pub ssrc: u32,
    pub seq: u64,
    pub timestamp: u32,
    pub level: u8,
    pub count: u64,
}

impl OpusStream {
    pub fn new() -> OpusStream {
        OpusStream { ssrc: 5, seq: 65_500, timestamp: u32::MAX - 5_000, level: 20, count: 0 }
    }

    pub fn packet(&mut self) -> Packet {
        self.seq += 1;
        self.count += 1;
        self.timestamp = self.timestamp.wrapping_add(960);
        Packet {
            ssrc: self.ssrc,
            seq: self.seq,
            timestamp: self.timestamp,
            marker: false,
            codec: Codec::Opus,
            payload: Arc::from(opus_payload(self.count)),
            audio_level: Some(self.level),
            sender_report: None,
        }
    }

    /// The same as RED with up to two earlier packets.
    pub fn red(&mut self) -> Packet {
        let packet = self.packet();
        let number = self.count;
        let mut blocks = Vec::new();
        let earlier: Vec<Vec<u8>> = (number.saturating_sub(2).max(1)..number).map(opus_payload).collect();
        for (index, data) in earlier.iter().enumerate() {
            let timestamp_offset = 960 * (earlier.len() - index) as u32;
            blocks.push(greenroom_media::rtp::red::Block { payload_type: 111, timestamp_offset, data });
        }
        let mut payload = Vec::new();
        greenroom_media::rtp::red::build(&mut payload, 111, &packet.payload, &blocks);
        Packet { codec: Codec::Red, payload: Arc::from(payload), ..packet }
    }
}

pub fn opus_payload(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}
