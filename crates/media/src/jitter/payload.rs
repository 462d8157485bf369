use bytes::{BufMut, Bytes, BytesMut};

use super::VideoCodec;

const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Largest frame that is put together, in bytes: more than any real one, less than what would hurt.
const MAX_FRAME: usize = 8 << 20;

const NAL_IDR: u8 = 5;
const NAL_SEI: u8 = 6;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const NAL_DELIMITER: u8 = 9;
const NAL_STAP_A: u8 = 24;
const NAL_FU_A: u8 = 28;

/// Why the payloads of a frame do not make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A payload ends before what its own header announces.
    #[error("a payload ends too early")]
    Truncated,
    /// An H.264 packet type outside packetization modes 0 and 1, or the middle of a fragment without its start.
    #[error("an H.264 payload of type {0} cannot stand here")]
    Unexpected(u8),
    /// More than 8 MiB in one frame.
    #[error("a frame of more than 8 MiB")]
    TooLong,
}

/// What one RTP payload tells of the frame that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PayloadShape {
    /// No payload of the frame can come before this one.
    pub starts_frame: bool,
    /// The frame can be decoded without any before it.
    pub keyframe: bool,
}

impl PayloadShape {
    /// Look at a payload; one that makes no sense has neither property.
    pub fn of(codec: VideoCodec, payload: &[u8]) -> Self {
        match codec {
            VideoCodec::Vp8 => vp8_shape(payload),
            VideoCodec::H264 => h264_shape(payload),
        }
    }
}

/// Puts the payloads of one frame after the other into the bytes that a decoder takes.
#[derive(Debug)]
pub struct Depacketizer {
    codec: VideoCodec,
    frame: BytesMut,
    in_fragment: bool,
}

impl Depacketizer {
    /// Start with an empty frame.
    pub fn new(codec: VideoCodec) -> Self {
        Self { codec, frame: BytesMut::new(), in_fragment: false }
    }

    /// Append the next payload of the frame.
    ///
    /// # Errors
    ///
    /// When the payload is damaged; what was gathered is thrown away then.
    pub fn push(&mut self, payload: &[u8]) -> Result<(), PayloadError> {
        let result = match self.codec {
            VideoCodec::Vp8 => vp8_body(payload).ok_or(PayloadError::Truncated).map(|body| self.frame.put_slice(body)),
            VideoCodec::H264 => self.push_h264(payload),
        };
        let result = result.and(if self.frame.len() > MAX_FRAME { Err(PayloadError::TooLong) } else { Ok(()) });
        if result.is_err() {
            self.frame.clear();
            self.in_fragment = false;
        }
        result
    }

    /// Take the frame: VP8 as it is, H.264 as NAL units with start codes. Empty when nothing was pushed.
    pub fn finish(&mut self) -> Bytes {
        self.in_fragment = false;
        self.frame.split().freeze()
    }

    fn push_h264(&mut self, payload: &[u8]) -> Result<(), PayloadError> {
        let (&header, body) = payload.split_first().ok_or(PayloadError::Truncated)?;
        match header & 0x1f {
            1..=23 => {
                self.in_fragment = false;
                self.put_unit(payload);
                Ok(())
            }
            NAL_STAP_A => {
                self.in_fragment = false;
                let mut units = Aggregate(body);
                for unit in units.by_ref() {
                    self.put_unit(unit);
                }
                if units.0.is_empty() { Ok(()) } else { Err(PayloadError::Truncated) }
            }
            NAL_FU_A => self.push_fragment(header, body),
            other => Err(PayloadError::Unexpected(other)),
        }
    }

    fn push_fragment(&mut self, indicator: u8, body: &[u8]) -> Result<(), PayloadError> {
        let (&header, data) = body.split_first().ok_or(PayloadError::Truncated)?;
        let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
        if start {
            self.frame.put_slice(&START_CODE);
            self.frame.put_u8(indicator & 0xe0 | header & 0x1f);
        } else if !self.in_fragment {
            return Err(PayloadError::Unexpected(NAL_FU_A));
        }
        self.frame.put_slice(data);
        self.in_fragment = !end;
        Ok(())
    }

