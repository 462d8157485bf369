//! Caps, wrong commands, hostile input.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{ALICE, Dice, PUBLISHER, Stage, TRACK, layers, ms};
use greenroom_sfu::{
    Codec, Error, Event, Layer, MAX_LAYERS, MAX_TRACKS, MAX_TRACKS_PER_PUBLISHER, Packet, PeerId, SenderReport,
    SubscriberCodecs, SubscriptionSettings, TrackConfig, TrackId,
};

#[test]
fn counts_are_capped_and_given_back() {
    let mut stage = Stage::new();
    let camera = |publisher| TrackConfig::video(PeerId(publisher), layers(1));
    for id in 0..MAX_TRACKS as u64 {
        stage.room.add_track(TrackId(id), camera(id / MAX_TRACKS_PER_PUBLISHER as u64)).expect("room for it");
    }
    let one_more = TrackId(1 << 40);
    assert_eq!(stage.room.add_track(one_more, camera(9999)), Err(Error::TooManyTracks));
    assert_eq!(stage.room.add_track(TrackId(3), camera(9999)), Err(Error::TrackExists(TrackId(3))));
    stage.room.remove_track(stage.time(), TrackId(70));
    assert_eq!(stage.room.add_track(one_more, camera(0)), Err(Error::TooManyTracksOfPublisher));
    assert_eq!(stage.room.add_track(one_more, camera(1)), Ok(()));
}

#[test]
fn layers_that_make_no_sense_are_refused() {
    let mut stage = Stage::new();
    let layer = |rid: &str, quality| Layer { rid: rid.into(), quality, width: 1, height: 1 };
    let mut add = |layers| stage.room.add_track(TRACK, TrackConfig::video(PUBLISHER, layers));
    assert_eq!(add(vec![layer("q", 0), layer("q", 1)]), Err(Error::InvalidLayer("q".into())));
    assert_eq!(add(vec![layer("q", 3)]), Err(Error::InvalidLayer("q".into())));
    let many = (0..=MAX_LAYERS).map(|index| layer(&index.to_string(), 0)).collect();
    assert_eq!(add(many), Err(Error::TooManyLayers));
}

#[test]
fn commands_about_unknown_things_do_nothing_or_say_so() {
    let mut stage = Stage::new();
    let now = stage.time();
    let room = &mut stage.room;
    assert_eq!(room.subscribe(now, TRACK, ALICE, SubscriberCodecs::ALL), Err(Error::UnknownTrack(TRACK)));
    room.remove_track(now, TRACK);
    room.mute_track(now, TRACK, true);
    room.unsubscribe(now, TRACK, ALICE);
    room.set_subscription(now, TRACK, ALICE, SubscriptionSettings::default());
    room.set_bandwidth(now, ALICE, None);
    room.handle_keyframe_request(now, TRACK, ALICE);
    room.remove_peer(now, ALICE);
    room.add_track(TRACK, TrackConfig::audio(PUBLISHER, true)).expect("a new track");
    room.subscribe(now, TRACK, ALICE, SubscriberCodecs::ALL).expect("a new subscription");
    let twice = room.subscribe(now, TRACK, ALICE, SubscriberCodecs::ALL);
    assert_eq!(twice, Err(Error::AlreadySubscribed(TRACK, ALICE)));
    assert_eq!((room.statistics().tracks, room.statistics().subscriptions), (1, 1));
    room.remove_peer(now, PUBLISHER);
    assert_eq!((room.statistics().tracks, room.statistics().subscriptions), (0, 0));
    assert_eq!(room.poll_timeout(), None);
}

#[test]
fn a_peer_that_leaves_takes_its_tracks_and_subscriptions_along() {
    let mut stage = Stage::simulcast();
    stage.room.add_track(TrackId(2), TrackConfig::audio(ALICE, true)).expect("a new track");
    stage.subscribe(ALICE);
    stage.room.subscribe(stage.time(), TrackId(2), PUBLISHER, SubscriberCodecs::ALL).expect("a new subscription");
    stage.bandwidth(ALICE, Some(1_000_000));
    stage.room.remove_peer(stage.time(), ALICE);
    let statistics = stage.room.statistics();
    assert_eq!((statistics.tracks, statistics.subscriptions), (1, 0));
}

