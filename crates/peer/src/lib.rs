//! One WebRTC connection, sans-IO.
//!
//! A [`Peer`] holds ICE, DTLS, SRTP, RTP and SCTP of one connection together with the conventions of the LiveKit protocol:
//! which stream and track identifiers stand in which section, spare receive-only sections, the three data channels. It
//! owns no socket, no thread and no clock: datagrams and the time go in, and [`Peer::poll`] tells what comes out.
//!
//! # Driving a peer
//!
//! 1. After *every* call that changes something (a datagram, a time-out, a negotiation, a batch of [`Peer::send`]), call
//!    [`Peer::poll`] until it returns [`Output::Timeout`].
//! 2. Call [`Peer::handle_timeout`] at that instant at the latest.
//!
//! Any number of [`Peer::send`] and [`Peer::send_data`] calls may precede one round of [`Peer::poll`]: the first `poll` after
//! them flushes the whole batch.
//!
//! # Roles
//!
//! [`Role::Server`] is ICE-lite. It answers offers (the single connection, and the publisher's half of the dual mode) or makes
//! them (the subscriber's half). [`Role::Client`] does full ICE, and also does either.

mod answering;
mod channels;
mod config;
mod congestion;
mod error;
mod event;
mod extension;
mod feedback;
mod inbound;
mod negotiation;
mod offering;
mod packet;
mod payload;
mod peer;
mod section;
mod sending;
mod statistics;
mod stun;

pub use config::{Candidate, Certificate, PeerConfig, Proto, Role, TcpType};
pub use congestion::NO_LIMIT;
pub use error::PeerError;
pub use event::{CloseReason, Event, Output, SenderReport, Transmit};
pub use packet::{CaptureTime, Extensions, IncomingPacket, OutgoingPacket, PlayoutDelay, Vp8Rewrite};
pub use peer::Peer;
pub use section::{Codec, Description, MediaKind, Mid, Missing, OfferOptions, Outgoing, Preference, Rid, Section};
pub use statistics::{IncomingStatistics, OutgoingStatistics, Statistics};
pub use stun::stun_ufrag;
