//! Payload types: which number stands for which codec, and how a packet is written.

use str0m::Rtc;
use str0m::format::{Codec as Format, CodecConfig};
use str0m::media::{Mid, Pt};
use str0m::rtp::{Vp8Descriptor, Vp8Patch, Vp8PatchError};

use crate::Vp8Rewrite;
use crate::section::{Codec, MediaKind};

/// H.264 profiles taken: constrained baseline, baseline, main and high, each with its payload types. All in packetization
/// mode 1; without it large slices could not be split.
const H264: [(u8, u8, u32); 4] =
    [(125, 107, 0x42e01f), (127, 121, 0x42001f), (106, 116, 0x4d001f), (123, 118, 0x64001f)];

/// The codecs in the order in which they are offered to those who have no preference.
pub(crate) fn configure(codecs: &mut CodecConfig) {
    codecs.clear();
    codecs.enable_opus(true, true);
    codecs.enable_vp8(true);
    for (payload_type, retransmission, profile) in H264 {
        codecs.add_h264(payload_type.into(), Some(retransmission.into()), true, profile);
    }
    codecs.enable_vp9(true);
    codecs.enable_av1(true);
}

/// The codec of each payload type, that of a retransmission excluded.
#[derive(Debug)]
pub(crate) struct PayloadTable([Option<Codec>; 128]);

impl PayloadTable {
    pub(crate) fn new(rtc: &Rtc) -> Self {
        let mut table = [None; 128];
        for (payload_type, codec) in rtc.codec_config().params().iter().flat_map(payload_types) {
            if let Some(entry) = table.get_mut(usize::from(*payload_type)) {
                *entry = Some(codec);
            }
        }
        PayloadTable(table)
    }

    pub(crate) fn codec(&self, payload_type: Pt) -> Option<Codec> {
        self.0.get(usize::from(*payload_type)).copied().flatten()
    }
}

/// The payload type to use for each codec in a section, as negotiated.
pub(crate) fn negotiated(rtc: &Rtc, mid: Mid, kind: MediaKind) -> Vec<(Codec, Pt)> {
    let Some(media) = rtc.media(mid) else {
        return Vec::new();
    };
    let mut types: Vec<(Codec, Pt)> = Vec::new();
    let params = rtc.codec_config().params().iter().filter(|params| media.remote_pts().contains(&params.pt()));
    for (payload_type, codec) in params.flat_map(payload_types) {
        if codec.kind() == kind && !types.iter().any(|(known, _)| *known == codec) {
            types.push((codec, payload_type));
        }
    }
    types
}

fn payload_types(params: &str0m::format::PayloadParams) -> impl Iterator<Item = (Pt, Codec)> {
    let codec = match params.spec().codec {
        Format::Opus => Some(Codec::Opus),
        Format::Vp8 => Some(Codec::Vp8),
        Format::H264 => Some(Codec::H264),
        Format::Vp9 => Some(Codec::Vp9),
        Format::Av1 => Some(Codec::Av1),
        _ => None,
    };
    let redundant = params.red().map(|payload_type| (payload_type, Codec::Red));
    redundant.into_iter().chain(codec.map(|codec| (params.pt(), codec)))
}

/// Prepares the change of a VP8 payload descriptor; `None` if there is nothing to change or no descriptor.
pub(crate) fn vp8_patch(payload: &[u8], mut rewrite: Vp8Rewrite) -> Option<Vp8Patch> {
    let descriptor = Vp8Descriptor::parse(payload).ok()?;
    loop {
        if rewrite == Vp8Rewrite::default() {
            return None;
        }
        let mut patch = descriptor.patch();
        if let Some(picture_id) = rewrite.picture_id {
            patch = patch.picture_id(picture_id);
        }
        if let Some(tl0_pic_idx) = rewrite.tl0_pic_idx {
            patch = patch.tl0_pic_idx(tl0_pic_idx);
        }
        if let Some(key_idx) = rewrite.key_idx {
            patch = patch.key_idx(key_idx & 0x1f);
        }
        match patch.build() {
            Ok(patch) => return Some(patch),
            Err(Vp8PatchError::PictureIdMissing) => rewrite.picture_id = None,
            Err(Vp8PatchError::PictureIdTooLarge) => rewrite.picture_id = rewrite.picture_id.map(|id| id & 0x7f),
            Err(Vp8PatchError::Tl0PicIdxMissing) => rewrite.tl0_pic_idx = None,
            Err(Vp8PatchError::KeyIdxMissing | Vp8PatchError::KeyIdxTooLarge) => rewrite.key_idx = None,
            Err(_) => return None,
        }
    }
}
