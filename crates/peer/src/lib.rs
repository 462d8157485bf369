//! One WebRTC connection, sans-IO.
