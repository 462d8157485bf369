//! Video: layers, key frames, temporal layers, loss.

mod common;

use std::time::Duration;

use common::judge::{Verdict, judge};
use common::source::Vp8Layer;
use common::{ALICE, BOB, PUBLISHER, Stage, TRACK, layers, ms};
use greenroom_sfu::{Codec, Event, Origin, PeerId, SubscriberCodecs, TrackConfig};

/// A camera that sends some of its layers and answers key frame requests after 30 ms.
struct Camera {
    layers: Vec<Vp8Layer>,
    active: Vec<bool>,
    frames: u64,
    keys: Vec<(Duration, usize)>,
}

const FRAME: u64 = 33_333;

impl Camera {
    fn new(count: u8) -> Camera {
        Camera {
            layers: (0..count).map(Vp8Layer::new).collect(),
            active: vec![true; count.into()],
            frames: 0,
            keys: Vec::new(),
        }
    }

    /// Films for `time`, 30 frames per second.
    fn film(&mut self, stage: &mut Stage, time: Duration) {
        let until = stage.now + time;
        loop {
            let at = Duration::from_micros(self.frames * FRAME);
            if at >= until {
                stage.advance_to(until);
                return;
            }
            self.frames += 1;
            stage.advance_to(at);
            for index in 0..self.layers.len() {
                if self.active[index] {
                    self.send(stage, index, at);
                }
            }
            self.answer(stage);
        }
    }

    fn send(&mut self, stage: &mut Stage, index: usize, at: Duration) {
        for packet in self.layers[index].frame(at) {
            stage.packet(TRACK, index, &packet);
        }
    }

    fn answer(&mut self, stage: &mut Stage) {
        for layer in stage.take_requests() {
            self.keys.push((stage.now, layer));
            if let Some(layer) = self.layers.get_mut(layer) {
                layer.key_next = true;
            }
        }
    }

    /// Skips the frames of a time without sending.
    fn skip(&mut self, stage: &mut Stage, time: Duration) {
        let until = stage.now + time;
        stage.advance_to(until);
        while Duration::from_micros(self.frames * FRAME) < until {
            self.frames += 1;
        }
        self.answer(stage);
    }
}

/// A camera with three layers, published.
fn simulcast() -> (Stage, Camera) {
    (Stage::simulcast(), Camera::new(3))
}

/// The same, and Alice is subscribed.
fn watched_by_alice() -> (Stage, Camera) {
    let (mut stage, camera) = simulcast();
    stage.subscribe(ALICE);
    (stage, camera)
}

/// What Alice got, without a fault.
fn flawless(stage: &Stage) -> Verdict {
    let verdict = judge(&stage.received(ALICE));
    verdict.expect_flawless();
    verdict
}

#[test]
fn a_subscriber_gets_the_best_layer_unchanged_and_whole() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(2000));
    let received = stage.received(ALICE);
    let verdict = judge(&received);
    verdict.expect_flawless();
    verdict.expect_timeline(2);
    assert_eq!(verdict.layers().last(), Some(&2));
    assert!(verdict.frames.len() >= 59);
    assert!(received.iter().all(|sent| sent.nackable && sent.origin == Origin::Live));
    assert!(received[0].seq < 1 << 15);
    assert_eq!(stage.current_layer(ALICE), Some(2));
}

#[test]
fn a_late_joiner_starts_with_a_key_frame_and_then_climbs_to_its_layer() {
    let (mut stage, mut camera) = simulcast();
    camera.film(&mut stage, ms(3000));
    stage.subscribe(ALICE);
    camera.film(&mut stage, ms(1000));
    let received = stage.received(ALICE);
    assert!(received[0].at <= ms(3100), "the first packet came at {:?}", received[0].at);
    let verdict = judge(&received);
    verdict.expect_flawless();
    assert_eq!(verdict.layers().last(), Some(&2));
}

