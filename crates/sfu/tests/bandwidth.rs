//! Sharing out a subscriber's bandwidth.

mod common;

use std::time::Duration;

use common::judge::judge;
use common::source::{OpusStream, Vp8Layer};
use common::{ALICE, BOB, PUBLISHER, Sent, Stage, layers, ms};
use greenroom_sfu::{Event, SubscriberCodecs, TrackConfig, TrackId};

const FRAME: u64 = 33_333;

struct Cameras {
    tracks: Vec<(TrackId, Vec<Vp8Layer>)>,
    frames: u64,
}

impl Cameras {
    /// Tracks 1 to `count`, in three layers of about 150, 500 and 1700 kbit/s.
    fn new(stage: &mut Stage, count: u64) -> Cameras {
        let tracks = (1..=count).map(TrackId).map(|track| {
            stage.room.add_track(track, TrackConfig::video(PUBLISHER, layers(3))).expect("a new track");
            let layers = [(0, 1, 625), (1, 2, 1042), (2, 6, 1181)].map(|(layer, packets_per_frame, payload_len)| {
                Vp8Layer { packets_per_frame, payload_len, ..Vp8Layer::new(layer) }
            });
            (track, layers.to_vec())
        });
        Cameras { tracks: tracks.collect(), frames: 0 }
    }

    fn film(&mut self, stage: &mut Stage, time: Duration) {
        let until = stage.now + time;
        while Duration::from_micros(self.frames * FRAME) < until {
            let at = Duration::from_micros(self.frames * FRAME);
            self.frames += 1;
            stage.advance_to(at);
            for (track, layers) in &mut self.tracks {
                for (index, layer) in layers.iter_mut().enumerate() {
                    for packet in layer.frame(at) {
                        stage.packet(*track, index, &packet);
                    }
                }
            }
            stage.events.retain(|(_, event)| match event {
                Event::RequestKeyframe { track, layer } => {
                    self.tracks
                        .iter_mut()
                        .filter(|(id, _)| id == track)
                        .for_each(|(_, layers)| layers[*layer].key_next = true);
                    false
                }
                _ => true,
            });
        }
        stage.advance_to(until);
    }
}

fn subscribe_all(stage: &mut Stage, cameras: &Cameras) {
    for (track, _) in &cameras.tracks {
        stage.room.subscribe(stage.time(), *track, ALICE, SubscriberCodecs::ALL).expect("a new subscription");
    }
}

fn of_track(stage: &Stage, track: TrackId) -> Vec<&Sent> {
    stage.received(ALICE).into_iter().filter(|sent| sent.track == track).collect()
}

/// The layers that each track ended up with in the last second, `None` where nothing came.
fn shown(stage: &Stage, cameras: &Cameras) -> Vec<Option<u8>> {
    let since = stage.now - ms(1000);
    let tracks = cameras.tracks.iter().map(|(track, _)| {
        let late: Vec<&Sent> = of_track(stage, *track).into_iter().filter(|sent| sent.at >= since).collect();
        judge(&late).frames.last().map(|frame| frame.label.layer)
    });
    tracks.collect()
}

fn bit_rate(stage: &Stage) -> usize {
    let since = stage.now - ms(1000);
    stage.received(ALICE).iter().filter(|sent| sent.at >= since).map(|sent| sent.payload.len() * 8).sum()
}

#[test]
fn layers_follow_the_bandwidth_down_and_up_without_a_seam() {
    let mut stage = Stage::new();
    let mut cameras = Cameras::new(&mut stage, 3);
    subscribe_all(&mut stage, &cameras);
    cameras.film(&mut stage, ms(3000));
    assert_eq!(shown(&stage, &cameras), [Some(2); 3]);
    for (bandwidth, expected) in [
        (4_000_000, [Some(2), Some(2), Some(1)]),
        (1_700_000, [Some(1), Some(1), Some(1)]),
        (600_000, [Some(0), Some(0), Some(0)]),
        (1_000_000, [Some(1), Some(0), Some(0)]),
        (9_000_000, [Some(2), Some(2), Some(2)]),
    ] {
        stage.bandwidth(ALICE, Some(bandwidth));
        cameras.film(&mut stage, ms(3000));
        assert_eq!(shown(&stage, &cameras), expected, "at {bandwidth}");
        assert!(bit_rate(&stage) as u64 <= bandwidth, "{} of {bandwidth}", bit_rate(&stage));
    }
    for (track, _) in &cameras.tracks {
        let verdict = judge(&of_track(&stage, *track));
        verdict.expect_flawless();
        verdict.expect_timeline(90);
    }
    assert!(!stage.events.iter().any(|(_, event)| matches!(event, Event::StreamState { .. })));
}

