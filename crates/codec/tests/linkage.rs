//! The codecs bring no shared library with them, so that a wheel runs where nothing but the C library is installed.
#![cfg(target_os = "linux")]

use greenroom_codec::video::VideoDecoder;
use greenroom_codec::{VideoCodec, opus};

#[test]
fn no_codec_library_is_loaded() {
    let _opus = opus::Decoder::new(48_000, 2).unwrap();
    let _vp8 = VideoDecoder::new(VideoCodec::Vp8).unwrap();
    let _h264 = VideoDecoder::new(VideoCodec::H264).unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libraries: Vec<_> =
        maps.lines().filter_map(|line| line.rsplit('/').next()).filter(|name| name.contains(".so")).collect();
    assert!(libraries.iter().any(|name| name.starts_with("libc.so")), "{libraries:?}");
    for name in ["vpx", "opus", "openh264", "stdc++"] {
        assert!(!libraries.iter().any(|library| library.contains(name)), "lib{name} is loaded: {libraries:?}");
    }
}
