//! What video senders encode: how often at most, and how often at least.

use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroom_engine::{
    ClientPeerOptions, Engine, LayerOptions, SenderOptions, SenderSource, SenderStatistics, VideoSource,
    codec_from_name,
};
use greenroom_media::video::VideoFormat;

const PATIENCE: Duration = Duration::from_secs(20);
const PEER: u64 = 1;
const SOURCE: u64 = 2;
const OTHER_SOURCE: u64 = 3;
const SIZE: (u32, u32) = (64, 48);

/// An engine with a client that has a source. Nobody is at the other end: packets are made and go nowhere.
fn studio(is_screencast: bool) -> (Engine, Arc<VideoSource>) {
    let engine = Engine::new("test").unwrap();
    let source = Arc::new(VideoSource::new(SIZE.0, SIZE.1, is_screencast));
    let known = Arc::clone(&source);
    engine
        .run(PEER, move |world| {
            world.open_client_peer(PEER, ClientPeerOptions { sockets: Vec::new(), data_channels: false });
            world.add_video_source(SOURCE, known);
        })
        .unwrap();
    (engine, source)
}

fn publish(engine: &Engine, source: (u64, &Arc<VideoSource>), sender: u64, codec: &str, layers: &[(&str, u32)]) {
    let layers = layers.iter().map(|(rid, fps)| LayerOptions {
        rid: (*rid).to_owned(),
        width: 0,
        height: 0,
        bitrate: 100_000,
        fps: *fps,
    });
    let options = SenderOptions {
        cid: format!("cid-{sender}"),
        stream_id: "-".to_owned(),
        codec: codec_from_name(codec).unwrap(),
        bitrate: 100_000,
        fps: 30,
        layers: layers.collect(),
        dtx: false,
        red: false,
    };
    let source = SenderSource::Video(source.0, Arc::clone(source.1));
    engine.run(PEER, move |world| world.add_sender(PEER, sender, &source, options)).unwrap();
}

fn capture(source: &VideoSource, shade: u8) {
    let data = vec![shade; (SIZE.0 * SIZE.1 * 4) as usize];
    source.capture(VideoFormat::Rgba, SIZE, &data, 0, 0).unwrap();
}

fn statistics(engine: &Engine, sender: u64) -> SenderStatistics {
    engine.ask(move |world| world.sender_statistics(sender)).unwrap().unwrap()
}

fn until(engine: &Engine, sender: u64, wanted: impl Fn(&SenderStatistics) -> bool) -> SenderStatistics {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let figures = statistics(engine, sender);
        if wanted(&figures) {
            return figures;
        }
        assert!(Instant::now() < deadline, "{figures:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_still_picture_is_sent_again_at_every_encoding_and_counted_apart() {
    // In the long run 2.5 times a second at the lowest encoding, and at the two others 12.5 times, or 20 where it costs no
    // encoding: not more often, however slow this machine is.
    for (codec, rate) in [("vp8", 42.5), ("h264", 27.5)] {
        let (engine, source) = studio(false);
        publish(&engine, (SOURCE, &source), 10, codec, &[("q", 20), ("h", 20), ("f", 30)]);
        publish(&engine, (SOURCE, &source), 11, codec, &[("q", 20)]);
        let begin = Instant::now();
        capture(&source, 90);
        let figures = until(&engine, 10, |figures| figures.repeats >= 40);
        let lowest = statistics(&engine, 11);
        assert_eq!((figures.frames, lowest.frames), (3, 1), "{codec}");
        assert!(lowest.repeats >= 2 && lowest.repeats < figures.repeats / 6, "{codec}: {lowest:?} {figures:?}");
        let most = begin.elapsed().as_secs_f64() * rate + 15.0;
        assert!((figures.repeats as f64) < most, "{codec}: {figures:?} above {most}");
        capture(&source, 160);
        until(&engine, 10, |figures| figures.frames == 6);
    }
}

#[test]
fn a_still_screen_is_sent_again_every_second() {
    let (engine, source) = studio(true);
    publish(&engine, (SOURCE, &source), 10, "vp8", &[("q", 3), ("f", 15)]);
    let begin = Instant::now();
    capture(&source, 90);
    let figures = until(&engine, 10, |figures| figures.repeats >= 4);
    assert!(figures.frames == 2 && begin.elapsed() >= Duration::from_secs(2), "{figures:?}");
}

#[test]
fn what_is_muted_or_closed_is_not_sent_again() {
    let (engine, source) = studio(false);
    for sender in [10, 11] {
        publish(&engine, (SOURCE, &source), sender, "vp8", &[("h", 30), ("f", 30)]);
    }
    capture(&source, 90);
    until(&engine, 10, |figures| figures.repeats >= 5);
    engine.run(PEER, |world| world.mute_sender(10, true)).unwrap();
    let muted = statistics(&engine, 10);
    let other = statistics(&engine, 11).repeats;
    until(&engine, 11, |figures| figures.repeats >= other + 20);
    assert!(statistics(&engine, 10).repeats <= muted.repeats + 2, "one may have been under way at each encoding");
    engine.run(PEER, |world| world.mute_sender(10, false)).unwrap();
    until(&engine, 10, |figures| figures.repeats >= muted.repeats + 5);

    source.close();
    let closed = until(&engine, 11, |figures| figures.repeats > other);
    let begin = Instant::now();
    // A source of another sender tells how much time has passed.
    let next = Arc::new(VideoSource::new(SIZE.0, SIZE.1, false));
    let known = Arc::clone(&next);
    engine.run(PEER, move |world| world.add_video_source(OTHER_SOURCE, known)).unwrap();
    publish(&engine, (OTHER_SOURCE, &next), 12, "vp8", &[("q", 30)]);
    capture(&next, 90);
    until(&engine, 12, |figures| figures.repeats >= 2);
    assert!(begin.elapsed() >= Duration::from_millis(700));
    assert!(statistics(&engine, 11).repeats <= closed.repeats + 4);
}

#[test]
fn an_encoding_keeps_to_its_frame_rate() {
    let (engine, source) = studio(false);
    publish(&engine, (SOURCE, &source), 10, "vp8", &[("h", 10), ("f", 200)]);
    publish(&engine, (SOURCE, &source), 11, "vp8", &[("q", 10)]);
    let begin = Instant::now();
    for number in 0..150_u8 {
        capture(&source, number);
        std::thread::sleep(Duration::from_millis(10));
    }
    let allowed = begin.elapsed().as_secs_f64() * 10.0 + 2.0;
    let limited = until(&engine, 11, |figures| figures.frames >= 8);
    assert!((limited.frames as f64) <= allowed, "{limited:?} above {allowed}");
    let both = until(&engine, 10, |figures| figures.frames >= 60);
    assert!(both.frames > 3 * limited.frames, "{both:?} {limited:?}");
}