#[test]
fn a_joiner_right_after_a_key_frame_is_served_from_the_history_at_once_and_is_not_behind() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(700));
    let requests = camera.keys.len();
    stage.subscribe(BOB);
    stage.advance(ms(1));
    let received = stage.received(BOB);
    assert!(received.len() > 20, "{} packets", received.len());
    assert!(received.iter().all(|sent| sent.origin == Origin::Replayed));
    let spread = received[received.len() - 1].timestamp.wrapping_sub(received[0].timestamp);
    assert!(spread < 9_000, "replayed frames spread over {spread} ticks");
    camera.film(&mut stage, ms(1000));
    assert_eq!(camera.keys.len(), requests, "no key frame was needed");
    let verdict = judge(&stage.received(BOB));
    verdict.expect_flawless();
    verdict.expect_timeline(1);
}

#[test]
fn switching_layers_waits_for_a_key_frame_and_leaves_no_seam() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(2000));
    for quality in [0, 2, 1, 0, 1, 2] {
        stage.set(ALICE, false, quality, 0);
        camera.film(&mut stage, ms(1500));
        assert_eq!(stage.current_layer(ALICE), Some(usize::from(quality)));
    }
    let verdict = flawless(&stage);
    // The layers have unrelated timestamps; only sender reports relate them.
    verdict.expect_timeline(90);
}

#[test]
fn a_layer_that_lags_behind_the_others_does_not_push_the_timeline_further_at_each_switch() {
    let mut stage = Stage::simulcast();
    let mut layers: Vec<Vp8Layer> = (0..3).map(Vp8Layer::new).collect();
    stage.subscribe(ALICE);
    for number in 0..1200_u32 {
        stage.advance_to(Duration::from_micros(u64::from(number) * FRAME));
        if number % 60 == 0 {
            stage.set(ALICE, false, if number % 120 == 0 { 2 } else { 0 }, 0);
        }
        // The high layer needs 100 ms more than the low one from the camera to the server.
        for (index, behind) in [(0, 0), (2, 3)] {
            if let Some(number) = number.checked_sub(behind) {
                for packet in layers[index].frame(Duration::from_micros(u64::from(number) * FRAME)) {
                    stage.packet(TRACK, index, &packet);
                }
            }
        }
        for layer in stage.take_requests() {
            layers[layer].key_next = true;
        }
    }
    let verdict = flawless(&stage);
    assert!(verdict.layers().len() >= 18, "{:?}", verdict.layers());
    verdict.expect_timeline(9_000 + 90);
    // Each packet's wallclock says when it was captured, whatever its timestamp had to be.
    for sent in stage.received(ALICE) {
        let label = common::source::Label::read(&sent.payload[sent.vp8().len + 1..]);
        let error = sent.wallclock.as_micros() as i64 - label.captured as i64;
        // A report is seen with the packet after it, up to a frame late; all tracks of a publisher are off alike.
        assert!((-1_000..=FRAME as i64 + 2_000).contains(&error), "{label:?} is said to be captured {error} us off");
    }
}

#[test]
fn late_key_frames_do_not_push_the_timeline_when_sender_reports_tell_better() {
    let mut stage = Stage::simulcast();
    let mut layers: Vec<Vp8Layer> = (0..3).map(Vp8Layer::new).collect();
    stage.subscribe(ALICE);
    for number in 0..1200_u32 {
        let at = Duration::from_micros(u64::from(number) * FRAME);
        // The first frames of a layer, large as they are, take 25 ms longer than the others.
        stage.advance_to(if number % 60 == 1 { at + ms(25) } else { at });
        for (index, layer) in layers.iter_mut().enumerate() {
            for packet in layer.frame(at) {
                stage.packet(TRACK, index, &packet);
            }
        }
        if number % 60 == 0 {
            stage.set(ALICE, false, if number % 120 == 0 { 2 } else { 0 }, 0);
        }
        for layer in stage.take_requests() {
            layers[layer].key_next = true;
        }
    }
    let verdict = flawless(&stage);
    assert!(verdict.layers().len() >= 18, "{:?}", verdict.layers());
    verdict.expect_timeline(450);
}

#[test]
fn without_sender_reports_arrival_times_relate_the_layers() {
    let (mut stage, mut camera) = simulcast();
    camera.layers.iter_mut().for_each(|layer| layer.reports = false);
    stage.subscribe(ALICE);
    for quality in [2, 0, 2, 1] {
        stage.set(ALICE, false, quality, 0);
        camera.film(&mut stage, ms(1500));
    }
    let verdict = flawless(&stage);
    verdict.expect_timeline(90);
}

