//! Frames to RTP payloads: RFC 7741 for VP8, RFC 6184 (packetization mode 1) for H.264.

use bytes::{BufMut, Bytes, BytesMut};
use greenroom_media::jitter::h264_units;

pub use greenroom_media::jitter::{Depacketizer, PayloadError, PayloadShape};

use crate::VideoCodec;

/// Bytes that RTP header and extensions may take of a 1200 byte packet, leaving room for SRTP and TURN.
pub const MAX_PAYLOAD: usize = 1100;
/// Smallest payload that a packetizer works with.
const MIN_PAYLOAD: usize = 64;

/// X bit: an extension byte follows.
const VP8_EXTENDED: u8 = 0x80;
const VP8_START: u8 = 0x10;
/// I bit: a picture id is there. A layer-zero index (L) may only come with a temporal layer (T), RFC 7741 section 4.2.
const VP8_PICTURE_ID: u8 = 0x80;
/// Descriptor with a 15-bit picture id.
const VP8_DESCRIPTOR: usize = 4;

const NAL_TYPE: u8 = 0x1f;
const NAL_IMPORTANCE: u8 = 0x60;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;

/// Cuts the frames of one encoder into payloads.
#[derive(Debug, Clone)]
pub struct Packetizer {
    codec: VideoCodec,
    max_payload: usize,
    picture_id: u16,
}

impl Packetizer {
    /// Start a stream.
    ///
    /// `max_payload` is the most bytes in one payload (raised to 64 if it is less); `first_picture_id` is the number
    /// of the first VP8 frame, of which the lower 15 bits count.
    pub fn new(codec: VideoCodec, max_payload: usize, first_picture_id: u16) -> Self {
        Self { codec, max_payload: max_payload.max(MIN_PAYLOAD), picture_id: first_picture_id & 0x7fff }
    }

    /// Replace `out` with the payloads of one frame; the last one carries the RTP marker.
    ///
    /// `frame` is what the encoder made: a VP8 frame, or NAL units behind start codes. An empty frame has no payload.
    pub fn packetize(&mut self, frame: &[u8], out: &mut Vec<Bytes>) {
        out.clear();
        match self.codec {
            VideoCodec::Vp8 => self.packetize_vp8(frame, out),
            VideoCodec::H264 => self.packetize_h264(frame, out),
        }
    }

    /// Picture id that the next VP8 frame will get.
    pub fn next_picture_id(&self) -> u16 {
        self.picture_id
    }

    fn packetize_vp8(&mut self, frame: &[u8], out: &mut Vec<Bytes>) {
        let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
        for (index, chunk) in even_chunks(frame, self.max_payload - VP8_DESCRIPTOR).enumerate() {
            let mut payload = BytesMut::with_capacity(chunk.len() + VP8_DESCRIPTOR);
            payload.put_u8(VP8_EXTENDED | if index == 0 { VP8_START } else { 0 });
            payload.put_slice(&[VP8_PICTURE_ID, high, low]);
            payload.put_slice(chunk);
            out.push(payload.freeze());
        }
        if !frame.is_empty() {
            self.picture_id = (self.picture_id + 1) & 0x7fff;
        }
    }

    fn packetize_h264(&self, frame: &[u8], out: &mut Vec<Bytes>) {
        let mut parameters = BytesMut::new();
        for unit in h264_units(frame) {
            let Some(&header) = unit.first() else { continue };
            let fits = parameters.len().max(1) + 2 + unit.len() <= self.max_payload;
            if matches!(header & NAL_TYPE, NAL_SPS | NAL_PPS) && fits {
                aggregate(&mut parameters, unit, header);
                continue;
            }
            flush_aggregate(&mut parameters, out);
            if unit.len() <= self.max_payload {
                out.push(Bytes::copy_from_slice(unit));
            } else {
                self.fragment(unit, header, out);
            }
        }
        flush_aggregate(&mut parameters, out);
    }

    fn fragment(&self, unit: &[u8], header: u8, out: &mut Vec<Bytes>) {
        let body = unit.get(1..).unwrap_or_default();
        let chunks = even_chunks(body, self.max_payload - 2);
        let last = chunks.len().saturating_sub(1);
        for (index, chunk) in chunks.enumerate() {
            let edge = if index == 0 { FU_START } else { 0 } | if index == last { FU_END } else { 0 };
            let mut payload = BytesMut::with_capacity(chunk.len() + 2);
            payload.put_u8(header & !NAL_TYPE | NAL_FU_A);
            payload.put_u8(edge | header & NAL_TYPE);
            payload.put_slice(chunk);
            out.push(payload.freeze());
        }
    }
}

/// Pieces of about equal length, none over `most`: two half-full packets travel better than a full and an empty one.
fn even_chunks(data: &[u8], most: usize) -> std::slice::Chunks<'_, u8> {
    let count = data.len().div_ceil(most).max(1);
    data.chunks(data.len().div_ceil(count).max(1))
}

fn aggregate(payload: &mut BytesMut, unit: &[u8], header: u8) {
    if payload.is_empty() {
        payload.put_u8(NAL_STAP_A);
    }
    if let Some(first) = payload.first_mut() {
        // The most important unit decides for the packet.
        *first = NAL_STAP_A | (*first & NAL_IMPORTANCE).max(header & NAL_IMPORTANCE);
    }
    payload.put_u16(unit.len() as u16);
    payload.put_slice(unit);
}

fn flush_aggregate(payload: &mut BytesMut, out: &mut Vec<Bytes>) {
    if !payload.is_empty() {
        out.push(payload.split().freeze());
    }
}