    fn put_unit(&mut self, unit: &[u8]) {
        self.frame.put_slice(&START_CODE);
        self.frame.put_slice(unit);
    }
}

/// The units of a STAP-A body; what is left of the slice afterwards is damage.
struct Aggregate<'a>(&'a [u8]);

impl<'a> Iterator for Aggregate<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (size, rest) = self.0.split_first_chunk::<2>()?;
        let size = usize::from(u16::from_be_bytes(*size));
        let unit = rest.get(..size).filter(|unit| !unit.is_empty())?;
        self.0 = rest.get(size..)?;
        Some(unit)
    }
}

/// The payload without its RFC 7741 descriptor; `None` when nothing is left.
fn vp8_body(payload: &[u8]) -> Option<&[u8]> {
    vp8_split(payload).map(|(_, body)| body)
}

/// First descriptor byte and body.
fn vp8_split(payload: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, mut rest) = payload.split_first()?;
    if first & 0x80 != 0 {
        let (&extension, after) = rest.split_first()?;
        rest = after;
        if extension & 0x80 != 0 {
            let long = rest.first()? & 0x80 != 0;
            rest = rest.get(if long { 2 } else { 1 }..)?;
        }
        if extension & 0x40 != 0 {
            rest = rest.get(1..)?;
        }
        if extension & 0x30 != 0 {
            rest = rest.get(1..)?;
        }
    }
    (!rest.is_empty()).then_some((first, rest))
}

fn vp8_shape(payload: &[u8]) -> PayloadShape {
    let Some((descriptor, body)) = vp8_split(payload) else { return PayloadShape::default() };
    // Start of partition 0.
    let starts_frame = descriptor & 0x1f == 0x10;
    let keyframe = starts_frame && body.first().is_some_and(|byte| byte & 1 == 0);
    PayloadShape { starts_frame, keyframe }
}

fn h264_shape(payload: &[u8]) -> PayloadShape {
    let Some((&header, body)) = payload.split_first() else { return PayloadShape::default() };
    match header & 0x1f {
        NAL_STAP_A => Aggregate(body).fold(PayloadShape::default(), |shape, unit| {
            let next = unit_shape(unit);
            PayloadShape {
                starts_frame: shape.starts_frame || next.starts_frame,
                keyframe: shape.keyframe || next.keyframe,
            }
        }),
        NAL_FU_A => match body {
            [fragment, rest @ ..] if fragment & 0x80 != 0 => slice_shape(fragment & 0x1f, rest),
            _ => PayloadShape::default(),
        },
        _ => unit_shape(payload),
    }
}

fn unit_shape(unit: &[u8]) -> PayloadShape {
    unit.split_first().map_or_else(PayloadShape::default, |(header, body)| slice_shape(header & 0x1f, body))
}

fn slice_shape(kind: u8, body: &[u8]) -> PayloadShape {
    match kind {
        NAL_SPS => PayloadShape { starts_frame: true, keyframe: true },
        NAL_PPS | NAL_SEI | NAL_DELIMITER => PayloadShape { starts_frame: true, keyframe: false },
        // A slice header begins with first_mb_in_slice, which is 0 when its first bit is set.
        1..=NAL_IDR => {
            PayloadShape { starts_frame: body.first().is_some_and(|byte| byte & 0x80 != 0), keyframe: kind == NAL_IDR }
        }
        _ => PayloadShape::default(),
    }
}

/// The NAL units of a byte stream, without their start codes.
pub fn h264_units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = find_start(stream).map(|(_, after)| after);
    std::iter::from_fn(move || {
        loop {
            let current = rest?;
            let (unit, next) = match find_start(current) {
                Some((before, after)) => (before, Some(after)),
                None => (current, None),
            };
            rest = next;
            // Zeros before a start code belong to it; at the end of a frame they are the unit's: it may be encrypted.
            let end = match rest {
                Some(_) => unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1),
                None => unit.len(),
            };
            if let Some(unit) = unit.get(..end).filter(|unit| !unit.is_empty()) {
                return Some(unit);
            }
        }
    })
}

