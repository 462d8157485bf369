//! Media sections: what the two sides agree on.

use std::fmt;

/// Audio or video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// The format of an RTP payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// Opus at 48 kHz.
    Opus,
    /// Redundant audio (RFC 2198) around Opus.
    Red,
    /// VP8.
    Vp8,
    /// H.264, packetization mode 1.
    H264,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
}

impl Codec {
    /// The kind of media that the codec carries.
    #[must_use]
    pub fn kind(self) -> MediaKind {
        match self {
            Codec::Opus | Codec::Red => MediaKind::Audio,
            _ => MediaKind::Video,
        }
    }

    /// The RTP clock rate in hertz.
    #[must_use]
    pub fn clock_rate(self) -> u32 {
        match self.kind() {
            MediaKind::Audio => 48_000,
            MediaKind::Video => 90_000,
        }
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub(crate) str0m::media::$name);

        impl $name {
            /// The identifier as it stands in the session description.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(text.into())
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

identifier! {
    /// Names a media section (`a=mid`): at most 16 letters, digits or underscores.
    Mid
}
identifier! {
    /// Names a simulcast layer of a section (`a=rid`): at most 8 letters, digits or underscores.
    Rid
}

/// A track to send, attached under a key of the caller's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Audio or video.
    pub kind: MediaKind,
    /// The first half of the msid: `PA_x|TR_y` from a server, `-` from a client.
    pub stream_id: String,
    /// The second half of the msid: the track's sid from a server, its cid from a client.
    pub track_id: String,
    /// Tracks that are played in sync share a CNAME.
    pub cname: String,
    /// The codecs that the track may be sent in, best first; empty for any. A client's offer lists them in this order, and an
    /// answering server gives the track only to a section that takes one of them.
    pub codecs: Vec<Codec>,
    /// The simulcast layers, lowest first, for the client's own tracks; empty for a single stream.
    pub rids: Vec<Rid>,
    /// Whether the audio is stereo.
    pub stereo: bool,
}

impl Outgoing {
    /// A track without preferences: any codec, no simulcast, mono, with the stream's id as CNAME.
    #[must_use]
    pub fn new(kind: MediaKind, stream_id: impl Into<String>, track_id: impl Into<String>) -> Self {
        let stream_id = stream_id.into();
        Outgoing {
            kind,
            cname: stream_id.clone(),
            stream_id,
            track_id: track_id.into(),
            codecs: Vec::new(),
            rids: Vec::new(),
            stereo: false,
        }
    }
}

/// How an answer is to receive a certain track of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preference {
    /// The codecs that the answer lists first, in this order; the others follow in the offered order, without redundant audio
    /// if it is just Opus. Empty: video in the offered order, redundant audio before Opus.
    pub codecs: Vec<Codec>,
    /// Whether to ask for stereo at a bitrate for music.
    pub stereo: bool,
    /// Whether the sender may stop sending while there is silence.
    pub dtx: bool,
}

impl Default for Preference {
    fn default() -> Self {
        Preference { codecs: Vec::new(), stereo: false, dtx: true }
    }
}

/// One audio or video section as it stands after a negotiation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub mid: Mid,
    /// Audio or video.
    pub kind: MediaKind,
    /// Whether the other side sends on it.
    pub receiving: bool,
    /// The other side's stream id, while it sends.
    pub stream_id: Option<String>,
    /// The other side's track id, while it sends.
    pub track_id: Option<String>,
    /// The simulcast layers that the other side sends, in the order of its description.
    pub rids: Vec<Rid>,
    /// The key of the track that is sent on it.
    pub sending: Option<u64>,
    /// The codecs both sides agreed on, the preferred one first.
    pub codecs: Vec<Codec>,
    /// Whether the section was stopped for good (port 0).
    pub stopped: bool,
}

/// How many sections of each kind the other side has to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Missing {
    /// Audio sections.
    pub audio: usize,
    /// Video sections.
    pub video: usize,
}

impl Missing {
    /// Whether every attached track has a section.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.audio == 0 && self.video == 0
    }
}

/// A session description of ours, ready to be sent, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The text to send.
    pub sdp: String,
    /// The audio and video sections, in order. In an offer this is what stands if the other side accepts.
    pub sections: Vec<Section>,
    /// The sections that an answering side lacks; always none in an offer.
    pub missing: Missing,
}

/// What an offer of ours is to contain besides the attached tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OfferOptions {
    /// How many receive-only audio sections to add.
    pub audio: usize,
    /// How many receive-only video sections to add.
    pub video: usize,
    /// Whether to restart ICE.
    pub ice_restart: bool,
    /// Whether to make an offer even if nothing has changed.
    pub force: bool,
}
