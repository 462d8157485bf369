//! What goes into a room and what comes out of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroom_media::rtp::vp8;
pub use greenroom_media::rtp::{Codec, Kind};

/// A published track. The caller chooses the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u64);

/// A connection: a subscriber's, or the one that a track is published on. The caller chooses the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// One encoding of a track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its RTP stream id; empty when the track has one encoding.
    pub rid: String,
    /// 0 low, 1 medium, 2 high.
    pub quality: u8,
    /// Pixels; 0 when unknown.
    pub width: u32,
    /// Pixels; 0 when unknown.
    pub height: u32,
}

/// How a track is made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackConfig {
    /// Audio or video.
    pub kind: Kind,
    /// Who publishes it. Tracks of one publisher share a clock, so that they stay in lip sync.
    pub publisher: PeerId,
    /// Its encodings in any order; the index into this list is the layer index everywhere else. Empty means one.
    pub layers: Vec<Layer>,
    /// Report in [`Event::Speakers`] who speaks on it.
    pub detect_speaker: bool,
    /// The payloads are end-to-end encrypted: the room adds no media of its own (silence after a mute).
    pub encrypted: bool,
    /// Who gets bandwidth first; higher is earlier. 1 for a camera, 255 for a shared screen.
    pub priority: u8,
}

impl TrackConfig {
    /// An audio track.
    pub fn audio(publisher: PeerId, detect_speaker: bool) -> TrackConfig {
        let layers = Vec::new();
        TrackConfig { kind: Kind::Audio, publisher, layers, detect_speaker, encrypted: false, priority: 1 }
    }

    /// A video track with the given encodings.
    pub fn video(publisher: PeerId, layers: Vec<Layer>) -> TrackConfig {
        TrackConfig { kind: Kind::Video, publisher, layers, detect_speaker: false, encrypted: false, priority: 1 }
    }
}

/// Which codecs a subscriber negotiated for a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriberCodecs {
    accepted: u16,
}

impl SubscriberCodecs {
    /// Every codec.
    pub const ALL: SubscriberCodecs = SubscriberCodecs { accepted: u16::MAX };

    /// Exactly these. RED payloads go only to subscribers with [`Codec::Red`]; the others get the Opus inside.
    pub fn new(codecs: impl IntoIterator<Item = Codec>) -> SubscriberCodecs {
        SubscriberCodecs { accepted: codecs.into_iter().fold(0, |accepted, codec| accepted | bit(codec)) }
    }

    /// Whether `codec` can be sent.
    pub fn accepts(self, codec: Codec) -> bool {
        self.accepted & bit(codec) != 0
    }
}

const fn bit(codec: Codec) -> u16 {
    1 << codec as u16
}

/// What a subscriber asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionSettings {
    /// Send nothing.
    pub paused: bool,
    /// Highest layer to send, 0 low to 2 high.
    pub quality: u8,
    /// Highest frame rate to send, by temporal layers; 0 = no limit.
    pub fps: u32,
}

impl Default for SubscriptionSettings {
    fn default() -> SubscriptionSettings {
        SubscriptionSettings { paused: false, quality: 2, fps: 0 }
    }
}

/// The publisher's latest sender report for the stream that a packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// The publisher's wall clock, since any epoch that all its streams share.
    pub sender_time: Duration,
    /// The RTP timestamp at that time.
    pub rtp_time: u32,
}

/// One RTP packet of a publisher, in the order of arrival.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Stream identity. Another one on the same layer is a restarted source.
    pub ssrc: u32,
    /// Sequence number, extended to never wrap.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP marker bit.
    pub marker: bool,
    /// What the payload type stands for.
    pub codec: Codec,
    /// The payload without padding; empty for a packet that is only padding.
    pub payload: Arc<[u8]>,
    /// From the audio level extension: 0 loudest to 127 silent, in -dBov.
    pub audio_level: Option<u8>,
    /// The last sender report of this stream, if there was one. Giving the same one with every packet is fine.
    pub sender_report: Option<SenderReport>,
}

/// Where a forwarded packet came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is the packet just handed in: its header extension values go along.
    Live,
    /// An earlier packet, kept for subscribers that start at the latest key frame. No extension values.
    Replayed,
    /// Taken from the redundancy of a later packet, because the packet itself was lost. No extension values.
    Recovered,
    /// Made by the room: silence, or an empty payload that fills a sequence number. No extension values.
    Made,
}

/// One RTP packet to send to one subscriber.
#[derive(Debug, Clone)]
pub struct Forward<'a> {
    /// To whom.
    pub subscriber: PeerId,
    /// Of which track.
    pub track: TrackId,
    /// Sequence number, extended; the low 16 bits go into the header. The first one of a subscription is below 2^15.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP marker bit.
    pub marker: bool,
    /// Chooses the payload type.
    pub codec: Codec,
    /// The payload as published, or with one layer of RED taken off. May be empty.
    pub payload: &'a Arc<[u8]>,
    /// Ids to write into the payload's VP8 descriptor; see [`Forward::copy_payload`].
    pub vp8: Option<vp8::Ids>,
    /// A lost packet is worth sending again.
    pub nackable: bool,
    /// From the audio level extension of the published packet.
    pub audio_level: Option<u8>,
    /// When `timestamp` was captured, on our clock: never after `now`, and on one line for all tracks of a publisher.
    /// Sender reports built from it keep lip sync.
    pub wallclock: Instant,
    /// Whether the extension values of the packet just handed in belong to it.
    pub origin: Origin,
}

