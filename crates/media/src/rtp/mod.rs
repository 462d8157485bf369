//! What an SFU has to read inside RTP payloads, and the little it has to rewrite.
//!
//! Every function here is total: any bytes in, a value or `None` out, never a panic. Nothing is decoded further than
//! forwarding needs: key frames, frame starts, temporal layers and the ids of VP8, and the blocks of RED.

pub mod av1;
pub mod h264;
pub mod red;
pub mod vp8;
pub mod vp9;

#[cfg(test)]
mod tests;

/// A codec as it travels in RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// `audio/opus`.
    Opus,
    /// `audio/red` that carries Opus (RFC 2198).
    Red,
    /// `audio/PCMU`.
    Pcmu,
    /// `audio/PCMA`.
    Pcma,
    /// `audio/G722`.
    G722,
    /// `video/VP8`.
    Vp8,
    /// `video/VP9`.
    Vp9,
    /// `video/H264`.
    H264,
    /// `video/H265`.
    H265,
    /// `video/AV1`.
    Av1,
}

/// What kind of media a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Codec {
    /// All codecs, in declaration order.
    pub const ALL: [Codec; 10] = [
        Codec::Opus,
        Codec::Red,
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::Vp8,
        Codec::Vp9,
        Codec::H264,
        Codec::H265,
        Codec::Av1,
    ];

    /// Audio or video.
    pub const fn kind(self) -> Kind {
        match self {
            Codec::Opus | Codec::Red | Codec::Pcmu | Codec::Pcma | Codec::G722 => Kind::Audio,
            Codec::Vp8 | Codec::Vp9 | Codec::H264 | Codec::H265 | Codec::Av1 => Kind::Video,
        }
    }

    /// RTP clock rate in Hz.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus | Codec::Red => 48_000,
            // RFC 3551 4.5.2: G.722 samples at 16 kHz but its RTP clock is 8 kHz.
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8_000,
            Codec::Vp8 | Codec::Vp9 | Codec::H264 | Codec::H265 | Codec::Av1 => 90_000,
        }
    }

    /// The MIME type, as in a track's `mime_type`.
    pub const fn mime(self) -> &'static str {
        match self {
            Codec::Opus => "audio/opus",
            Codec::Red => "audio/red",
            Codec::Pcmu => "audio/PCMU",
            Codec::Pcma => "audio/PCMA",
            Codec::G722 => "audio/G722",
            Codec::Vp8 => "video/VP8",
            Codec::Vp9 => "video/VP9",
            Codec::H264 => "video/H264",
            Codec::H265 => "video/H265",
            Codec::Av1 => "video/AV1",
        }
    }

    /// The codec of a MIME type, in any case.
    pub fn from_mime(mime: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.mime().eq_ignore_ascii_case(mime))
    }
}

/// What forwarding needs to know about one video payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameInfo {
    /// A decoder can start with the frame that this packet belongs to. Codecs tell so only in some of a key frame's
    /// packets; the one with `frame_start` always does.
    pub key_frame: bool,
    /// The first packet of a frame (of a whole picture, for VP9 with spatial layers).
    pub frame_start: bool,
    /// The packet carries H.264 or H.265 parameter sets.
    pub parameter_sets: bool,
    /// Temporal layer, when the payload says so.
    pub temporal: Option<u8>,
    /// Receivers of lower temporal layers may switch up to this frame's layer here.
    pub layer_sync: bool,
    /// The VP8 payload descriptor, for VP8.
    pub vp8: Option<vp8::Descriptor>,
}

impl FrameInfo {
    /// Reads what `codec` writes at the start of `payload`. Payloads that are cut short, and audio, give the default.
    pub fn parse(codec: Codec, payload: &[u8]) -> FrameInfo {
        match codec {
            Codec::Vp8 => vp8::frame_info(payload),
            Codec::Vp9 => vp9::frame_info(payload),
            Codec::H264 => h264::frame_info(payload),
            Codec::H265 => h264::h265_frame_info(payload),
            Codec::Av1 => av1::frame_info(payload),
            Codec::Opus | Codec::Red | Codec::Pcmu | Codec::Pcma | Codec::G722 => FrameInfo::default(),
        }
    }
}
