//! The receiving end under clean, jittery, lossy and broken networks, simulated to the microsecond.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Random, error_energy, melody, rms, sine, tone_level};
use greenroom_codec::opus::{Encoder, Options};
use greenroom_codec::playout::{AudioPlayout, Pulled};
use greenroom_media::jitter::audio::Config;

const RATE: u32 = 48_000;
const FRAME: usize = 960;
const TONE: f64 = 440.0;

#[derive(Clone)]
struct Arrival {
    at: Duration,
    seq: u64,
    timestamp: u32,
    payload: Bytes,
}

fn ms(value: f64) -> Duration {
    Duration::from_secs_f64(value / 1e3)
}

/// Packets of a steady tone as they leave the sender.
fn sent(seconds: usize) -> Vec<Arrival> {
    packets(&sine(TONE, RATE, seconds * RATE as usize, 1, 0.4), Options::default())
}

/// Packets every 20 ms, sequence numbers and timestamps about to wrap.
fn packets(pcm: &[i16], options: Options) -> Vec<Arrival> {
    let mut encoder = Encoder::new(RATE, 1, options).unwrap();
    let mut packet = Vec::new();
    pcm.chunks_exact(FRAME)
        .enumerate()
        .filter_map(|(index, frame)| {
            let encoded = encoder.encode(frame, &mut packet).unwrap();
            let timestamp = (u32::MAX - 5_000).wrapping_add((index * FRAME) as u32);
            let payload = Bytes::copy_from_slice(&packet);
            (!encoded.silent).then_some(Arrival {
                at: ms(20.0 * index as f64),
                seq: 65_530 + index as u64,
                timestamp,
                payload,
            })
        })
        .collect()
}

struct Heard {
    pcm: Vec<i16>,
    kinds: Vec<Pulled>,
    /// Delay that the player added, at each pull.
    delays: Vec<Option<Duration>>,
    player: AudioPlayout,
}

impl Heard {
    fn count(&self, kind: Pulled) -> usize {
        self.kinds.iter().filter(|&&other| other == kind).count()
    }

    /// Mean added delay from one second of output to another, in milliseconds.
    fn delay(&self, from: usize, to: usize) -> f64 {
        let delays: Vec<_> = self.delays[from * 100..to * 100].iter().flatten().collect();
        delays.iter().map(|delay| delay.as_secs_f64() * 1e3).sum::<f64>() / delays.len() as f64
    }
}

/// Play arrivals (sorted by time here) for `seconds`, pulling every 10 ms.
fn play(mut arrivals: Vec<Arrival>, seconds: usize) -> Heard {
    arrivals.sort_by_key(|arrival| arrival.at);
    let start = Instant::now();
    let mut player = AudioPlayout::new(RATE, 1, Config::default()).unwrap();
    let mut heard = (Vec::new(), Vec::new(), Vec::new());
    let mut waiting = arrivals.into_iter().peekable();
    let mut out = Vec::new();
    for tick in 0..seconds * 100 {
        // The media tick has no fixed phase to the packets.
        let now = ms(10.0 * tick as f64 + 3.0);
        while let Some(arrival) = waiting.next_if(|arrival| arrival.at <= now) {
            player.insert(arrival.seq, arrival.timestamp, arrival.payload, start + arrival.at);
        }
        heard.1.push(player.pull(start + now, &mut out));
        assert_eq!(out.len(), FRAME / 2);
        heard.0.extend_from_slice(&out);
        heard.2.push(player.delay());
    }
    Heard { pcm: heard.0, kinds: heard.1, delays: heard.2, player }
}

/// Number of 10 ms windows in which the tone is missing or distorted.
fn broken_windows(pcm: &[i16]) -> usize {
    // 50 ms windows hold whole periods of 440 Hz, moved on by 10 ms.
    let windows = pcm.windows(2_400).step_by(480);
    windows.filter(|window| !(0.3..0.5).contains(&tone_level(window, TONE, RATE))).count()
}

#[test]
fn a_clean_network_costs_at_most_20_ms_and_no_sample() {
    let heard = play(sent(5), 5);
    assert_eq!(heard.count(Pulled::Concealed), 0);
    let lead = heard.kinds.iter().position(|&kind| kind == Pulled::Audio).unwrap();
    assert!(lead <= 3, "audio begins {lead} ticks after the first packet");
    assert_eq!(heard.count(Pulled::Silence), lead);
    assert_eq!(broken_windows(&heard.pcm[FRAME * 4..]), 0);
    assert!(heard.delay(1, 5) <= 20.0, "{:.1} ms", heard.delay(1, 5));
    assert_eq!(heard.player.statistics().late, 0);
}

