//! Frames, RTP view, resampling, mixing, colour conversion. Pure: no threads, sockets or clocks.

pub mod audio;
pub mod encryption;
pub mod jitter;
pub mod rtp;
pub mod video;
