//! Milliseconds of one thread per frame: `cargo bench -p greenroom-codec`.
#![allow(clippy::print_stdout, missing_docs)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::{Scene, psnr, sine};
use greenroom_codec::video::{Options, VideoDecoder, VideoEncoder};
use greenroom_codec::{I420Ref, VideoCodec, opus};

const FRAMES: usize = 150;
const FPS: f64 = 30.0;

fn main() {
    println!("{:<22}{:>9}{:>9}{:>9}{:>11}{:>9}", "video", "encode", "decode", "cores", "kbit/s", "PSNR");
    for codec in [VideoCodec::Vp8, VideoCodec::H264] {
        for (width, height, bitrate) in [(1280, 720, 1_700_000), (640, 360, 500_000), (320, 180, 160_000)] {
            video(codec, width, height, bitrate);
        }
    }
    audio();
}

fn video(codec: VideoCodec, width: u32, height: u32, bitrate: u32) {
    let scene = Scene::new(width as usize, height as usize);
    let pictures: Vec<_> = (0..FRAMES).map(|index| scene.picture(index)).collect();
    let options = Options { width, height, bitrate, fps: FPS as f32, ..Options::default() };
    let mut encoder = VideoEncoder::new(codec, options).unwrap();
    let mut decoder = VideoDecoder::new(codec).unwrap();
    let (mut encoding, mut decoding) = (Duration::ZERO, Duration::ZERO);
    let (mut bytes, mut quality, mut shown) = (0, 0.0, 0);
    for (index, picture) in pictures.iter().enumerate() {
        let image = I420Ref::from_packed(width, height, picture).unwrap();
        let start = Instant::now();
        let frame = encoder.encode(image, false, Duration::from_secs_f64(index as f64 / FPS)).unwrap();
        encoding += start.elapsed();
        let Some(frame) = frame else { continue };
        bytes += frame.data.len();
        let start = Instant::now();
        let decoded = decoder.decode(&frame.data).unwrap();
        decoding += start.elapsed();
        quality += psnr(&decoded.unwrap(), &image);
        shown += 1;
    }
    let [encode, decode] = [encoding, decoding].map(|time| time.as_secs_f64() * 1e3 / FRAMES as f64);
    println!(
        "{:<22}{encode:>6.2} ms{decode:>6.2} ms{:>9.3}{:>11.0}{:>6.1} dB  {shown}/{FRAMES} frames",
        format!("{codec:?} {width}x{height}"),
        (encode + decode) * FPS / 1e3,
        bytes as f64 * 8.0 / 1e3 / (FRAMES as f64 / FPS),
        quality / f64::from(shown),
    );
}

fn audio() {
    let pcm = sine(440.0, 48_000, 960, 1, 0.3);
    let mut encoder = opus::Encoder::new(48_000, 1, opus::Options::default()).unwrap();
    let mut decoder = opus::Decoder::new(48_000, 1).unwrap();
    let (mut packet, mut out) = (Vec::new(), Vec::new());
    let (mut encoding, mut decoding) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..500 {
        let start = Instant::now();
        encoder.encode(&pcm, &mut packet).unwrap();
        encoding += start.elapsed();
        let start = Instant::now();
        decoder.decode(&packet, &mut out).unwrap();
        decoding += start.elapsed();
    }
    let [encode, decode] = [encoding, decoding].map(|time| time.as_secs_f64() * 1e3 / 500.0);
    println!("Opus 20 ms mono       {encode:>6.3} ms{decode:>6.3} ms{:>9.4}", (encode + decode) * 50.0 / 1e3);
}