#[test]
fn jitter_is_absorbed_and_the_delay_comes_back_down() {
    let mut random = Random::new(11);
    let mut arrivals = sent(30);
    // Ten seconds of up to 60 ms of jitter between calm ones.
    for arrival in &mut arrivals[500..1_000] {
        arrival.at += ms(random.below(60_000) as f64 / 1e3);
    }
    let heard = play(arrivals, 30);
    let settled = &heard.kinds[1_100..2_000];
    let concealed = settled.iter().filter(|&&kind| kind == Pulled::Concealed).count();
    assert!(concealed <= 18, "{concealed} of 900 ticks concealed once it knew the jitter");
    assert!((40.0..95.0).contains(&heard.delay(12, 20)), "{:.1} ms while it jitters", heard.delay(12, 20));
    assert!(heard.delay(29, 30) <= 22.0, "{:.1} ms ten seconds later", heard.delay(29, 30));
    assert!(broken_windows(&heard.pcm[RATE as usize * 12..RATE as usize * 20]) <= 40);
    assert_eq!(broken_windows(&heard.pcm[RATE as usize * 29..]), 0);
}

/// Number of 20 ms blocks of `truth` that cannot be found in `heard`, up to 40 ms later.
fn lost_blocks(truth: &[i16], heard: &[i16]) -> usize {
    let found = |at: usize, block: &[i16]| {
        let limit = 0.2 * error_energy(block, &[0; FRAME]);
        (0..1_920).any(|lag| error_energy(block, &heard[at + lag..]) < limit)
    };
    let settled = RATE as usize * 3..RATE as usize * 9;
    let blocks = truth[settled.clone()].chunks(FRAME).enumerate();
    blocks.filter(|(index, block)| !found(settled.start + index * FRAME, block)).count()
}

#[test]
fn single_losses_are_restored_by_fec() {
    let pcm = melody(10 * RATE as usize);
    let mut missing = Vec::new();
    for fec in [true, false] {
        let arrivals = packets(&pcm, Options { fec, expected_loss: 10, bitrate: 48_000, ..Options::default() });
        let truth = play(arrivals.clone(), 10);
        let mut random = Random::new(5);
        let (mut lost, mut last) = (0, false);
        let mut kept = arrivals;
        kept.retain(|arrival| {
            last = !last && arrival.at > ms(400.0) && random.chance(10);
            lost += usize::from(last);
            !last
        });
        let heard = play(kept, 10);
        assert!(lost > 20);
        assert_eq!(heard.player.statistics().restored, lost as u64);
        assert!(heard.delay(8, 10) <= 35.0, "{:.1} ms", heard.delay(8, 10));
        missing.push(lost_blocks(&truth.pcm, &heard.pcm));
    }
    assert!(missing[0] * 5 < missing[1], "blocks missing with and without FEC: {missing:?}");
}

#[test]
fn bursts_of_loss_duplicates_and_reordering_leave_no_lasting_mark() {
    let mut random = Random::new(17);
    let mut arrivals: Vec<_> =
        sent(12).into_iter().enumerate().filter(|(index, _)| index % 100 >= 3).map(|(_, a)| a).collect();
    for _ in 0..100 {
        let copy = random.below(arrivals.len() as u64) as usize;
        let mut twin = arrivals[copy].clone();
        twin.at += ms(random.below(100) as f64);
        arrivals.push(twin);
    }
    for pair in (10..arrivals.len() - 100).step_by(50) {
        arrivals[pair].at += ms(25.0);
    }
    let heard = play(arrivals, 12);
    assert!(heard.player.statistics().duplicate >= 95);
    // Six bursts of 60 ms are missing; around each the tone may waver.
    assert!(broken_windows(&heard.pcm[FRAME * 4..]) <= 120);
    assert!(heard.delay(11, 12) <= 60.0, "{:.1} ms", heard.delay(11, 12));
}

#[test]
fn a_stall_is_caught_up_with_in_two_seconds() {
    let mut arrivals = sent(14);
    // The network holds everything back for 600 ms and then lets it go at once.
    for arrival in &mut arrivals {
        if (ms(3_000.0)..ms(3_600.0)).contains(&arrival.at) {
            arrival.at = ms(3_600.0);
        }
    }
    let heard = play(arrivals, 14);
    assert!(heard.count(Pulled::Silence) <= 60);
    let after = heard.delays[560].unwrap();
    assert!(after <= ms(520.0), "{after:?} two seconds after the stall");
    assert!(heard.delay(13, 14) <= 40.0, "{:.1} ms ten seconds after", heard.delay(13, 14));
    assert_eq!(broken_windows(&heard.pcm[RATE as usize * 13..]), 0);
}