#[test]
fn packets_for_the_wrong_place_are_refused() {
    let mut stage = Stage::simulcast();
    stage.subscribe(ALICE);
    let mut camera = common::source::Vp8Layer::new(0);
    let packet = camera.frame(Duration::ZERO).remove(0);
    stage.packet(TrackId(99), 0, &packet);
    stage.packet(TRACK, 3, &packet);
    stage.packet(TRACK, usize::MAX, &packet);
    stage.packet(TRACK, 0, &Packet { codec: Codec::Opus, ..packet.clone() });
    stage.packet(TRACK, 0, &Packet { seq: u64::MAX, ..packet });
    assert!(stage.sent.is_empty());
    assert_eq!(stage.room.statistics().packets_refused, 5);
}

#[test]
fn a_flood_of_stream_identities_leaves_nothing_behind() {
    let mut stage = Stage::simulcast();
    stage.subscribe(ALICE);
    let mut camera = common::source::Vp8Layer::new(0);
    for ssrc in 0..100_000 {
        camera.ssrc = ssrc;
        camera.key_next = true;
        for packet in camera.frame(Duration::ZERO) {
            stage.packet(TRACK, 0, &packet);
        }
    }
    // One stream goes on whatever happens, and events do not pile up.
    let received = stage.received(ALICE);
    assert!(received.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
    let others = stage.events.iter().filter(|(_, event)| !matches!(event, Event::LayerChanged { .. })).count();
    assert!(others < 10, "{others} events");
}

#[test]
fn any_bytes_in_any_order_neither_panic_nor_break_the_numbering() {
    let codecs = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1, Codec::Opus, Codec::Red, Codec::G722];
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let mut stage = Stage::simulcast();
        stage.room.add_track(TrackId(2), TrackConfig::audio(PUBLISHER, true)).expect("a new track");
        stage.subscribe(ALICE);
        let plain = SubscriberCodecs::new([Codec::Opus]);
        stage.room.subscribe(stage.time(), TrackId(2), ALICE, plain).expect("a new subscription");
        let mut seq = dice.next() >> 3;
        for _ in 0..3000 {
            seq = match dice.below(40) {
                0 => dice.next() >> dice.below(60),
                1 => seq.saturating_sub(dice.below(3000)),
                2 => seq + dice.below(3000),
                _ => seq + 1,
            };
            let len = dice.below(40) as usize;
            let packet = Packet {
                ssrc: dice.below(3) as u32,
                seq,
                timestamp: dice.next() as u32,
                marker: dice.chance(30),
                codec: codecs[dice.below(8) as usize],
                payload: (0..len).map(|_| dice.next() as u8).collect::<Arc<[u8]>>(),
                audio_level: Some(dice.next() as u8),
                sender_report: dice.chance(20).then(|| SenderReport {
                    sender_time: Duration::from_micros(dice.next() << dice.below(8)),
                    rtp_time: dice.next() as u32,
                }),
            };
            stage.packet(TrackId(1 + dice.below(2)), dice.below(3) as usize, &packet);
            match dice.below(60) {
                0 => stage.set(ALICE, dice.chance(30), dice.below(4) as u8, dice.below(60) as u32),
                1 => stage.mute(dice.chance(50)),
                2 => stage.bandwidth(ALICE, dice.chance(70).then(|| dice.next() >> dice.below(60))),
                3 => stage.ask_keyframe(ALICE),
                4 => stage.advance(ms(dice.below(3000))),
                _ => stage.advance(ms(dice.below(30))),
            }
        }
        for track in [TRACK, TrackId(2)] {
            let mut numbers: Vec<u64> =
                stage.sent.iter().filter(|sent| sent.track == track).map(|sent| sent.seq).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count, "seed {seed}: a sequence number was used twice");
        }
    }
}