#[test]
fn a_layer_that_is_never_sent_is_not_waited_for() {
    let (mut stage, mut camera) = simulcast();
    camera.active = vec![true, false, false];
    stage.subscribe(ALICE);
    camera.film(&mut stage, ms(3000));
    let verdict = flawless(&stage);
    assert_eq!(verdict.layers(), [0]);
    assert!(verdict.frames.len() >= 89);
    assert!(camera.keys.iter().all(|&(_, layer)| layer == 0), "{:?}", camera.keys);
    // And when it comes after all, it is taken.
    camera.active = vec![true, true, true];
    camera.film(&mut stage, ms(1000));
    assert_eq!(stage.current_layer(ALICE), Some(2));
    judge(&stage.received(ALICE)).expect_flawless();
}

#[test]
fn a_layer_that_dies_is_left_within_a_second() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(5000));
    assert_eq!(stage.current_layer(ALICE), Some(2));
    camera.active[2] = false;
    let died = stage.now;
    camera.film(&mut stage, ms(1000));
    let next = stage.received(ALICE).into_iter().find(|sent| sent.at >= died).expect("a packet after").at;
    assert!(next - died <= ms(850), "dark for {:?}", next - died);
    assert_eq!(stage.current_layer(ALICE), Some(1));
    flawless(&stage);
    // It comes back with a key frame, as encoders do.
    camera.active[2] = true;
    camera.layers[2].key_next = true;
    camera.film(&mut stage, ms(500));
    assert_eq!(stage.current_layer(ALICE), Some(2));
    judge(&stage.received(ALICE)).expect_flawless();
}

#[test]
fn a_still_picture_does_not_kill_its_layers() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(2000));
    camera.skip(&mut stage, ms(60_000));
    assert_eq!(stage.current_layer(ALICE), Some(2));
    camera.film(&mut stage, ms(500));
    let verdict = flawless(&stage);
    verdict.expect_timeline(90);
}

#[test]
fn a_frame_rate_limit_drops_temporal_layers_without_a_trace() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(2000));
    for (fps, expected) in [(15, 15), (8, 8), (15, 15), (0, 30), (1, 8), (30, 30)] {
        stage.set(ALICE, false, 2, fps);
        camera.film(&mut stage, ms(300));
        let before = judge(&stage.received(ALICE)).frames.len();
        camera.film(&mut stage, ms(4000));
        let verdict = judge(&stage.received(ALICE));
        verdict.expect_flawless();
        let rate = (verdict.frames.len() - before) / 4;
        assert!(rate.abs_diff(expected) <= 1, "{rate} frames per second where {fps} were asked for");
    }
}

#[test]
fn a_packet_that_was_lost_upstream_leaves_a_gap_and_fills_it_when_it_comes() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(1000));
    let at = Duration::from_micros(camera.frames * FRAME);
    camera.frames += 1;
    stage.advance_to(at);
    let packets = camera.layers[2].frame(at);
    stage.packet(TRACK, 2, &packets[0]);
    stage.packet(TRACK, 2, &packets[2]);
    camera.film(&mut stage, ms(100));
    assert_eq!(judge(&stage.received(ALICE)).missing, 1);
    stage.packet(TRACK, 2, &packets[1]);
    stage.packet(TRACK, 2, &packets[1]);
    flawless(&stage);
    assert_eq!(stage.room.statistics().packets_duplicate, 1);
}