#[test]
fn clock_drift_in_both_directions_adds_no_delay_and_breaks_nothing() {
    for drift in [0.998, 1.002] {
        let mut arrivals = sent(60);
        for arrival in &mut arrivals {
            arrival.at = arrival.at.mul_f64(drift);
        }
        let heard = play(arrivals, 55);
        assert!(heard.delay(50, 55) <= 45.0, "{:.1} ms at {drift}", heard.delay(50, 55));
        let concealed = heard.count(Pulled::Concealed);
        assert!(concealed <= 60, "{concealed} ticks concealed at {drift}");
    }
}

#[test]
fn a_dtx_pause_is_filled_and_speech_returns_on_time() {
    let mut encoder = Encoder::new(RATE, 1, Options { dtx: true, ..Options::default() }).unwrap();
    let mut pcm = sine(TONE, RATE, RATE as usize, 1, 0.4);
    pcm.resize(3 * RATE as usize, 0);
    pcm.extend(sine(TONE, RATE, RATE as usize, 1, 0.4));
    let mut packet = Vec::new();
    let mut arrivals = Vec::new();
    let mut seq = 7;
    for (index, frame) in pcm.chunks_exact(FRAME).enumerate() {
        if encoder.encode(frame, &mut packet).unwrap().silent && index % 20 != 0 {
            continue;
        }
        seq += 1;
        arrivals.push(Arrival {
            at: ms(20.0 * index as f64),
            seq,
            timestamp: (index * FRAME) as u32,
            payload: Bytes::copy_from_slice(&packet),
        });
    }
    assert!(arrivals.len() < 150, "DTX sent {} packets", arrivals.len());
    let heard = play(arrivals, 4);
    // The pause is quiet.
    assert!(rms(&heard.pcm[RATE as usize * 2..RATE as usize * 29 / 10]) < 0.01);
    // The tone returns at 3 s, with the delay that it had before.
    let returns = heard.pcm[RATE as usize * 5 / 2..].iter().position(|sample| sample.unsigned_abs() > 3_000).unwrap();
    let late = returns as f64 / 48.0 - 500.0;
    assert!((0.0..=45.0).contains(&late), "{late:.1} ms late");
    assert_eq!(broken_windows(&heard.pcm[RATE as usize * 31 / 10..RATE as usize * 39 / 10]), 0);
}

#[test]
fn a_stream_that_stops_fades_to_silence_and_a_new_one_starts() {
    let first = sent(2);
    let mut arrivals = first.clone();
    // Another stream after a second: other numbers, another clock.
    arrivals.extend(first.into_iter().map(|arrival| Arrival {
        at: arrival.at + ms(3_000.0),
        seq: arrival.seq + 900_000,
        timestamp:
            arrival.timestamp.wrapping_mul(3).wrapping_add(77_777).wrapping_sub(arrival.timestamp.wrapping_mul(2)),
        ..arrival
    }));
    let heard = play(arrivals, 5);
    assert!(heard.kinds[225..298].iter().all(|&kind| kind == Pulled::Silence));
    assert!(heard.pcm[RATE as usize * 225 / 100..RATE as usize * 298 / 100].iter().all(|&sample| sample == 0));
    let worst = heard.pcm[RATE as usize * 2..RATE as usize * 5 / 2]
        .windows(2)
        .map(|pair| (i32::from(pair[0]) - i32::from(pair[1])).abs())
        .max()
        .unwrap();
    assert!(worst < 2_000, "a click of {worst}");
    assert!(heard.kinds[305..495].iter().all(|&kind| kind == Pulled::Audio));
    assert_eq!(heard.player.statistics().restarts, 1);
}

#[test]
fn a_paused_capture_resumes_without_added_delay() {
    // The sender stops for a second and goes on with the next sequence number and a timestamp a second later.
    let mut arrivals = sent(6);
    for arrival in &mut arrivals[100..] {
        arrival.at += ms(1_000.0);
        arrival.timestamp = arrival.timestamp.wrapping_add(RATE);
    }
    let heard = play(arrivals, 7);
    assert!(heard.delay(6, 7) <= 22.0, "{:.1} ms", heard.delay(6, 7));
    let resumed = heard.kinds[290..].iter().position(|&kind| kind == Pulled::Audio).unwrap() + 290;
    assert!((300..=304).contains(&resumed), "resumed at tick {resumed}");
}

