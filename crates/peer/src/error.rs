//! What can go wrong.

use thiserror::Error;

/// The reason why a call on a [`Peer`](crate::Peer) failed. The peer lives on unless [`PeerError::Closed`] is returned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The session description cannot be used.
    #[error("unusable session description: {0}")]
    InvalidSdp(String),
    /// The candidate cannot be used.
    #[error("unusable candidate: {0}")]
    InvalidCandidate(String),
    /// The configuration cannot be used.
    #[error("unusable configuration: {0}")]
    InvalidConfig(String),
    /// An answer came, but no offer of ours is outstanding.
    #[error("there is no outstanding offer to answer")]
    NoOffer,
    /// No track is attached under this key.
    #[error("no track is attached under key {0}")]
    UnknownKey(u64),
    /// There is no data channel of this label yet.
    #[error("there is no data channel {0:?}")]
    UnknownChannel(String),
    /// The message is larger than the other side accepts.
    #[error("a message of {size} bytes exceeds the limit of {limit}")]
    MessageTooLarge {
        /// The size of the message, in bytes.
        size: usize,
        /// The most that can be sent, in bytes.
        limit: usize,
    },
    /// The message is empty, which the data channel cannot convey.
    #[error("an empty message cannot be sent")]
    EmptyMessage,
    /// The connection has ended.
    #[error("the connection is closed")]
    Closed,
    /// Something failed that should not have.
    #[error("internal error: {0}")]
    Internal(String),
}
