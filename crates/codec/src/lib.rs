//! Opus, VP8 and H.264 behind safe types, and the payload formats that carry them over RTP.
//!
//! * [`opus`]: encoder and decoder with in-band FEC, DTX and loss concealment.
//! * [`playout`]: the receiving end of an audio track: jitter buffer, decoder and time stretching in one.
//! * [`video`]: encoder and decoder for [`VideoCodec::Vp8`] and [`VideoCodec::H264`].
//! * [`packetize`]: frames to RTP payloads.
//!
//! This crate is the only one that talks to C. Nothing in it blocks, keeps a clock or starts a thread (unless an
//! encoder is asked for more than one), and no input, however damaged, does more than return a [`CodecError`].

pub mod opus;
pub mod packetize;
pub mod playout;
pub mod video;

mod error;
mod h264;
mod image;
mod stretch;
mod vp8;

pub use error::CodecError;
pub use greenroom_media::jitter::VideoCodec;
pub use image::I420Ref;

/// What every fallible function of this crate returns.
pub type Result<T> = std::result::Result<T, CodecError>;