#[test]
fn rubbish_is_ignored_or_concealed() {
    let mut random = Random::new(23);
    let start = Instant::now();
    for channels in [1, 2] {
        let mut player = AudioPlayout::new(16_000, channels, Config::default()).unwrap();
        let mut out = Vec::new();
        for tick in 0..3_000u64 {
            let now = start + ms(10.0 * tick as f64);
            for _ in 0..random.below(4) {
                let length = random.below(40) as usize;
                let payload: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
                let seq = if random.chance(5) { random.next() } else { tick + random.below(8) };
                let timestamp = if random.chance(5) { random.next() as u32 } else { tick as u32 * 480 };
                player.insert(seq, timestamp, payload.into(), now);
            }
            player.pull(now, &mut out);
            assert_eq!(out.len(), 160 * usize::from(channels));
        }
    }
}

#[test]
fn pauses_of_a_sender_in_dtx_teach_no_delay_at_any_phase() {
    // 50 ms of tone every 310 ms: DTX leaves out what is between, and numbers go on without a gap.
    let pcm: Vec<i16> =
        (0..10 * 100).flat_map(|step| sine(1_000.0, RATE, 480, 1, if step % 31 < 5 { 0.4 } else { 0.0 })).collect();
    let mut all = packets(&pcm, Options { dtx: true, ..Options::default() });
    assert!(all.len() < 450, "DTX sent {} packets", all.len());
    (7..).zip(&mut all).for_each(|(seq, arrival)| arrival.seq = seq);
    for phase in 0..10 {
        let mut random = Random::new(phase + 1);
        let mut arrivals = all.clone();
        for arrival in &mut arrivals {
            arrival.at += ms(phase as f64 + random.below(1_000) as f64 / 1e3);
        }
        let heard = play(arrivals, 10);
        let playing = heard.delays.iter().zip(&heard.kinds).skip(500).filter(|(_, kind)| **kind == Pulled::Audio);
        let mut delays: Vec<_> = playing.filter_map(|(delay, _)| *delay).collect();
        delays.sort_unstable();
        let (median, most) = (delays[delays.len() / 2], delays[delays.len() * 99 / 100]);
        assert!(median <= ms(18.5) && most <= ms(22.0), "{median:?}, {most:?} at phase {phase}");
    }
}

#[test]
fn packets_that_overlap_a_little_are_played_and_their_copies_are_no_late_packets() {
    // Three packets in ten were muted and replaced by silence; what follows is stamped anew, up to 1 ms too early.
    let mut arrivals = sent(10);
    for (index, arrival) in arrivals.iter_mut().enumerate() {
        if index % 10 < 3 {
            arrival.payload = Bytes::from_static(&[0xf8, 0xff, 0xfe]);
        } else {
            let early = (index / 10 % 5 * 12) as u32;
            arrival.timestamp = arrival.timestamp.wrapping_sub(early);
        }
    }
    // Each packet comes again with the next one.
    let copies: Vec<_> = arrivals.iter().cloned().map(|copy| Arrival { at: copy.at + ms(20.0), ..copy }).collect();
    arrivals.extend(copies);
    let heard = play(arrivals, 10);
    let statistics = heard.player.statistics();
    assert_eq!((statistics.late, statistics.skipped), (0, 0), "{statistics:?}");
    assert_eq!(heard.count(Pulled::Concealed), 0);
    let delay = heard.delay(9, 10);
    assert!(delay <= 20.0, "{delay:.1} ms");
}

#[test]
fn copies_of_what_was_sent_before_the_first_packet_add_no_delay() {
    let mut arrivals = sent(3).split_off(50);
    let start = arrivals[0].at;
    arrivals.iter_mut().for_each(|arrival| arrival.at -= start);
    // Each packet brings the one before along.
    let before = sent(3).swap_remove(49);
    let copies: Vec<_> = std::iter::once(before).chain(arrivals.clone()).zip(&arrivals).collect();
    let copies = copies.into_iter().map(|(copy, next)| Arrival { at: next.at, ..copy }).collect::<Vec<_>>();
    arrivals.extend(copies);
    let heard = play(arrivals, 2);
    assert!(heard.delay(0, 1) <= 20.0, "{:.1} ms in the first second", heard.delay(0, 1));
    assert_eq!(heard.player.statistics().played, 100);
}