/// Whether a byte stream holds a picture that can be decoded without any before it.
pub fn h264_has_idr(stream: &[u8]) -> bool {
    h264_units(stream).any(|unit| unit.first().is_some_and(|header| header & 0x1f == NAL_IDR))
}

/// What lies before and after the next start code.
fn find_start(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        // The 1 of a start code is rarer than the zeros.
        let one = from + stream.get(from..)?.iter().position(|&byte| byte == 1)?;
        if one >= 2 && stream.get(one - 2..one) == Some(&[0, 0]) {
            return Some((stream.get(..one - 2)?, stream.get(one + 1..)?));
        }
        from = one + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp8_descriptors_of_every_length_are_skipped() {
        let cases: [&[u8]; 6] = [
            &[0x10, 0x00, 7],
            &[0x90, 0x80, 0x05, 0x00, 7],
            &[0x90, 0x80, 0x85, 0x01, 0x00, 7],
            &[0x90, 0xc0, 0x85, 0x01, 0x09, 0x00, 7],
            &[0x90, 0xe0, 0x85, 0x01, 0x09, 0x20, 0x00, 7],
            &[0x90, 0x10, 0x03, 0x00, 7],
        ];
        for payload in cases {
            let mut depacketizer = Depacketizer::new(VideoCodec::Vp8);
            assert_eq!(depacketizer.push(payload), Ok(()));
            assert_eq!(depacketizer.finish().as_ref(), &[0x00, 7], "{payload:x?}");
            let shape = PayloadShape::of(VideoCodec::Vp8, payload);
            assert_eq!(shape, PayloadShape { starts_frame: true, keyframe: true }, "{payload:x?}");
            for cut in 0..payload.len() - 1 {
                // Whatever is left must neither panic nor be taken for the whole.
                let mut depacketizer = Depacketizer::new(VideoCodec::Vp8);
                let _ = depacketizer.push(&payload[..cut]);
                assert_ne!(depacketizer.finish().as_ref(), &[0x00, 7]);
            }
        }
    }

    #[test]
    fn a_continuation_or_a_later_partition_starts_nothing() {
        for payload in [&[0x00, 0x00, 1][..], &[0x11, 0x00, 1], &[0x10, 0x01, 1]] {
            assert!(!PayloadShape::of(VideoCodec::Vp8, payload).keyframe, "{payload:x?}");
        }
        assert!(PayloadShape::of(VideoCodec::Vp8, &[0x10, 0x01, 1]).starts_frame);
    }

    #[test]
    fn h264_units_are_found_behind_both_start_codes() {
        let stream = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 0, 1, 0x65, 0x80, 0, 0, 3, 1];
        let units: Vec<_> = h264_units(&stream).collect();
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 0x80, 0, 0, 3, 1]]);
        assert!(h264_has_idr(&stream));
        assert!(!h264_has_idr(&stream[..12]));
        assert_eq!(h264_units(&[1, 2, 3]).count(), 0);
    }

    #[test]
    fn aggregates_and_fragments_come_back_as_units() {
        let mut depacketizer = Depacketizer::new(VideoCodec::H264);
        depacketizer.push(&[0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 2]).unwrap();
        depacketizer.push(&[0x7c, 0x85, 0x80, 9]).unwrap();
        depacketizer.push(&[0x7c, 0x05, 8]).unwrap();
        depacketizer.push(&[0x7c, 0x45, 7]).unwrap();
        let frame = depacketizer.finish();
        let units: Vec<_> = h264_units(&frame).collect();
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 0x80, 9, 8, 7]]);
    }

    #[test]
    fn damaged_h264_payloads_are_named() {
        let push = |payload: &[u8]| Depacketizer::new(VideoCodec::H264).push(payload);
        assert_eq!(push(&[]), Err(PayloadError::Truncated));
        assert_eq!(push(&[0x78, 0, 9, 0x67]), Err(PayloadError::Truncated));
        assert_eq!(push(&[0x7c]), Err(PayloadError::Truncated));
        assert_eq!(push(&[0x7c, 0x05, 1]), Err(PayloadError::Unexpected(NAL_FU_A)));
        assert_eq!(push(&[0x7d, 0x05, 1]), Err(PayloadError::Unexpected(29)));
    }
}
