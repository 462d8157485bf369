//! Payload types: which number stands for which codec; and the payload descriptor of VP8.

use str0m::Rtc;
use str0m::format::{Codec as Library, CodecConfig};
use str0m::media::{Mid, Pt};

use crate::Vp8Rewrite;
use crate::section::{Codec, MediaKind};
use crate::sending::Format;

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

/// How to write packets of each codec in a section, as negotiated. What is redundant already is not sent again.
pub(crate) fn negotiated(rtc: &Rtc, mid: Mid, kind: MediaKind) -> Vec<Format> {
    let Some(media) = rtc.media(mid) else {
        return Vec::new();
    };
    let mut formats: Vec<Format> = Vec::new();
    for params in rtc.codec_config().params().iter().filter(|params| media.remote_pts().contains(&params.pt())) {
        for (payload_type, codec) in payload_types(params) {
            if codec.kind() == kind && !formats.iter().any(|known| known.codec == codec) {
                let repair = params.resend().filter(|_| codec != Codec::Red).map(|resend| *resend);
                formats.push(Format { codec, payload_type: *payload_type, repair });
            }
        }
    }
    formats
}

fn payload_types(params: &str0m::format::PayloadParams) -> impl Iterator<Item = (Pt, Codec)> {
    let codec = match params.spec().codec {
        Library::Opus => Some(Codec::Opus),
        Library::Vp8 => Some(Codec::Vp8),
        Library::H264 => Some(Codec::H264),
        Library::Vp9 => Some(Codec::Vp9),
        Library::Av1 => Some(Codec::Av1),
        _ => None,
    };
    let redundant = params.red().map(|payload_type| (payload_type, Codec::Red));
    redundant.into_iter().chain(codec.map(|codec| (params.pt(), codec)))
}

/// Changes a VP8 payload descriptor (RFC 7741, section 4.2) in place. Fields that it lacks are left out.
pub(crate) fn rewrite_vp8(payload: &mut [u8], rewrite: Vp8Rewrite) {
    const EXTENDED: u8 = 1 << 7;
    const PICTURE_ID: u8 = 1 << 7;
    const LONG_PICTURE_ID: u8 = 1 << 7;
    const TL0_PIC_IDX: u8 = 1 << 6;
    const LAYER_OR_KEY_IDX: u8 = (1 << 5) | KEY_IDX;
    const KEY_IDX: u8 = 1 << 4;
    let [first, fields, rest @ ..] = payload else { return };
    if *first & EXTENDED == 0 {
        return;
    }
    let mut rest = rest.iter_mut();
    if *fields & PICTURE_ID != 0 {
        let Some(high) = rest.next() else { return };
        let long = *high & LONG_PICTURE_ID != 0;
        let low = if long { rest.next() } else { None };
        if let Some(id) = rewrite.picture_id {
            match low {
                Some(low) => [*high, *low] = (id | u16::from(LONG_PICTURE_ID) << 8).to_be_bytes(),
                None => *high = (id & 0x7f) as u8,
            }
        }
    }
    if *fields & TL0_PIC_IDX != 0
        && let Some(index) = rest.next()
    {
        *index = rewrite.tl0_pic_idx.unwrap_or(*index);
    }
    if *fields & LAYER_OR_KEY_IDX != 0
        && let Some(index) = rest.next()
        && let Some(key) = rewrite.key_idx.filter(|_| *fields & KEY_IDX != 0)
    {
        *index = *index & !0x1f | key & 0x1f;
    }
}
