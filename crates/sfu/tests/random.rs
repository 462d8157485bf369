//! Random lives of a simulcast track: whatever happens, each subscriber's stream can be decoded.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::judge::judge;
use common::source::{Label, Vp8Layer};
use common::{Dice, Sent, Stage, TRACK, ms};
use greenroom_sfu::{Event, Packet, PeerId};

/// What may go wrong between publisher and server.
#[derive(Debug, Clone, Copy)]
struct Network {
    /// Percent of packets that do not come in order,
    loss: u64,
    /// and percent of those that come late.
    repaired: u64,
    restarts: bool,
}

/// One random life.
struct Life {
    dice: Dice,
    network: Network,
    stage: Stage,
    layers: Vec<Vp8Layer>,
    active: [bool; 3],
    subscribed: BTreeSet<u64>,
    /// Lost packets and when they come after all.
    late: Vec<(Duration, usize, Packet)>,
    muted: bool,
}

const PEERS: u64 = 4;
const FRAME: Duration = Duration::from_micros(33_333);

impl Life {
    fn new(seed: u64, network: Network) -> Life {
        let mut dice = Dice::new(seed);
        let mut layers: Vec<Vp8Layer> = (0..3).map(Vp8Layer::new).collect();
        for layer in &mut layers {
            layer.packets_per_frame = 1 + dice.below(5) as u8;
            layer.timestamp_base = dice.next() as u32;
            layer.seq = dice.below(70_000);
            layer.reports = dice.chance(70);
        }
        Life {
            dice,
            network,
            stage: Stage::simulcast(),
            layers,
            active: [true; 3],
            subscribed: BTreeSet::new(),
            late: Vec::new(),
            muted: false,
        }
    }

    fn run(&mut self, frames: u32) {
        for number in 0..frames {
            self.act();
            if !self.muted || self.dice.chance(50) {
                self.film(FRAME * number);
            }
            self.stage.advance_to(FRAME * (number + 1));
            for layer in self.stage.take_requests() {
                // Encoders take their time, and some requests are lost.
                if self.dice.chance(80) {
                    self.layers[layer].key_next = true;
                }
            }
        }
    }

    /// Whatever a room may be told.
    fn act(&mut self) {
        let peer = PeerId(self.dice.below(PEERS));
        let stage = &mut self.stage;
        match self.dice.below(120) {
            0..6 if self.subscribed.insert(peer.0) => stage.subscribe(peer),
            6..16 => {
                let (paused, quality) = (self.dice.chance(15), self.dice.below(3) as u8);
                let fps = [0, 0, 8, 15, 30][self.dice.below(5) as usize];
                stage.set(peer, paused, quality, fps);
            }
            16..20 => {
                let bandwidth = self.dice.chance(70).then(|| self.dice.below(1_000_000));
                stage.bandwidth(peer, bandwidth);
            }
            20..25 => stage.ask_keyframe(peer),
            25 => {
                self.muted = !self.muted;
                stage.mute(self.muted);
            }
            26..30 => {
                let layer = self.dice.below(3) as usize;
                self.active[layer] = !self.active[layer] || layer == 0;
                self.layers[layer].key_next = true;
            }
            30 if self.network.restarts => {
                let layer = self.dice.below(3) as usize;
                self.layers[layer].restart(self.dice.next() as u32 >> 8);
                self.late.retain(|(_, index, _)| *index != layer);
            }
            _ => {}
        }
    }

    fn film(&mut self, at: Duration) {
        for index in 0..self.layers.len() {
            if !self.active[index] {
                continue;
            }
            let mut packets = self.layers[index].frame(at);
            if self.dice.chance(5) {
                packets.push(self.layers[index].padding(at));
            }
            for packet in packets {
                if self.dice.chance(self.network.loss) {
                    if self.dice.chance(self.network.repaired) {
                        self.late.push((at + ms(1 + self.dice.below(150)), index, packet));
                    }
                    continue;
                }
                self.stage.packet(TRACK, index, &packet);
                if self.dice.chance(3) {
                    self.stage.packet(TRACK, index, &packet);
                }
            }
        }
        let now = self.stage.now;
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|(when, ..)| *when <= now);
        self.late = later;
        let due: Vec<(Duration, usize, Packet)> = due;
        for (_, index, packet) in due {
            self.stage.packet(TRACK, index, &packet);
        }
    }
}

#[test]
fn without_loss_every_stream_is_flawless_whatever_is_asked_for() {
    let network = Network { loss: 0, repaired: 0, restarts: true };
    let mut shown = 0;
    for seed in 0..40 {
        let mut life = Life::new(seed, network);
        life.run(1500);
        for peer in 0..PEERS {
            let verdict = judge(&life.stage.received(PeerId(peer)));
            assert_eq!(verdict.fillers, 0, "seed {seed}");
            verdict.expect_flawless();
            shown += verdict.frames.len();
        }
    }
    assert!(shown > 50_000, "{shown} frames in all: too few to prove anything");
}

