//! Key frames in AV1 payloads (AV1 RTP specification 1.0): the aggregation header and the first OBU.

use super::FrameInfo;

/// The aggregation header and the type of the first OBU element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aggregation {
    /// The first element continues an OBU of the previous packet.
    pub continues: bool,
    /// The last element continues in the next packet.
    pub continued: bool,
    /// Number of elements, 0 when every element has its own length.
    pub count: u8,
    /// The packet starts a coded video sequence, which a key frame opens.
    pub sequence_start: bool,
    /// `obu_type` of the first element, unless it is a continuation.
    pub first_obu: Option<u8>,
}

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

impl Aggregation {
    /// Reads the aggregation header; `None` for an empty payload.
    pub fn parse(payload: &[u8]) -> Option<Aggregation> {
        let (&header, rest) = payload.split_first()?;
        let mut aggregation = Aggregation {
            continues: header & 0x80 != 0,
            continued: header & 0x40 != 0,
            count: (header >> 4) & 0x03,
            sequence_start: header & 0x08 != 0,
            first_obu: None,
        };
        if !aggregation.continues {
            let element = if aggregation.count == 1 { rest } else { skip_leb128(rest)? };
            aggregation.first_obu = element.first().map(|byte| (byte >> 3) & 0x0f);
        }
        Some(aggregation)
    }
}

/// What forwarding needs to know; see [`FrameInfo::parse`].
pub(super) fn frame_info(payload: &[u8]) -> FrameInfo {
    let Some(aggregation) = Aggregation::parse(payload) else {
        return FrameInfo::default();
    };
    let opens = matches!(aggregation.first_obu, Some(SEQUENCE_HEADER | TEMPORAL_DELIMITER | FRAME_HEADER | FRAME));
    let key_frame = opens && (aggregation.sequence_start || aggregation.first_obu == Some(SEQUENCE_HEADER));
    FrameInfo { key_frame, frame_start: opens, layer_sync: key_frame, ..FrameInfo::default() }
}

/// What follows an unsigned LEB128 number of at most 8 bytes.
fn skip_leb128(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().take(8).position(|byte| byte & 0x80 == 0)?;
    bytes.get(end + 1..)
}
