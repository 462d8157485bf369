//! The VP8 payload descriptor (RFC 7741): read it, and rewrite its ids in place.

use super::FrameInfo;

/// The VP8 payload descriptor in front of every VP8 payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// The packet starts a VP8 partition.
    pub partition_start: bool,
    /// Index of the partition that the payload belongs to.
    pub partition: u8,
    /// No other frame refers to this one.
    pub non_reference: bool,
    /// Number of the picture, 7 or 15 bits wide.
    pub picture_id: Option<PictureId>,
    /// Running number of base layer pictures.
    pub tl0_picture_index: Option<u8>,
    /// Temporal layer and its sync bit.
    pub temporal: Option<Temporal>,
    /// Running number of key frames, 5 bits.
    pub key_index: Option<u8>,
    /// Length in bytes.
    pub len: usize,
    ids_at: usize,
}

/// A picture id and its width on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureId {
    /// The number itself.
    pub value: u16,
    /// 15 bits wide instead of 7.
    pub wide: bool,
}

/// Temporal layer of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporal {
    /// 0 is the base layer.
    pub id: u8,
    /// The picture depends on base layer pictures only, so that a receiver can switch up here.
    pub sync: bool,
}

/// The ids that a forwarder rewrites. A field that the descriptor lacks is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ids {
    /// Only the bits that fit the descriptor's picture id are written.
    pub picture_id: u16,
    /// Running number of base layer pictures.
    pub tl0_picture_index: u8,
    /// Running number of key frames; its low 5 bits are written.
    pub key_index: u8,
}

impl PictureId {
    /// 0x7f or 0x7fff.
    pub const fn mask(self) -> u16 {
        if self.wide { 0x7fff } else { 0x7f }
    }
}

impl Descriptor {
    /// Reads the descriptor at the start of an RTP payload; `None` when it is cut short or no VP8 byte follows.
    pub fn parse(payload: &[u8]) -> Option<Descriptor> {
        let mut at = Reader { payload, at: 0 };
        let first = at.next()?;
        let mut descriptor = Descriptor {
            partition_start: first & 0x10 != 0,
            partition: first & 0x07,
            non_reference: first & 0x20 != 0,
            ..Descriptor::default()
        };
        if first & 0x80 != 0 {
            let present = at.next()?;
            descriptor.ids_at = at.at;
            if present & 0x80 != 0 {
                let high = at.next()?;
                descriptor.picture_id = Some(if high & 0x80 != 0 {
                    PictureId { value: u16::from_be_bytes([high & 0x7f, at.next()?]), wide: true }
                } else {
                    PictureId { value: u16::from(high), wide: false }
                });
            }
            if present & 0x40 != 0 {
                descriptor.tl0_picture_index = Some(at.next()?);
            }
            if present & 0x30 != 0 {
                let byte = at.next()?;
                if present & 0x20 != 0 {
                    descriptor.temporal = Some(Temporal { id: byte >> 6, sync: byte & 0x20 != 0 });
                }
                if present & 0x10 != 0 {
                    descriptor.key_index = Some(byte & 0x1f);
                }
            }
        }
        descriptor.len = at.at;
        (payload.len() > descriptor.len).then_some(descriptor)
    }

    /// The first packet of a frame.
    pub fn frame_start(&self) -> bool {
        self.partition_start && self.partition == 0
    }

    /// The ids as they are; absent ones are 0.
    pub fn ids(&self) -> Ids {
        Ids {
            picture_id: self.picture_id.map_or(0, |id| id.value),
            tl0_picture_index: self.tl0_picture_index.unwrap_or(0),
            key_index: self.key_index.unwrap_or(0),
        }
    }

    /// Overwrites the ids in `payload`, which this descriptor was read from. No byte moves.
    pub fn patch(&self, payload: &mut [u8], ids: Ids) {
        let mut at = self.ids_at;
        let mut put = |keep: u8, value: u8| {
            if let Some(byte) = payload.get_mut(at) {
                *byte = (*byte & keep) | (value & !keep);
            }
            at += 1;
        };
        if let Some(id) = self.picture_id {
            let [high, low] = (ids.picture_id & id.mask()).to_be_bytes();
            if id.wide {
                put(0x80, high);
                put(0, low);
            } else {
                put(0x80, low);
            }
        }
        if self.tl0_picture_index.is_some() {
            put(0, ids.tl0_picture_index);
        }
        if self.key_index.is_some() {
            put(0xe0, ids.key_index);
        }
    }
}

/// What forwarding needs to know; see [`FrameInfo::parse`].
pub(super) fn frame_info(payload: &[u8]) -> FrameInfo {
    let Some(descriptor) = Descriptor::parse(payload) else {
        return FrameInfo::default();
    };
    let frame_start = descriptor.frame_start();
    // The inverse "inter frame" bit of the VP8 frame header, which only the first packet carries.
    let key_frame = frame_start && payload.get(descriptor.len).is_some_and(|byte| byte & 1 == 0);
    FrameInfo {
        key_frame,
        frame_start,
        parameter_sets: false,
        temporal: descriptor.temporal.map(|temporal| temporal.id),
        layer_sync: key_frame || descriptor.temporal.is_some_and(|temporal| temporal.sync),
        vp8: Some(descriptor),
    }
}

struct Reader<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.payload.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }
}