#[test]
fn with_loss_that_is_repaired_no_sequence_number_stays_open_within_a_source() {
    let network = Network { loss: 8, repaired: 100, restarts: false };
    let mut frames = 0;
    for seed in 100..140 {
        let mut life = Life::new(seed, network);
        life.run(1500);
        for peer in 0..PEERS {
            let received = life.stage.received(PeerId(peer));
            let verdict = judge(&received);
            frames += verdict.frames.len();
            let open = unexplained_gaps(&life.stage, PeerId(peer));
            assert!(open.is_empty(), "seed {seed}, peer {peer}: {open:?}");
        }
    }
    assert!(frames > 50_000, "{frames}");
}

#[test]
fn with_loss_that_is_not_repaired_gaps_are_no_larger_than_what_was_lost() {
    for seed in 200..230 {
        let mut life = Life::new(seed, Network { loss: 5, repaired: 50, restarts: true });
        life.run(1500);
        for peer in 0..PEERS {
            let received = life.stage.received(PeerId(peer));
            let verdict = judge(&received);
            if received.is_empty() {
                continue;
            }
            // Half of 5 % stays lost; padding and unlucky runs allow for twice that.
            let sent = received.len() as u64;
            assert!(verdict.missing <= 20 + sent * 6 / 100, "seed {seed}: {} of {sent} missing", verdict.missing);
            expect_sources_start_with_key_frames(&received, seed);
        }
    }
}

#[test]
fn picture_ids_are_contiguous_over_everything_that_is_not_lost() {
    for seed in 300..330 {
        let mut life = Life::new(seed, Network { loss: 4, repaired: 60, restarts: true });
        life.run(1500);
        for peer in 0..PEERS {
            let verdict = judge(&life.stage.received(PeerId(peer)));
            for pair in verdict.frames.windows(2) {
                let [before, after] = pair else { continue };
                let same = (before.label.layer, before.label.epoch) == (after.label.layer, after.label.epoch);
                let step = after.picture_id.wrapping_sub(before.picture_id) & 0x7fff;
                let published = if same { after.label.frame.saturating_sub(before.label.frame) } else { 1 };
                assert!(step >= 1, "seed {seed}: {before:?} {after:?}");
                assert!(u32::from(step) <= published.max(1), "seed {seed}: {before:?} {after:?}");
            }
        }
    }
}

/// Holes in the sequence numbers that no packet can fill any more, although the source stayed the same.
fn unexplained_gaps(stage: &Stage, peer: PeerId) -> Vec<u64> {
    let mut sorted = stage.received(peer);
    sorted.sort_by_key(|sent| sent.seq);
    // The longest repair takes 150 ms, and comes with the next frame, which a mute may hold up.
    let settled = |at: Duration| at + ms(200);
    let changes = stage.events.iter().filter_map(|(at, event)| match event {
        Event::LayerChanged { subscriber, .. } if *subscriber == peer => Some(*at),
        _ => None,
    });
    let changes: Vec<Duration> = changes.collect();
    let mut gaps = Vec::new();
    for pair in sorted.windows(2) {
        let [before, after] = pair else { continue };
        let left = changes.iter().any(|&at| before.at <= at && at <= settled(after.at));
        if after.seq != before.seq + 1 && settled(after.at) < stage.now && !left {
            gaps.push(before.seq + 1);
        }
    }
    gaps
}

fn expect_sources_start_with_key_frames(received: &[&Sent], seed: u64) {
    let mut sorted: Vec<&&Sent> = received.iter().filter(|sent| !sent.payload.is_empty()).collect();
    sorted.sort_by_key(|sent| sent.seq);
    let mut before = None;
    for sent in sorted {
        let label = Label::read(&sent.payload[sent.vp8().len + 1..]);
        let source = (label.layer, label.epoch);
        if before.replace(source) != Some(source) {
            assert!(label.is_key() && label.index == 0, "seed {seed}: {label:?} starts a source");
        }
    }
}

#[test]
fn lives_are_reproducible() {
    let run = || {
        let mut life = Life::new(1, Network { loss: 5, repaired: 50, restarts: true });
        life.run(600);
        life.stage.sent.iter().map(|sent| (sent.at, sent.subscriber, sent.seq, sent.timestamp)).collect::<Vec<_>>()
    };
    let first = run();
    assert!(!first.is_empty());
    assert_eq!(first, run());
}
