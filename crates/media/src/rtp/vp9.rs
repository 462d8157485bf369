//! The VP9 payload descriptor (RFC 9628), up to the layer indices.

use super::FrameInfo;

/// The part of the VP9 payload descriptor that a forwarder reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Picture id, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// The frame is predicted from earlier pictures.
    pub inter_predicted: bool,
    /// Flexible mode.
    pub flexible: bool,
    /// The packet starts a frame of one spatial layer.
    pub frame_start: bool,
    /// The packet ends a frame of one spatial layer.
    pub frame_end: bool,
    /// Layer indices.
    pub layers: Option<Layers>,
}

/// Layer indices of a VP9 frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// Temporal layer.
    pub temporal: u8,
    /// A receiver can switch up to this temporal layer here.
    pub switching_up: bool,
    /// Spatial layer.
    pub spatial: u8,
    /// The frame depends on the next lower spatial layer of its picture.
    pub inter_layer: bool,
    /// Running number of base temporal layer pictures, outside flexible mode.
    pub tl0_picture_index: Option<u8>,
}

impl Descriptor {
    /// Reads the descriptor at the start of an RTP payload; `None` when it is cut short.
    pub fn parse(payload: &[u8]) -> Option<Descriptor> {
        let mut bytes = payload.iter().copied();
        let first = bytes.next()?;
        let flexible = first & 0x10 != 0;
        let mut descriptor = Descriptor {
            inter_predicted: first & 0x40 != 0,
            flexible,
            frame_start: first & 0x08 != 0,
            frame_end: first & 0x04 != 0,
            ..Descriptor::default()
        };
        if first & 0x80 != 0 {
            let high = bytes.next()?;
            descriptor.picture_id =
                Some(if high & 0x80 != 0 { u16::from_be_bytes([high & 0x7f, bytes.next()?]) } else { u16::from(high) });
        }
        if first & 0x20 != 0 {
            let byte = bytes.next()?;
            descriptor.layers = Some(Layers {
                temporal: byte >> 5,
                switching_up: byte & 0x10 != 0,
                spatial: (byte >> 1) & 0x07,
                inter_layer: byte & 0x01 != 0,
                tl0_picture_index: if flexible { None } else { Some(bytes.next()?) },
            });
        }
        Some(descriptor)
    }
}

/// What forwarding needs to know; see [`FrameInfo::parse`].
pub(super) fn frame_info(payload: &[u8]) -> FrameInfo {
    let Some(descriptor) = Descriptor::parse(payload) else {
        return FrameInfo::default();
    };
    let base = descriptor.layers.is_none_or(|layers| layers.spatial == 0);
    let key_frame = base && !descriptor.inter_predicted;
    FrameInfo {
        key_frame,
        frame_start: base && descriptor.frame_start,
        parameter_sets: false,
        temporal: descriptor.layers.map(|layers| layers.temporal),
        layer_sync: key_frame || descriptor.layers.is_some_and(|layers| layers.switching_up),
        vp8: None,
    }
}
