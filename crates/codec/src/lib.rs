//! Opus, VP8 and H.264 behind safe types.