#[test]
fn the_place_of_a_lost_packet_of_a_dropped_frame_is_filled_with_nothing() {
    let mut stage = Stage::simulcast();
    let mut camera = Camera::new(1);
    camera.layers[0].packets_per_frame = 3;
    stage.subscribe(ALICE);
    camera.film(&mut stage, ms(2000));
    stage.set(ALICE, false, 2, 8);
    camera.film(&mut stage, ms(2000));
    // Lose the first packet of a frame of temporal layer 2: its place is kept, as it might belong to what is kept.
    let mut lost = None;
    for _ in 0..8 {
        let at = Duration::from_micros(camera.frames * FRAME);
        camera.frames += 1;
        stage.advance_to(at);
        let packets = camera.layers[0].frame(at);
        let temporal = greenroom_media::rtp::FrameInfo::parse(Codec::Vp8, &packets[0].payload).temporal;
        let skip = lost.is_none() && temporal == Some(2);
        for packet in packets.iter().skip(usize::from(skip)) {
            stage.packet(TRACK, 0, packet);
        }
        if skip {
            lost = Some(packets[0].clone());
        }
    }
    assert_eq!(judge(&stage.received(ALICE)).missing, 1);
    stage.packet(TRACK, 0, &lost.expect("a frame of layer 2"));
    let verdict = judge(&stage.received(ALICE));
    assert_eq!((verdict.missing, verdict.fillers), (0, 1));
    verdict.expect_flawless();
    let filler = stage.received(ALICE).into_iter().find(|sent| sent.payload.is_empty()).expect("a filler").clone();
    assert_eq!((filler.origin, filler.marker), (Origin::Made, false));
}

#[test]
fn padding_only_packets_are_not_forwarded() {
    let mut stage = Stage::simulcast();
    let mut camera = Camera::new(1);
    stage.subscribe(ALICE);
    for _ in 0..20 {
        camera.film(&mut stage, ms(100));
        let padding = camera.layers[0].padding(stage.now);
        stage.packet(TRACK, 0, &padding);
    }
    let verdict = flawless(&stage);
    assert_eq!(verdict.fillers, 0);
}

#[test]
fn packets_older_than_the_window_are_dropped() {
    let mut stage = Stage::simulcast();
    let mut camera = Camera::new(1);
    stage.subscribe(ALICE);
    camera.film(&mut stage, ms(1000));
    let at = stage.now;
    let lost = camera.layers[0].frame(at);
    camera.frames += 1;
    for _ in 0..40 {
        camera.film(&mut stage, ms(1000));
    }
    let before = stage.sent.len();
    stage.packet(TRACK, 0, &lost[0]);
    assert_eq!(stage.sent.len(), before);
    assert_eq!(judge(&stage.received(ALICE)).missing, 1);
}

#[test]
fn pause_and_resume_go_on_by_the_time_that_passed() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(2000));
    stage.set(ALICE, true, 2, 0);
    let paused = stage.now;
    camera.film(&mut stage, ms(5000));
    assert!(stage.received(ALICE).iter().all(|sent| sent.at <= paused));
    stage.set(ALICE, false, 2, 0);
    camera.film(&mut stage, ms(2000));
    let verdict = flawless(&stage);
    verdict.expect_timeline(90);
    assert_eq!(verdict.layers().last(), Some(&2));
}

#[test]
fn mute_and_unmute_go_on_by_the_time_that_passed() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(2000));
    stage.mute(true);
    let muted = stage.now;
    camera.film(&mut stage, ms(1000));
    camera.skip(&mut stage, ms(20_000));
    assert!(stage.received(ALICE).iter().all(|sent| sent.at <= muted));
    stage.mute(false);
    camera.answer(&mut stage);
    camera.film(&mut stage, ms(2000));
    let verdict = flawless(&stage);
    verdict.expect_timeline(90);
    assert_eq!(verdict.layers().last(), Some(&2));
}

#[test]
fn a_publisher_that_restarts_its_stream_is_followed_from_its_key_frame() {
    let (mut stage, mut camera) = watched_by_alice();
    camera.film(&mut stage, ms(2000));
    let stale = camera.layers[2].frame(stage.now);
    for (index, layer) in camera.layers.iter_mut().enumerate() {
        layer.restart(40_000 + index as u32);
    }
    camera.frames += 1;
    camera.film(&mut stage, ms(500));
    let before = stage.sent.len();
    stage.packet(TRACK, 2, &stale[0]);
    assert_eq!(stage.sent.len(), before, "the replaced stream is over");
    camera.film(&mut stage, ms(1500));
    let verdict = flawless(&stage);
    verdict.expect_timeline(90);
    assert!(verdict.frames.len() >= 115);
    assert_eq!(stage.room.statistics().restarts, 3);
}

