//! RTP packets as they come in and go out.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::{Codec, Mid, Rid};

/// When a frame was captured, by its sender's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureTime {
    /// The time of capture.
    pub time: SystemTime,
    /// The estimated offset between the capturing clock and the sender's, in 2^-32 s.
    pub offset: Option<i64>,
}

/// The playout delay that the sender asks for, in hundredths of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// At least this long.
    pub min: u16,
    /// At most this long.
    pub max: u16,
}

/// The values of the header extensions that matter to whoever forwards or plays a packet. Those that concern the connection
/// itself (mid, rid, sequence numbers for congestion control) are handled by the peer and do not appear here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extensions {
    /// The loudness of the audio, in -dBov: 0 is the loudest, 127 is silence.
    pub audio_level: Option<u8>,
    /// Whether the audio contains speech.
    pub voice_activity: Option<bool>,
    /// When the frame was captured.
    pub capture_time: Option<CaptureTime>,
    /// How far the frame is to be turned: the two rotation bits of the coordination of video orientation (3GPP TS 26.114).
    pub orientation: Option<u8>,
    /// The playout delay asked for.
    pub playout_delay: Option<PlayoutDelay>,
    /// 0 for camera video, 1 for a shared screen.
    pub content_type: Option<u8>,
    /// The colour space, uninterpreted.
    pub color_space: Option<Arc<[u8]>>,
    /// The dependency descriptor (AV1, SVC), uninterpreted.
    pub dependency_descriptor: Option<Arc<[u8]>>,
    /// The allocation of bitrates to layers, uninterpreted.
    pub layers_allocation: Option<Arc<[u8]>>,
}

/// A packet from the other side, decrypted and free of duplicates. Packets may come out of order.
#[derive(Debug, Clone)]
pub struct IncomingPacket {
    /// The section it arrived on.
    pub mid: Mid,
    /// Its simulcast layer.
    pub rid: Option<Rid>,
    /// Its format. Redundant audio is handed over as it is.
    pub codec: Codec,
    /// The stream's identifier; one that was repaired by a retransmission carries the original's.
    pub ssrc: u32,
    /// The sequence number, extended over wrap-arounds.
    pub seq: u64,
    /// The RTP timestamp.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// The payload, without padding.
    pub payload: Arc<[u8]>,
    /// The header extensions.
    pub extensions: Extensions,
    /// When it arrived.
    pub received: Instant,
}

/// New values for the fields of a VP8 payload descriptor. A field that the descriptor lacks is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vp8Rewrite {
    /// The picture id: 15 bits, or the lowest 7 of them if the descriptor holds only 7.
    pub picture_id: Option<u16>,
    /// The running index of base layer frames.
    pub tl0_pic_idx: Option<u8>,
    /// The key frame index, 5 bits.
    pub key_idx: Option<u8>,
}

/// A packet to send on an attached track.
#[derive(Debug, Clone)]
pub struct OutgoingPacket {
    /// The key of the track.
    pub key: u64,
    /// The simulcast layer, if the track has layers.
    pub rid: Option<Rid>,
    /// The format; must be among the section's codecs.
    pub codec: Codec,
    /// The sequence number, extended over wrap-arounds. Start below 65536.
    pub seq: u64,
    /// The RTP timestamp.
    pub timestamp: u32,
    /// The instant to which the timestamp belongs, on a time line common to all tracks that are played in sync. Sender reports
    /// are made from it. An instant later than now counts as now.
    pub wallclock: Instant,
    /// The marker bit.
    pub marker: bool,
    /// The payload.
    pub payload: Arc<[u8]>,
    /// Whether to keep the packet for retransmission; without effect where no retransmission was negotiated.
    pub nackable: bool,
    /// The header extensions; those that were not negotiated are left out.
    pub extensions: Extensions,
    /// Changes to the VP8 payload descriptor, made while the packet is written.
    pub vp8: Option<Vp8Rewrite>,
}
