//! What of a frame stays clear, and where the parts of an encrypted frame are.

use crate::jitter::h264_units;

/// Bytes of a nonce.
pub(super) const NONCE: usize = 12;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;
/// Length of the nonce and key index.
const TRAILER: usize = 2;

const OPUS_CLEAR: usize = 1;
const VP8_KEY_CLEAR: usize = 10;
const VP8_DELTA_CLEAR: usize = 3;
/// In VP8's first byte: not a key frame.
const VP8_DELTA: u8 = 1;
const H264_START: [u8; 4] = [0, 0, 0, 1];
const H264_TYPE: u8 = 0x1f;
const H264_SLICE: u8 = 1;
const H264_IDR: u8 = 5;
/// Of the first slice: its header and one byte more.
const H264_SLICE_CLEAR: usize = 2;
/// What keeps start codes out of a unit, and the largest byte that it is put before.
const H264_ESCAPE: u8 = 3;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// An Opus packet.
    Opus,
    /// A VP8 frame.
    Vp8,
    /// H.264 units behind start codes.
    H264,
}

/// The parts of an encrypted frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealed<'a> {
    pub(super) header: &'a [u8],
    pub(super) body: &'a [u8],
    pub(super) nonce: [u8; NONCE],
    pub(super) index: u8,
}

impl FrameKind {
    /// Length of the clear header, None if the frame has nothing to encrypt behind one.
    pub(super) fn clear(self, frame: &[u8]) -> Option<usize> {
        let length = match self {
            Self::Opus => OPUS_CLEAR,
            Self::Vp8 if frame.first()? & VP8_DELTA == 0 => VP8_KEY_CLEAR,
            Self::Vp8 => VP8_DELTA_CLEAR,
            Self::H264 => {
                let slice = h264_units(frame).find(|unit| is_slice(unit))?;
                (slice.as_ptr() as usize).checked_sub(frame.as_ptr() as usize)? + H264_SLICE_CLEAR
            }
        };
        Some(length.min(frame.len()))
    }

    /// The bytes in the order that is encrypted: start codes all have four bytes, as receivers put them back.
    pub(super) fn normal(self, frame: &[u8]) -> Vec<u8> {
        if self != Self::H264 {
            return frame.to_vec();
        }
        let mut normal = Vec::with_capacity(frame.len() + 16);
        for unit in h264_units(frame) {
            normal.extend_from_slice(&H264_START);
            normal.extend_from_slice(unit);
        }
        normal
    }

    /// What goes on the wire behind the clear header.
    pub(super) fn escape(self, body: Vec<u8>) -> Vec<u8> {
        if self != Self::H264 {
            return body;
        }
        let mut escaped = Vec::with_capacity(body.len() + body.len() / 64);
        let mut zeros = 0;
        for byte in body {
            if zeros >= 2 && byte <= H264_ESCAPE {
                escaped.push(H264_ESCAPE);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            escaped.push(byte);
        }
        escaped
    }

    /// The reverse of `escape`.
    pub(super) fn unescape(self, body: &[u8]) -> Vec<u8> {
        if self != Self::H264 {
            return body.to_vec();
        }
        let mut plain = Vec::with_capacity(body.len());
        let mut zeros = 0;
        for &byte in body {
            if zeros >= 2 && byte == H264_ESCAPE {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            plain.push(byte);
        }
        plain
    }
}

/// Whether the last bytes are those of an encrypted frame.
pub(super) fn looks_sealed(frame: &[u8]) -> bool {
    matches!(frame, [.., length, _] if usize::from(*length) == NONCE && frame.len() >= TAG + NONCE + TRAILER)
}

/// Put the parts behind a header together, before escaping.
pub(super) fn finish(body: &mut Vec<u8>, nonce: [u8; NONCE], index: u8) {
    body.extend_from_slice(&nonce);
    body.push(NONCE as u8);
    body.push(index);
}

/// Take apart what `finish` made, behind its header.
pub(super) fn split<'a>(header: &'a [u8], rest: &'a [u8]) -> Option<Sealed<'a>> {
    let [sealed @ .., length, index] = rest else { return None };
    if usize::from(*length) != NONCE {
        return None;
    }
    let (body, nonce) = sealed.split_at_checked(sealed.len().checked_sub(NONCE)?)?;
    if body.len() < TAG {
        return None;
    }
    Some(Sealed { header, body, nonce: nonce.try_into().ok()?, index: *index })
}

fn is_slice(unit: &[u8]) -> bool {
    unit.first().is_some_and(|header| matches!(header & H264_TYPE, H264_SLICE | H264_IDR))
}