#[test]
fn sequence_numbers_that_start_over_on_the_same_stream_are_a_restart() {
    let mut stage = Stage::simulcast();
    let mut camera = Camera::new(1);
    stage.subscribe(ALICE);
    camera.film(&mut stage, ms(2000));
    camera.layers[0].seq = 10;
    camera.film(&mut stage, ms(2000));
    assert_eq!(stage.room.statistics().restarts, 1);
    judge(&stage.received(ALICE)).expect_flawless();
    camera.layers[0].seq += 40_000;
    camera.film(&mut stage, ms(2000));
    assert_eq!(stage.room.statistics().restarts, 2);
    let verdict = flawless(&stage);
    assert!(verdict.frames.len() >= 160, "{} frames", verdict.frames.len());
}

#[test]
fn timestamps_that_jump_within_a_stream_are_anchored_anew() {
    let mut stage = Stage::simulcast();
    let mut camera = Camera::new(1);
    stage.subscribe(ALICE);
    camera.film(&mut stage, ms(1500));
    camera.layers[0].timestamp_base = camera.layers[0].timestamp_base.wrapping_add(900_000_000);
    camera.film(&mut stage, ms(1500));
    camera.layers[0].timestamp_base = camera.layers[0].timestamp_base.wrapping_sub(900_000_000);
    camera.film(&mut stage, ms(1500));
    let verdict = flawless(&stage);
    verdict.expect_timeline(90);
    assert!(verdict.frames.len() >= 134);
}

#[test]
fn counters_may_wrap_in_the_middle_of_everything() {
    let (mut stage, mut camera) = simulcast();
    for layer in &mut camera.layers {
        layer.timestamp_base = u32::MAX - 90_000;
        layer.seq = 65_500;
    }
    stage.subscribe(ALICE);
    for quality in [2, 1, 0, 2] {
        stage.set(ALICE, false, quality, 15);
        camera.film(&mut stage, ms(40_000));
    }
    let verdict = flawless(&stage);
    verdict.expect_timeline(90);
}

#[test]
fn a_thousand_keyframe_requests_a_second_become_two() {
    let (mut stage, mut camera) = simulcast();
    for peer in 0..10 {
        stage.subscribe(PeerId(peer));
    }
    camera.film(&mut stage, ms(5000));
    camera.keys.clear();
    for round in 0..3000 {
        stage.ask_keyframe(PeerId(round % 10));
        camera.film(&mut stage, ms(1));
    }
    assert!((5..=7).contains(&camera.keys.len()), "{} requests in 3 s", camera.keys.len());
}

#[test]
fn two_hundred_joins_in_ten_seconds_cost_two_key_frames_a_second_and_start_within_half_a_second() {
    let (mut stage, mut camera) = simulcast();
    camera.film(&mut stage, ms(3000));
    camera.keys.clear();
    let mut joined = Vec::new();
    for peer in 0..200 {
        joined.push((PeerId(peer), stage.now));
        stage.subscribe(PeerId(peer));
        camera.film(&mut stage, ms(50));
    }
    camera.film(&mut stage, ms(1000));
    let of_top = camera.keys.iter().filter(|&&(_, layer)| layer == 2).count();
    assert!(of_top <= 20, "{of_top} key frames of the top layer");
    let mut waits: Vec<Duration> = joined.iter().map(|&(peer, at)| stage.received(peer)[0].at - at).collect();
    waits.sort();
    assert!(waits[189] <= ms(500), "95 % start within {:?}", waits[189]);
    for (peer, _) in joined {
        judge(&stage.received(peer)).expect_flawless();
    }
}

