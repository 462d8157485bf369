//! What turns packets that come late, twice, out of order or not at all into media that can be decoded in order.
//!
//! * [`audio`]: a delay buffer that adapts itself to the arrival jitter of one Opus stream.
//! * [`video`]: puts the packets of one VP8 or H.264 stream together to frames.
//!
//! Both are machines without a clock: the caller says what time it is.

pub mod audio;
mod delay;
mod payload;
pub mod video;

pub use payload::{Depacketizer, PayloadError, PayloadShape, h264_has_idr, h264_units};

/// A video codec whose packets can be put together and whose frames can be coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoCodec {
    /// VP8, RFC 6386 in RFC 7741 payloads.
    Vp8,
    /// H.264 constrained baseline and its relatives in RFC 6184 payloads (packetization mode 0 and 1).
    H264,
}
