//! One room's forwarding, sans-IO: layers, rewriting, key frames, speakers, allocation.
//!
//! [`Room`] is told the time and given the packets of publishers; it gives back the packets of subscribers and events.
//! It allocates nothing per forwarded packet: payloads are shared.
//!
//! What a subscriber receives of a track is one RTP stream, whatever happens at its source:
//!
//! * **Sequence numbers** are contiguous over everything that is sent. A packet dropped on purpose leaves no gap. A
//!   packet that is missing leaves one, so that the receiver can ask for it, and is sent with that number when it turns
//!   up within 1024 packets; if it turns out to be one to drop, an empty packet fills its place.
//! * **Timestamps** go on across layers, restarts, mutes and pauses by the time that passed at the publisher.
//! * **VP8 ids** are contiguous over layer switches and dropped temporal layers.
//! * **Layers** change at a key frame of the new one only; a layer that ceases to arrive is given up at once.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::panic
    )
)]

mod allocation;
mod clock;
mod delivery;
mod keyframes;
mod layer;
mod mapping;
mod rate;
mod recent;
mod room;
mod speakers;
mod subscription;
mod timers;
mod track;
mod types;
mod window;

pub use greenroom_media::rtp::vp8::Ids as Vp8Ids;
pub use room::Room;
pub use types::*;
