//! The way of audio from a capture to a reader on virtual time: sources, encoder, player and sink as they really are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroom_codec::opus;
use greenroom_codec::playout::AudioPlayout;
use greenroom_media::audio::{AudioConverter, Quality};
use greenroom_media::jitter::audio::Config;

use crate::audio_sink::{AudioSink, AudioSinkOptions};
use crate::audio_source::AudioSource;
use crate::events::EventQueue;

const RATE: u32 = 48_000;
const TICK_US: u64 = 10_000;
/// How long a packet is under way at least, and how much longer it may be.
const NETWORK_US: u64 = 700;
const JITTER_US: u64 = 1_000;
const SECONDS: u64 = 4;
/// Captures of 10 ms: so many of tone in so many.
const BURST: u64 = 5;
const EVERY: u64 = 31;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }
}

struct Chain {
    start: Instant,
    source: AudioSource,
    converter: AudioConverter,
    encoder: opus::Encoder,
    pending: Vec<i16>,
    /// Packets so far, with those that DTX left out.
    sent: u64,
    seq: u64,
    /// Arrival, sequence number, timestamp and payload.
    network: Vec<(u64, u64, u32, Vec<u8>)>,
    player: AudioPlayout,
    sink: AudioSink,
}

impl Chain {
    fn new(source: u32, sink: u32) -> Self {
        let events = Arc::new(EventQueue::new().unwrap());
        let options =
            AudioSinkOptions { sample_rate: sink, num_channels: 1, frame_samples: sink as usize / 100, capacity: 0 };
        let settings = opus::Options { dtx: true, ..opus::Options::default() };
        Self {
            start: Instant::now(),
            source: AudioSource::new(1, source, 1, 1.0, Arc::clone(&events)),
            converter: AudioConverter::new(RATE, 1, Quality::Medium).unwrap().in_step(),
            encoder: opus::Encoder::new(RATE, 1, settings).unwrap(),
            pending: Vec::new(),
            sent: 0,
            seq: 0,
            network: Vec::new(),
            player: AudioPlayout::new(RATE, 2, Config::default()).unwrap(),
            sink: AudioSink::new(2, options, events).unwrap(),
        }
    }

    /// What the program and the media thread do with a frame.
    fn capture(&mut self, pcm: &[i16], at: u64, underway: u64) {
        if self.source.capture(1, pcm).1 {
            let mut pcm = Vec::new();
            self.source.catch_up(&mut pcm);
            self.send(&pcm, at + underway);
        }
    }

    fn send(&mut self, pcm: &[i16], arrival: u64) {
        self.converter.push(pcm, self.source.sample_rate(), 1, &mut self.pending).unwrap();
        while self.pending.len() >= 960 {
            let frame: Vec<i16> = self.pending.drain(..960).collect();
            let mut packet = Vec::new();
            if !self.encoder.encode(&frame, &mut packet).unwrap().silent {
                self.seq += 1;
                self.network.push((arrival, self.seq, (self.sent * 960) as u32, packet));
            }
            self.sent += 1;
        }
    }

    /// What the media thread does every 10 ms. True for each frame that a reader now gets in which the tone is heard.
    fn tick(&mut self, at: u64, underway: u64) -> Vec<bool> {
        let mut pcm = Vec::new();
        self.source.tick(&mut pcm);
        self.send(&pcm, at + underway);
        let now = self.start + Duration::from_micros(at);
        for (arrival, seq, timestamp, packet) in self.network.extract_if(.., |packet| packet.0 <= at) {
            self.player.insert(seq, timestamp, packet.into(), self.start + Duration::from_micros(arrival));
        }
        self.player.pull(now, &mut pcm);
        self.sink.write(RATE, 2, &pcm);
        std::iter::from_fn(|| self.sink.read()).map(|frame| frame.iter().any(|sample| *sample > 2_000)).collect()
    }
}

/// So many milliseconds of 1 kHz.
fn tone(rate: u32, milliseconds: u32) -> Vec<i16> {
    let step = std::f64::consts::TAU * 1_000.0 / f64::from(rate);
    (0..rate * milliseconds / 1_000).map(|n| ((f64::from(n) * step).sin() * 12_000.0) as i16).collect()
}

/// Milliseconds from the first capture of each burst to its first frame at the reader, when the program's captures come
/// `phase` after a tick and up to `late` microseconds later than they should.
fn delays(source: u32, sink: u32, phase: u64, late: u64) -> Vec<f64> {
    let mut random = Random(phase * 7 + late);
    let mut chain = Chain::new(source, sink);
    let tone = tone(source, 10);
    let silence = vec![0; tone.len()];
    let (mut captured, mut began, mut quiet, mut found) = (0, 0, 0, Vec::new());
    let mut due = phase;
    for tick in 0..SECONDS * 100 {
        let at = tick * TICK_US;
        while due <= at {
            let step = captured % EVERY;
            if step == 0 {
                began = due;
            }
            let underway = NETWORK_US + random.below(JITTER_US);
            chain.capture(if step < BURST { &tone } else { &silence }, due, underway);
            captured += 1;
            due = captured * TICK_US + phase + random.below(late);
        }
        for heard in chain.tick(at, NETWORK_US + random.below(JITTER_US)) {
            if heard && quiet > 10 {
                found.push((at - began) as f64 / 1e3);
            }
            quiet = if heard { 0 } else { quiet + 1 };
        }
    }
    found
}

#[test]
fn a_sound_after_a_pause_is_heard_within_30_ms_however_captures_and_ticks_lie() {
    for (source, sink) in [(RATE, RATE), (24_000, 16_000), (16_000, 24_000), (44_100, RATE)] {
        for (phase, late) in (0..10).flat_map(|phase| [(phase * 1_000, 0), (phase * 1_000 + 500, 3_000)]) {
            let delays = delays(source, sink, phase, late);
            let most = delays.iter().copied().fold(0.0, f64::max);
            assert_eq!(delays.len(), 12, "each burst but the one that begins");
            assert!(most <= 30.0, "{most:.1} ms from {source} to {sink} Hz at {phase} us, {late} us late");
        }
    }
}

#[test]
fn a_word_captured_at_once_is_heard_within_30_ms_each_time() {
    for phase in (0..2 * TICK_US).step_by(1_000) {
        let mut random = Random(phase);
        let mut chain = Chain::new(RATE, RATE);
        let word = tone(RATE, 40);
        let (mut due, mut began, mut quiet, mut words) = (500_000 + phase, 0, 100, 0);
        for tick in 0..800 {
            let at = tick * TICK_US;
            if due <= at {
                began = due;
                chain.capture(&word, due, NETWORK_US + random.below(JITTER_US));
                due += 1_000_000;
            }
            for heard in chain.tick(at, NETWORK_US + random.below(JITTER_US)) {
                if heard && quiet > 10 {
                    words += 1;
                    assert!(at - began <= 30_000, "{} us, the {words}th word at {phase} us", at - began);
                }
                quiet = if heard { 0 } else { quiet + 1 };
            }
        }
        assert_eq!(words, 8);
    }
}
