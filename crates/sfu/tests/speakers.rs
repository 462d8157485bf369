//! Who speaks.

mod common;

use std::time::Duration;

use common::source::OpusStream;
use common::{PUBLISHER, Stage, TRACK, ms};
use greenroom_sfu::{Event, PeerId, Speaker, TrackConfig, TrackId};

fn talk(stage: &mut Stage, voices: &mut [(TrackId, OpusStream)], time: Duration) {
    let until = stage.now + time;
    while stage.now < until {
        for (track, voice) in voices.iter_mut() {
            let packet = voice.packet();
            stage.packet(*track, 0, &packet);
        }
        stage.advance(ms(20));
    }
}

fn reports(stage: &mut Stage) -> Vec<(Duration, Vec<Speaker>)> {
    let events = std::mem::take(&mut stage.events);
    events
        .into_iter()
        .filter_map(|(at, event)| match event {
            Event::Speakers(speakers) => Some((at, speakers)),
            _ => None,
        })
        .collect()
}

fn voice(level: u8) -> OpusStream {
    OpusStream { level, ..OpusStream::new() }
}

#[test]
fn a_voice_is_reported_once_and_its_end_too() {
    let mut stage = Stage::audio();
    let mut voices = [(TRACK, voice(10))];
    talk(&mut stage, &mut voices, ms(4000));
    let told = reports(&mut stage);
    // The level settles within a few windows and is then not told again.
    assert!((1..=4).contains(&told.len()), "{told:?}");
    assert!(told[0].0 <= ms(800), "{told:?}");
    assert!(
        told.iter().all(|(at, speakers)| at.as_millis() % 400 == 0 && speakers[0].active && speakers[0].track == TRACK)
    );
    // 10^(-10/20) = 0.316, rounded up to eighths.
    assert_eq!(told[told.len() - 1].1[0].level, 0.375);
    voices[0].1.level = 127;
    talk(&mut stage, &mut voices, ms(2000));
    let told = reports(&mut stage);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1, [Speaker { track: TRACK, level: 0.0, active: false }]);
}

#[test]
fn silence_by_missing_packets_ends_speech_within_a_second_and_a_half_and_lets_the_room_sleep() {
    let mut stage = Stage::audio();
    talk(&mut stage, &mut [(TRACK, voice(10))], ms(2000));
    reports(&mut stage);
    stage.advance(ms(1600));
    let told = reports(&mut stage);
    assert_eq!(told.len(), 1);
    assert!(!told[0].1[0].active);
    assert_eq!(stage.room.poll_timeout(), None);
}

#[test]
fn a_mute_ends_speech_at_the_next_report() {
    let mut stage = Stage::audio();
    talk(&mut stage, &mut [(TRACK, voice(10))], ms(2000));
    reports(&mut stage);
    stage.mute(true);
    stage.advance(ms(400));
    assert_eq!(reports(&mut stage)[0].1, [Speaker { track: TRACK, level: 0.0, active: false }]);
}

#[test]
fn a_track_that_goes_away_while_somebody_speaks_is_told_to_be_silent() {
    let mut stage = Stage::audio();
    talk(&mut stage, &mut [(TRACK, voice(10))], ms(2000));
    reports(&mut stage);
    stage.room.remove_track(stage.time(), TRACK);
    stage.advance(ms(400));
    assert_eq!(reports(&mut stage)[0].1, [Speaker { track: TRACK, level: 0.0, active: false }]);
}

#[test]
fn the_loudest_comes_first_and_murmurs_and_short_noises_do_not_count() {
    let mut stage = Stage::audio();
    let mut voices = vec![(TRACK, voice(20))];
    for (id, level) in [(2, 5), (3, 36), (4, 127)] {
        stage.room.add_track(TrackId(id), TrackConfig::audio(PeerId(id), true)).expect("a new track");
        voices.push((TrackId(id), voice(level)));
    }
    // Track 5 has no speaker detection.
    stage.room.add_track(TrackId(5), TrackConfig::audio(PUBLISHER, false)).expect("a new track");
    voices.push((TrackId(5), voice(1)));
    for _ in 0..10 {
        // A door slams on track 4: 100 ms in every 400.
        voices[3].1.level = 3;
        talk(&mut stage, &mut voices, ms(100));
        voices[3].1.level = 127;
        talk(&mut stage, &mut voices, ms(300));
    }
    let told = reports(&mut stage);
    let named: Vec<u64> = told.iter().flat_map(|(_, speakers)| speakers).map(|speaker| speaker.track.0).collect();
    assert!(named.contains(&1) && named.contains(&2) && !named.iter().any(|id| [3, 4, 5].contains(id)), "{named:?}");
    let both = told.iter().find(|(_, speakers)| speakers.len() == 2).expect("a report of both");
    assert_eq!((both.1[0].track, both.1[1].track), (TrackId(2), TRACK));
}
