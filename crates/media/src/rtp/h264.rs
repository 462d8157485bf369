//! Key frames in H.264 (RFC 6184) and H.265 (RFC 7798) payloads.

use super::FrameInfo;

/// What one H.264 payload carries, over all its NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Contents {
    /// A slice of an IDR picture, or a fragment of one.
    pub idr: bool,
    /// A sequence parameter set.
    pub sps: bool,
    /// Something that opens an access unit: delimiter, parameter set, or a picture's first slice.
    pub unit_start: bool,
}

impl Contents {
    /// Reads the NAL unit types of a single NAL, STAP-A, STAP-B, FU-A or FU-B payload.
    pub fn parse(payload: &[u8]) -> Contents {
        let mut contents = Contents::default();
        let Some((&first, rest)) = payload.split_first() else {
            return contents;
        };
        match first & 0x1f {
            24 => contents.add_aggregate(rest),
            // STAP-B has a decoding order number before its first unit.
            25 => contents.add_aggregate(rest.get(2..).unwrap_or_default()),
            kind @ (28 | 29) => {
                let Some((&header, rest)) = rest.split_first() else {
                    return contents;
                };
                let rest = if kind == 29 { rest.get(2..).unwrap_or_default() } else { rest };
                contents.add(header & 0x1f, rest, header & 0x80 != 0);
            }
            kind => contents.add(kind, rest, true),
        }
        contents
    }

    fn add_aggregate(&mut self, mut units: &[u8]) {
        while let Some((size, rest)) = units.split_at_checked(2) {
            let size = size.iter().fold(0, |size, &byte| size << 8 | usize::from(byte));
            let Some((unit, rest)) = rest.split_at_checked(size) else {
                return;
            };
            if let Some((&header, body)) = unit.split_first() {
                self.add(header & 0x1f, body, true);
            }
            units = rest;
        }
    }

    fn add(&mut self, kind: u8, body: &[u8], start: bool) {
        match kind {
            1 | 5 => {
                self.idr |= kind == 5;
                // first_mb_in_slice is the first field of a slice; as ue(v), zero is one set bit.
                self.unit_start |= start && body.first().is_some_and(|byte| byte & 0x80 != 0);
            }
            7 => {
                self.sps = true;
                self.unit_start |= start;
            }
            9 => self.unit_start |= start,
            _ => {}
        }
    }
}

/// What forwarding needs to know; see [`FrameInfo::parse`].
pub(super) fn frame_info(payload: &[u8]) -> FrameInfo {
    let contents = Contents::parse(payload);
    FrameInfo {
        key_frame: contents.idr || contents.sps,
        frame_start: contents.unit_start,
        parameter_sets: contents.sps,
        layer_sync: contents.idr || contents.sps,
        ..FrameInfo::default()
    }
}

/// The same for H.265.
pub(super) fn h265_frame_info(payload: &[u8]) -> FrameInfo {
    let mut info = FrameInfo::default();
    let Some((header, rest)) = payload.split_at_checked(2) else {
        return info;
    };
    match h265_kind(header) {
        48 => {
            let mut units = rest;
            while let Some((size, rest)) = units.split_at_checked(2) {
                let size = size.iter().fold(0, |size, &byte| size << 8 | usize::from(byte));
                let Some((unit, rest)) = rest.split_at_checked(size) else {
                    break;
                };
                if let Some((header, body)) = unit.split_at_checked(2) {
                    add_h265(&mut info, h265_kind(header), body, true);
                }
                units = rest;
            }
        }
        49 => {
            if let Some((&fragment, body)) = rest.split_first() {
                add_h265(&mut info, fragment & 0x3f, body, fragment & 0x80 != 0);
            }
        }
        kind => add_h265(&mut info, kind, rest, true),
    }
    info.layer_sync = info.key_frame;
    info
}

fn h265_kind(header: &[u8]) -> u8 {
    header.first().map_or(0, |byte| (byte >> 1) & 0x3f)
}

fn add_h265(info: &mut FrameInfo, kind: u8, body: &[u8], start: bool) {
    match kind {
        // Coded slices; 16..=23 are random access pictures. first_slice_segment_in_pic_flag is their first bit.
        0..=31 => {
            info.key_frame |= (16..=23).contains(&kind);
            info.frame_start |= start && body.first().is_some_and(|byte| byte & 0x80 != 0);
        }
        // Video and sequence parameter sets.
        32 | 33 => {
            info.key_frame = true;
            info.parameter_sets = true;
            info.frame_start |= start;
        }
        35 => info.frame_start |= start,
        _ => {}
    }
}