#[test]
fn what_does_not_fit_is_paused_and_told_and_goes_on_later() {
    let mut stage = Stage::new();
    let mut cameras = Cameras::new(&mut stage, 3);
    subscribe_all(&mut stage, &cameras);
    cameras.film(&mut stage, ms(3000));
    stage.bandwidth(ALICE, Some(200_000));
    cameras.film(&mut stage, ms(2000));
    assert_eq!(shown(&stage, &cameras), [Some(0), None, None]);
    stage.bandwidth(ALICE, None);
    cameras.film(&mut stage, ms(2000));
    assert_eq!(shown(&stage, &cameras), [Some(2); 3]);
    let told: Vec<(u64, bool)> = stage
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::StreamState { track, paused, .. } => Some((track.0, *paused)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(2, true), (3, true), (2, false), (3, false)]);
    for (track, _) in &cameras.tracks {
        judge(&of_track(&stage, *track)).expect_flawless();
    }
}

#[test]
fn a_starved_subscriber_harms_nobody_else() {
    let mut stage = Stage::new();
    let mut cameras = Cameras::new(&mut stage, 1);
    subscribe_all(&mut stage, &cameras);
    stage.subscribe(BOB);
    cameras.film(&mut stage, ms(2000));
    stage.bandwidth(ALICE, Some(0));
    cameras.film(&mut stage, ms(3000));
    let verdict = judge(&stage.received(BOB));
    verdict.expect_flawless();
    assert_eq!(verdict.layers().last(), Some(&2));
    assert_eq!(shown(&stage, &cameras), [Some(0)], "the only video stays, in its lowest layer");
}

#[test]
fn a_shared_screen_comes_first_and_sound_before_everything() {
    let mut stage = Stage::new();
    let mut cameras = Cameras::new(&mut stage, 2);
    let screen = TrackId(3);
    let config = TrackConfig { priority: 255, ..TrackConfig::video(PUBLISHER, layers(1)) };
    stage.room.add_track(screen, config).expect("a new track");
    let layer = Vp8Layer { packets_per_frame: 6, payload_len: 1181, ..Vp8Layer::new(0) };
    cameras.tracks.push((screen, vec![layer]));
    subscribe_all(&mut stage, &cameras);
    cameras.film(&mut stage, ms(2000));
    stage.bandwidth(ALICE, Some(2_100_000));
    cameras.film(&mut stage, ms(2000));
    assert_eq!(shown(&stage, &cameras), [Some(0), Some(0), Some(0)]);
    stage.bandwidth(ALICE, Some(1_900_000));
    cameras.film(&mut stage, ms(2000));
    assert_eq!(shown(&stage, &cameras), [Some(0), None, Some(0)]);
    // Sound is not paused however little there is.
    let sound = TrackId(4);
    stage.room.add_track(sound, TrackConfig::audio(PUBLISHER, false)).expect("a new track");
    stage.room.subscribe(stage.time(), sound, ALICE, SubscriberCodecs::ALL).expect("a new subscription");
    stage.bandwidth(ALICE, Some(1));
    let mut voice = OpusStream::new();
    for _ in 0..50 {
        stage.packet(sound, 0, &voice.packet());
        stage.advance(ms(20));
    }
    assert_eq!(of_track(&stage, sound).len(), 50);
}

#[test]
fn a_bandwidth_at_the_edge_does_not_flip_layers() {
    let mut stage = Stage::new();
    let mut cameras = Cameras::new(&mut stage, 1);
    subscribe_all(&mut stage, &cameras);
    cameras.film(&mut stage, ms(2000));
    stage.bandwidth(ALICE, Some(600_000));
    cameras.film(&mut stage, ms(2000));
    let before = stage.events.len();
    for round in 0..50 {
        stage.bandwidth(ALICE, Some(if round % 2 == 0 { 1_690_000 } else { 1_760_000 }));
        cameras.film(&mut stage, ms(200));
    }
    let changes =
        stage.events[before..].iter().filter(|(_, event)| matches!(event, Event::LayerChanged { .. })).count();
    assert_eq!(changes, 0);
}

#[test]
fn a_layer_is_not_granted_before_its_cost_is_known() {
    let mut stage = Stage::new();
    let mut cameras = Cameras::new(&mut stage, 1);
    stage.bandwidth(ALICE, Some(400_000));
    subscribe_all(&mut stage, &cameras);
    for _ in 0..4 {
        cameras.film(&mut stage, ms(1000));
        assert_eq!(judge(&stage.received(ALICE)).layers(), [0]);
    }
}
