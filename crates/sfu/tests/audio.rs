//! Audio: RED and Opus, loss, mute, restarts.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::source::{OpusStream, opus_payload};
use common::{ALICE, BOB, Dice, PUBLISHER, Sent, Stage, TRACK, ms};
use greenroom_sfu::{Codec, Origin, Packet, SenderReport, SubscriberCodecs, TrackConfig, TrackId};

const PLAIN: [Codec; 1] = [Codec::Opus];

/// Sends packets 20 ms apart.
fn play(stage: &mut Stage, packets: impl IntoIterator<Item = Packet>) {
    for packet in packets {
        stage.packet(TRACK, 0, &packet);
        stage.advance(ms(20));
    }
}

fn contiguous(received: &[&Sent]) {
    for pair in received.windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq + 1);
    }
}

#[test]
fn opus_is_shared_and_renumbered_from_a_small_random_start() {
    let mut stage = Stage::audio();
    let mut voice = OpusStream::new();
    stage.subscribe(ALICE);
    stage.subscribe(BOB);
    let packets: Vec<Packet> = (0..100).map(|_| voice.packet()).collect();
    play(&mut stage, packets.clone());
    let (alice, bob) = (stage.received(ALICE), stage.received(BOB));
    contiguous(&alice);
    contiguous(&bob);
    assert_eq!(alice.len(), 100);
    assert!(alice[0].seq > 0 && alice[0].seq < 1 << 15 && alice[0].seq != bob[0].seq);
    for (sent, packet) in alice.iter().zip(&packets) {
        assert!(Arc::ptr_eq(&sent.shared, &packet.payload));
        assert!(!sent.nackable);
    }
    for pair in alice.windows(2) {
        assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 960);
    }
}

#[test]
fn red_goes_on_as_red_to_those_who_take_it_and_as_opus_to_the_others() {
    let mut stage = Stage::audio();
    let mut voice = OpusStream::new();
    stage.subscribe(ALICE);
    stage.subscribe_with(BOB, SubscriberCodecs::new(PLAIN));
    let packets: Vec<Packet> = (0..20).map(|_| voice.red()).collect();
    play(&mut stage, packets.clone());
    let (alice, bob) = (stage.received(ALICE), stage.received(BOB));
    assert!(
        alice
            .iter()
            .zip(&packets)
            .all(|(sent, packet)| sent.codec == Codec::Red && sent.payload[..] == packet.payload[..])
    );
    contiguous(&bob);
    for (number, sent) in (1..).zip(&bob) {
        assert_eq!((sent.codec, &sent.payload), (Codec::Opus, &opus_payload(number)));
    }
    assert_eq!(bob.len(), 20);
}