#[test]
fn an_unanswered_request_is_repeated_less_and_less_often() {
    let mut stage = Stage::simulcast();
    let mut camera = Camera::new(1);
    camera.film(&mut stage, ms(3000));
    camera.keys.clear();
    stage.subscribe(ALICE);
    let joined = stage.now;
    let mut asked: Vec<u64> = Vec::new();
    for _ in 0..1500 {
        asked.extend(stage.take_requests().iter().map(|_| (stage.now - joined).as_millis() as u64));
        let at = stage.now + ms(10);
        stage.advance_to(at);
        for packet in camera.layers[0].frame(at) {
            stage.packet(TRACK, 0, &packet);
        }
    }
    assert_eq!(asked.len(), 6, "{asked:?}");
    stage.room.unsubscribe(stage.time(), TRACK, ALICE);
    stage.advance(ms(20_000));
    assert!(stage.take_requests().is_empty(), "nobody waits any more");
}

#[test]
fn a_lost_key_frame_is_asked_for_again_within_half_a_second() {
    let mut stage = Stage::simulcast();
    let mut camera = Camera::new(1);
    camera.film(&mut stage, ms(3000));
    stage.subscribe(ALICE);
    assert_eq!(stage.take_requests(), [0]);
    // The answer is lost upstream, and the picture stands still after it.
    camera.layers[0].key_next = true;
    let _ = camera.layers[0].frame(stage.now);
    stage.advance(ms(500));
    assert_eq!(stage.take_requests(), [0]);
    camera.layers[0].key_next = true;
    let at = stage.now;
    for packet in camera.layers[0].frame(at) {
        stage.packet(TRACK, 0, &packet);
    }
    assert_eq!(stage.received(ALICE).len(), 1);
}

#[test]
fn a_key_frame_whose_first_packet_comes_late_still_serves() {
    let mut stage = Stage::simulcast();
    let mut camera = Camera::new(1);
    camera.layers[0].packets_per_frame = 4;
    camera.film(&mut stage, ms(3000));
    stage.subscribe(ALICE);
    camera.layers[0].key_next = true;
    let at = stage.now;
    let packets = camera.layers[0].frame(at);
    for index in [1, 2, 0, 3] {
        stage.packet(TRACK, 0, &packets[index]);
    }
    let verdict = flawless(&stage);
    assert_eq!(verdict.frames.len(), 1);
}

#[test]
fn a_subscriber_without_the_codec_gets_nothing_and_asks_for_nothing() {
    let (mut stage, mut camera) = simulcast();
    camera.film(&mut stage, ms(3000));
    camera.keys.clear();
    stage.subscribe_with(ALICE, SubscriberCodecs::new([Codec::H264]));
    camera.film(&mut stage, ms(3000));
    assert!(stage.sent.is_empty());
    assert!(camera.keys.len() <= 1, "{:?}", camera.keys);
}

#[test]
fn narrow_picture_ids_stay_contiguous_in_their_width() {
    let mut stage = Stage::new();
    stage.room.add_track(TRACK, TrackConfig::video(PUBLISHER, layers(1))).expect("a new track");
    let mut camera = Camera::new(1);
    camera.layers[0].wide = false;
    stage.subscribe(ALICE);
    camera.film(&mut stage, ms(3000));
    stage.set(ALICE, false, 2, 8);
    camera.film(&mut stage, ms(6000));
    let mut before: Option<u16> = None;
    for sent in stage.received(ALICE) {
        let id = sent.vp8().picture_id.expect("a picture id");
        assert!(!id.wide);
        if let Some(before) = before {
            assert_eq!(id.value, (before + 1) & 0x7f);
        }
        before = Some(id.value);
    }
}

#[test]
fn the_first_packet_and_the_life_of_layers_are_told() {
    let (mut stage, mut camera) = simulcast();
    camera.film(&mut stage, ms(500));
    let told = |stage: &Stage, wanted: &Event| stage.events.iter().filter(|(_, event)| event == wanted).count();
    assert_eq!(told(&stage, &Event::FirstPacket { track: TRACK, codec: Codec::Vp8 }), 1);
    for layer in 0..3 {
        assert_eq!(told(&stage, &Event::LayerLive { track: TRACK, layer, live: true }), 1);
    }
    let statistics = stage.room.layer_statistics(TRACK, 1).expect("a layer");
    assert_eq!((statistics.live, statistics.packets, statistics.key_frames), (true, 32, 1));
    assert_eq!(stage.room.layer_index(TRACK, "h"), Some(1));
    assert_eq!(stage.room.layer_index(TRACK, "x"), None);
}
