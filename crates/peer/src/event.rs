//! What comes out of a peer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;

use crate::{IncomingPacket, Mid, Proto, Rid};

/// What [`Peer::poll`](crate::Peer::poll) returns.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// Something happened.
    Event(Event),
    /// Nothing more for now: wait for a datagram, but call [`Peer::handle_timeout`](crate::Peer::handle_timeout) at this
    /// instant at the latest. It always lies after the last instant that the peer was told.
    Timeout(Instant),
}

/// A datagram to send.
#[derive(Debug)]
pub struct Transmit {
    /// The transport. Over TCP the caller frames the data.
    pub proto: Proto,
    /// The local address to send from.
    pub source: SocketAddr,
    /// The address to send to.
    pub destination: SocketAddr,
    /// The data.
    pub data: Vec<u8>,
}

impl Transmit {
    pub(crate) fn from_library(transmit: str0m::net::Transmit) -> Transmit {
        Transmit {
            proto: Proto::from_library(transmit.proto),
            source: transmit.source,
            destination: transmit.destination,
            data: transmit.contents.into(),
        }
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The other side said good-bye.
    Remote,
    /// [`Peer::close`](crate::Peer::close) was called.
    Local,
    /// The connection failed beyond repair.
    Failed(String),
}

/// How a track of the other side relates its RTP timestamps to its wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// The section.
    pub mid: Mid,
    /// The simulcast layer.
    pub rid: Option<Rid>,
    /// The sender's wall clock.
    pub wallclock: SystemTime,
    /// The RTP timestamp at that time.
    pub timestamp: u32,
    /// When the report arrived.
    pub received: Instant,
}

/// Something that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection is up and secured: media and data may flow. Comes once.
    Connected,
    /// The other side cannot be reached any more. The connection may come back by itself or by an ICE restart; how long to
    /// wait is the caller's decision.
    Disconnected,
    /// The other side can be reached again.
    Reconnected,
    /// The connection is over. Nothing follows.
    Closed(CloseReason),
    /// A packet arrived.
    Rtp(IncomingPacket),
    /// The other side needs a key frame of one of our tracks.
    KeyframeRequest {
        /// The track's key.
        key: u64,
        /// The simulcast layer.
        rid: Option<Rid>,
    },
    /// A sender report arrived.
    SenderReport(SenderReport),
    /// A data channel is open.
    DataOpen {
        /// Its label.
        label: Arc<str>,
    },
    /// A message arrived on a data channel.
    Data {
        /// The channel's label.
        label: Arc<str>,
        /// Whether it was sent as binary, not as text.
        binary: bool,
        /// The message.
        payload: Bytes,
    },
    /// A channel that had refused a message takes messages again.
    DataLow {
        /// The channel's label.
        label: Arc<str>,
    },
    /// A data channel was closed.
    DataClosed {
        /// Its label.
        label: Arc<str>,
    },
    /// How much the way to the other side carries, as far as it is known: a limit when the other side complains of
    /// congestion, and [`NO_LIMIT`](crate::NO_LIMIT) when it is worth trying again.
    Bandwidth {
        /// Bits per second.
        bitrate: u64,
    },
}