#[test]
fn lost_packets_are_recovered_from_redundancy_for_those_who_take_opus_only() {
    let mut stage = Stage::audio();
    let mut voice = OpusStream::new();
    stage.subscribe_with(BOB, SubscriberCodecs::new(PLAIN));
    let packets: Vec<Packet> = (0..60).map(|_| voice.red()).collect();
    // Losses of one and two in a row are made good; of three in a row, one is not.
    let lost = [5, 9, 10, 20, 21, 22];
    play(
        &mut stage,
        packets.iter().enumerate().filter(|(index, _)| !lost.contains(index)).map(|(_, packet)| packet.clone()),
    );
    let bob = stage.received(BOB);
    let start = bob[0];
    let mut numbers = Vec::new();
    for sent in &bob {
        let number = u64::from_be_bytes(sent.payload[..].try_into().expect("eight bytes"));
        assert_eq!(sent.seq - start.seq, number - 1);
        assert_eq!(u64::from(sent.timestamp.wrapping_sub(start.timestamp)), (number - 1) * 960);
        assert_eq!(sent.origin == Origin::Recovered, lost.contains(&(number as usize - 1)));
        numbers.push(number);
    }
    let expected: Vec<u64> = (1..=60).filter(|&number| number != 21).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_packet_that_comes_after_it_was_recovered_is_sent_once_only() {
    let mut stage = Stage::audio();
    let mut voice = OpusStream::new();
    stage.subscribe(ALICE);
    stage.subscribe_with(BOB, SubscriberCodecs::new(PLAIN));
    let packets: Vec<Packet> = (0..10).map(|_| voice.red()).collect();
    let order = [0, 1, 2, 4, 3, 5, 6, 8, 7, 9];
    play(&mut stage, order.map(|index| packets[index].clone()));
    assert_eq!(stage.received(BOB).len(), 10);
    contiguous(&stage.received(BOB));
    let mut alice: Vec<u64> = stage.received(ALICE).iter().map(|sent| sent.seq).collect();
    alice.sort_unstable();
    assert!(alice.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_publisher_may_mix_red_and_opus() {
    let mut stage = Stage::audio();
    let mut voice = OpusStream::new();
    stage.subscribe(ALICE);
    stage.subscribe_with(BOB, SubscriberCodecs::new(PLAIN));
    let packets: Vec<Packet> = (0..50).map(|index| if index % 3 == 0 { voice.packet() } else { voice.red() }).collect();
    play(&mut stage, packets);
    contiguous(&stage.received(ALICE));
    contiguous(&stage.received(BOB));
    assert_eq!(stage.received(BOB).len(), 50);
    let told =
        stage.events.iter().filter(|(_, event)| matches!(event, greenroom_sfu::Event::FirstPacket { .. })).count();
    assert_eq!(told, 1);
}

#[test]
fn random_loss_and_reordering_keep_numbers_and_timestamps_of_a_packet_together() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let mut stage = Stage::audio();
        let mut voice = OpusStream::new();
        stage.subscribe(ALICE);
        stage.subscribe_with(BOB, SubscriberCodecs::new(PLAIN));
        let loss = dice.below(30);
        let mut packets: Vec<Packet> = (0..400).map(|_| voice.red()).collect();
        packets.retain(|_| !dice.chance(loss));
        for index in 1..packets.len() {
            if dice.chance(10) {
                let other = index.saturating_sub(1 + dice.below(4) as usize).max(1);
                packets.swap(index, other);
            }
            if dice.chance(5) {
                packets[index] = packets[index - 1].clone();
            }
        }
        play(&mut stage, packets);
        let plain: Vec<&Sent> = stage.received(BOB);
        let mut by_seq = BTreeMap::new();
        for sent in &plain {
            let number = u64::from_be_bytes(sent.payload[..].try_into().expect("eight bytes"));
            assert!(by_seq.insert(sent.seq, (number, sent.timestamp)).is_none(), "seed {seed}: number used twice");
        }
        let (&first, &(number, timestamp)) = by_seq.iter().next().expect("packets");
        for (seq, (other, stamp)) in by_seq {
            assert_eq!(seq - first, other - number, "seed {seed}");
            assert_eq!(u64::from(stamp.wrapping_sub(timestamp)), (other - number) * 960, "seed {seed}");
        }
    }
}

#[test]
fn a_mute_fades_to_silence_and_the_sound_goes_on_by_the_time_that_passed() {
    let mut stage = Stage::audio();
    let mut voice = OpusStream::new();
    stage.subscribe(ALICE);
    play(&mut stage, (0..50).map(|_| voice.packet()).collect::<Vec<_>>());
    stage.mute(true);
    // Whatever still arrives is not heard.
    play(&mut stage, (0..50).map(|_| voice.packet()).collect::<Vec<_>>());
    stage.advance(ms(3000));
    let heard = stage.received(ALICE).len();
    assert_eq!(heard, 60, "ten packets of silence follow the sound");
    assert!(
        stage.received(ALICE)[50..]
            .iter()
            .all(|sent| sent.payload == [0xf8, 0xff, 0xfe] && sent.origin == Origin::Made)
    );
    stage.mute(false);
    // Its clock stood still for the three seconds that nothing was sent.
    play(&mut stage, (0..50).map(|_| voice.packet()).collect::<Vec<_>>());
    let received = stage.received(ALICE);
    contiguous(&received);
    assert_eq!(received.len(), 110);
    let (first, resumed) = (received[0], received[60]);
    let passed = (resumed.at - first.at).as_micros() as i64 * 48 / 1000;
    let stamped = i64::from(resumed.timestamp.wrapping_sub(first.timestamp));
    assert!((stamped - passed).abs() <= 960, "{stamped} ticks for {passed}");
    for pair in received.windows(2) {
        assert!(pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed() > 0);
    }
}

#[test]
fn a_hundred_quick_mutes_leave_the_timeline_where_it_was() {
    for (muted, heard, pause) in [(10, 20, 0), (10, 20, 300), (70, 40, 0)] {
        let mut stage = Stage::audio();
        let mut voice = OpusStream::new();
        stage.subscribe(ALICE);
        play(&mut stage, (0..10).map(|_| voice.packet()).collect::<Vec<_>>());
        for _ in 0..100 {
            stage.advance(ms(pause));
            stage.mute(true);
            stage.advance(ms(muted));
            stage.mute(false);
            stage.advance(ms(heard - 20));
            // The source's clock ran on.
            voice.timestamp = voice.timestamp.wrapping_add((pause + muted + heard - 20) as u32 * 48);
            play(&mut stage, [voice.packet()]);
        }
        let received = stage.received(ALICE);
        contiguous(&received);
        let first = received[0];
        for sent in &received {
            let passed = (sent.at - first.at).as_micros() as i64 * 48 / 1000;
            let early = i64::from(sent.timestamp.wrapping_sub(first.timestamp)) - passed;
            assert!(early.abs() <= 960, "{early} ticks early at {passed}, muted for {muted} ms after {pause} ms");
        }
    }
}

#[test]
fn encrypted_tracks_get_no_silence() {
    let mut stage = Stage::new();
    let config = TrackConfig { encrypted: true, ..TrackConfig::audio(PUBLISHER, false) };
    stage.room.add_track(TRACK, config).expect("a new track");
    let mut voice = OpusStream::new();
    stage.subscribe(ALICE);
    play(&mut stage, (0..50).map(|_| voice.packet()).collect::<Vec<_>>());
    stage.mute(true);
    stage.advance(ms(1000));
    assert_eq!(stage.received(ALICE).len(), 50);
}

#[test]
fn a_pause_by_one_subscriber_concerns_nobody_else() {
    let mut stage = Stage::audio();
    let mut voice = OpusStream::new();
    stage.subscribe(ALICE);
    stage.subscribe(BOB);
    play(&mut stage, (0..10).map(|_| voice.packet()).collect::<Vec<_>>());
    stage.set(ALICE, true, 2, 0);
    play(&mut stage, (0..50).map(|_| voice.packet()).collect::<Vec<_>>());
    stage.set(ALICE, false, 2, 0);
    play(&mut stage, (0..10).map(|_| voice.packet()).collect::<Vec<_>>());
    assert_eq!(stage.received(BOB).len(), 70);
    let alice = stage.received(ALICE);
    contiguous(&alice);
    assert_eq!(alice.len(), 30);
    let last = alice[29].timestamp.wrapping_sub(alice[0].timestamp);
    assert_eq!(last, 69 * 960, "the timeline of the source is kept");
}

#[test]
fn a_restarted_source_goes_on_without_a_seam() {
    let mut stage = Stage::audio();
    let mut voice = OpusStream::new();
    stage.subscribe(ALICE);
    play(&mut stage, (0..50).map(|_| voice.packet()).collect::<Vec<_>>());
    stage.advance(ms(980));
    voice = OpusStream { ssrc: 6, seq: 3, timestamp: 77, ..voice };
    play(&mut stage, (0..50).map(|_| voice.packet()).collect::<Vec<_>>());
    let alice = stage.received(ALICE);
    contiguous(&alice);
    assert_eq!(alice.len(), 100);
    let step = alice[50].timestamp.wrapping_sub(alice[49].timestamp);
    assert!(step.abs_diff(48_000) <= 960, "{step}");
}

#[test]
fn silence_of_the_encoder_is_not_a_restart() {
    let mut stage = Stage::audio();
    let mut voice = OpusStream::new();
    stage.subscribe(ALICE);
    play(&mut stage, (0..10).map(|_| voice.packet()).collect::<Vec<_>>());
    for _ in 0..10 {
        // Discontinuous transmission: a packet every 400 ms, sequence numbers without a gap.
        stage.advance(ms(380));
        voice.timestamp = voice.timestamp.wrapping_add(19 * 960);
        play(&mut stage, [voice.packet()]);
    }
    let alice = stage.received(ALICE);
    contiguous(&alice);
    assert_eq!(alice[19].timestamp.wrapping_sub(alice[9].timestamp), 10 * 20 * 960);
}

#[test]
fn telephone_codecs_go_to_everybody_who_takes_them() {
    let mut stage = Stage::audio();
    stage.subscribe(ALICE);
    stage.subscribe_with(BOB, SubscriberCodecs::new(PLAIN));
    let mut voice = OpusStream::new();
    let packets: Vec<Packet> = (0..10).map(|_| Packet { codec: Codec::Pcmu, ..voice.packet() }).collect();
    play(&mut stage, packets);
    assert_eq!(stage.received(ALICE).len(), 10);
    assert!(stage.received(BOB).is_empty());
}

#[test]
fn tracks_of_one_publisher_are_stamped_on_one_line_whatever_their_delays() {
    let mut stage = Stage::audio();
    let camera = TrackId(2);
    stage.room.add_track(camera, TrackConfig::video(PUBLISHER, Vec::new())).expect("a new track");
    stage.subscribe(ALICE);
    stage.room.subscribe(stage.time(), camera, ALICE, SubscriberCodecs::ALL).expect("a new subscription");
    let clock = std::time::Duration::from_secs(1_000_000);
    let mut voice = OpusStream { timestamp: 0, ..OpusStream::new() };
    let mut picture = common::source::Vp8Layer::new(0);
    picture.clock = clock;
    // Sound arrives 10 ms after its capture, the picture 110 ms after.
    for step in 0..500_u64 {
        let captured = ms(step * 20);
        stage.advance_to(captured + ms(10));
        let report = SenderReport { sender_time: clock + ms(step / 50 * 1000), rtp_time: (step / 50 * 48_000) as u32 };
        let mut packet = voice.packet();
        packet.timestamp = (step * 960) as u32;
        packet.sender_report = Some(report);
        stage.packet(TRACK, 0, &packet);
        if step >= 5 {
            for packet in picture.frame(ms((step - 5) * 20)) {
                stage.packet(camera, 0, &packet);
            }
        }
    }
    // Where each of the last packets was captured, according to its wallclock.
    let heard = stage.sent.iter().rev().find(|sent| sent.track == TRACK).expect("sound").clone();
    let seen = stage.sent.iter().rev().find(|sent| sent.track == camera).expect("a picture").clone();
    let apart = heard.wallclock - seen.wallclock;
    assert!(apart.abs_diff(ms(100)) <= ms(3), "captured 100 ms apart, stamped {apart:?}");
}