impl Forward<'_> {
    /// Appends the payload to `out`, with the VP8 ids written into it.
    pub fn copy_payload(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(self.payload);
        if let (Some(ids), Some(descriptor)) = (self.vp8, vp8::Descriptor::parse(self.payload))
            && let Some(payload) = out.get_mut(start..)
        {
            descriptor.patch(payload, ids);
        }
    }
}

/// One entry of [`Event::Speakers`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speaker {
    /// The track with the voice.
    pub track: TrackId,
    /// Loudness 0.0 to 1.0 in steps of an eighth, linear.
    pub level: f32,
    /// Speaking now.
    pub active: bool,
}

/// Something to tell or to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Ask the publisher for a key frame (PLI) of one layer.
    RequestKeyframe {
        /// The track.
        track: TrackId,
        /// Index into [`TrackConfig::layers`].
        layer: usize,
    },
    /// Who changed since the last such event, loudest first; at most one every 400 ms. Also names tracks that were
    /// removed while somebody spoke on them.
    Speakers(Vec<Speaker>),
    /// A stream was paused for want of bandwidth, or goes on. Never for a mute or a wish of the subscriber.
    StreamState {
        /// The receiver.
        subscriber: PeerId,
        /// The track.
        track: TrackId,
        /// Paused now.
        paused: bool,
    },
    /// The first packet of a track has arrived, or the first one with another codec.
    FirstPacket {
        /// The track.
        track: TrackId,
        /// As published.
        codec: Codec,
    },
    /// A subscriber is now sent another layer, or none.
    LayerChanged {
        /// The receiver.
        subscriber: PeerId,
        /// The track.
        track: TrackId,
        /// Index into [`TrackConfig::layers`], `None` while nothing is sent.
        layer: Option<usize>,
    },
    /// A layer of a track began or ceased to arrive.
    LayerLive {
        /// The track.
        track: TrackId,
        /// Index into [`TrackConfig::layers`].
        layer: usize,
        /// Arriving now.
        live: bool,
    },
}

/// Why a command was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The track id is in use.
    #[error("track {0:?} exists already: remove it first or choose another id")]
    TrackExists(TrackId),
    /// No such track.
    #[error("there is no track {0:?} in this room")]
    UnknownTrack(TrackId),
    /// The room is full.
    #[error("a room forwards at most {MAX_TRACKS} tracks")]
    TooManyTracks,
    /// The track's publisher may not have more.
    #[error("a publisher may have at most {MAX_TRACKS_PER_PUBLISHER} tracks")]
    TooManyTracksOfPublisher,
    /// Too many encodings.
    #[error("a track has at most {MAX_LAYERS} layers")]
    TooManyLayers,
    /// Two encodings have the same rid, or a quality is above 2.
    #[error("layer {0:?} is invalid: rids must differ and qualities be 0 to 2")]
    InvalidLayer(String),
    /// The track has too many receivers.
    #[error("a track has at most {MAX_SUBSCRIBERS} subscribers")]
    TooManySubscribers,
    /// The peer receives the track already.
    #[error("peer {1:?} is subscribed to {0:?} already")]
    AlreadySubscribed(TrackId, PeerId),
}

/// Most tracks in one room.
pub const MAX_TRACKS: usize = 4096;
/// Most tracks of one publisher.
pub const MAX_TRACKS_PER_PUBLISHER: usize = 64;
/// Most encodings of one track.
pub const MAX_LAYERS: usize = 4;
/// Most subscribers of one track.
pub const MAX_SUBSCRIBERS: usize = 8192;

/// Counters of a room since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Tracks now.
    pub tracks: usize,
    /// Subscriptions now.
    pub subscriptions: usize,
    /// Packets handed in.
    pub packets_in: u64,
    /// Packets given out.
    pub packets_out: u64,
    /// Packets handed in for an unknown track or layer, with a codec of the wrong kind, or too late.
    pub packets_refused: u64,
    /// Packets handed in twice.
    pub packets_duplicate: u64,
    /// Key frames asked of publishers.
    pub keyframe_requests: u64,
    /// Source restarts seen: another SSRC, or a jump in sequence numbers.
    pub restarts: u64,
}

/// How one layer of a track arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerStatistics {
    /// Packets arrive now.
    pub live: bool,
    /// bit/s over the last second or so.
    pub bitrate: u64,
    /// Frames per second, over all temporal layers.
    pub fps: u32,
    /// Packets so far.
    pub packets: u64,
    /// Key frames so far.
    pub key_frames: u64,
}
