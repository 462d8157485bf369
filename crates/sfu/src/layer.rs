//! One encoding of a track, as its publisher sends it.

use std::sync::Arc;

use greenroom_media::rtp::{Codec, FrameInfo, Kind};

use crate::clock::{Micros, PublisherClock, StreamClock, scale};
use crate::keyframes::KeyframeRequester;
use crate::rate::RateMeter;
use crate::recent::{History, Recent};
use crate::types::{Layer as LayerConfig, Origin, Packet};
use crate::window::{Order, WINDOW, Window};

/// More missing than this is no loss but another stream: the receiver could not repair it anyway.
const MAX_GAP: u64 = 1000;
/// This many packets in a row from before the window are a stream that started anew.
const OLD_RUN: u32 = 5;
/// Packets of the stream before are refused for this long after a restart.
const LINGER: Micros = 1_000_000;
/// A timestamp this far ahead of the time that has passed is a jump.
const MAX_JUMP: Micros = 5_000_000;
/// So is one this far back.
const MAX_BACK: Micros = 1_000_000;

/// A packet with all that subscriptions need to know about it.
#[derive(Debug, Clone)]
pub(crate) struct Arrival<'a> {
    pub(crate) layer: usize,
    pub(crate) source: Source,
    pub(crate) late: bool,
    pub(crate) seq: u64,
    pub(crate) ticks: u64,
    pub(crate) capture: Micros,
    pub(crate) marker: bool,
    pub(crate) codec: Codec,
    pub(crate) info: FrameInfo,
    /// A decoder can start here.
    pub(crate) starts: bool,
    pub(crate) payload: &'a Arc<[u8]>,
    pub(crate) audio_level: Option<u8>,
    pub(crate) origin: Origin,
}

/// Tells continuations from restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Source {
    /// Another one: decoders need a key frame, and sequence numbers are unrelated.
    pub(crate) generation: u32,
    /// Another one: timestamps are unrelated.
    pub(crate) timeline: u32,
}

/// What [`Layer::receive`] made of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Forward it; `restarted` when the source is another one than before.
    Forward { late: bool, restarted: bool },
    /// It was here before.
    Duplicate,
    /// It comes too late, or from a stream that has been replaced.
    Refused,
}

/// State of one encoding.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) config: LayerConfig,
    /// Place among the track's layers, by quality.
    pub(crate) rank: usize,
    pub(crate) source: Source,
    pub(crate) codec: Option<Codec>,
    pub(crate) live: bool,
    /// Arrival of the last packet.
    pub(crate) last: Option<Micros>,
    pub(crate) packets: u64,
    pub(crate) frames: u64,
    pub(crate) key_frames: u64,
    pub(crate) rate: RateMeter,
    pub(crate) keyframes: KeyframeRequester,
    pub(crate) history: History,
    /// Sequence numbers whose Opus payload has been delivered, from RED or not.
    pub(crate) unwrapped: Window,
    ssrc: Option<u32>,
    replaced: Option<(u32, Micros)>,
    window: Window,
    old: Option<(u64, u32)>,
    clock: StreamClock,
    frame: Option<u64>,
    parameter_sets: bool,
}

impl Layer {
    /// An encoding that nothing has arrived of.
    pub(crate) fn new(config: LayerConfig, rank: usize) -> Layer {
        Layer {
            config,
            rank,
            source: Source::default(),
            codec: None,
            live: false,
            last: None,
            packets: 0,
            frames: 0,
            key_frames: 0,
            rate: RateMeter::default(),
            keyframes: KeyframeRequester::default(),
            history: History::default(),
            unwrapped: Window::default(),
            ssrc: None,
            replaced: None,
            window: Window::default(),
            old: None,
            clock: StreamClock::default(),
            frame: None,
            parameter_sets: false,
        }
    }

    /// Places a packet among those before.
    pub(crate) fn receive(&mut self, now: Micros, packet: &Packet) -> Received {
        let mut restarted = false;
        if self.ssrc != Some(packet.ssrc) || self.codec.is_some_and(|codec| is_other_stream(codec, packet.codec)) {
            if self.replaced.is_some_and(|(ssrc, at)| ssrc == packet.ssrc && now - at < LINGER) {
                return Received::Refused;
            }
            self.replaced = self.ssrc.map(|ssrc| (ssrc, now));
            self.ssrc = Some(packet.ssrc);
            self.restart(packet.codec);
            restarted = true;
        } else if let Some(highest) = self.window.highest()
            && (packet.seq.saturating_sub(highest) > MAX_GAP || self.is_old_run(packet.seq, highest))
        {
            self.restart(packet.codec);
            restarted = true;
        }
        self.codec = Some(packet.codec);
        match self.window.insert(packet.seq) {
            Order::Next => Received::Forward { late: false, restarted },
            Order::Late => Received::Forward { late: true, restarted },
            Order::Duplicate => Received::Duplicate,
            Order::TooOld => Received::Refused,
        }
    }

    /// Reads a packet that [`Self::receive`] lets through, and counts it.
    pub(crate) fn read<'a>(
        &mut self,
        now: Micros,
        layer: usize,
        packet: &'a Packet,
        late: bool,
        publisher: &mut PublisherClock,
    ) -> Arrival<'a> {
        let info = FrameInfo::parse(packet.codec, &packet.payload);
        let ticks = self.clock.unwrap(packet.timestamp);
        if !late {
            self.observe_time(now, ticks);
        }
        if let Some(report) = packet.sender_report {
            self.clock.report(report, publisher, now);
        }
        self.parameter_sets |= info.parameter_sets;
        // A stream that sends its parameter sets in band starts with them.
        let starts = match packet.codec.kind() {
            Kind::Audio => !late && !packet.payload.is_empty(),
            Kind::Video => info.key_frame && info.frame_start && (info.parameter_sets || !self.parameter_sets),
        };
        Arrival {
            layer,
            source: self.source,
            late,
            seq: packet.seq,
            ticks,
            capture: self.clock.capture(ticks, publisher, now),
            marker: packet.marker,
            codec: packet.codec,
            info,
            starts,
            payload: &packet.payload,
            audio_level: packet.audio_level,
            origin: Origin::Live,
        }
    }

    /// Counts a packet in the rates; true when they are new.
    pub(crate) fn count(&mut self, now: Micros, arrival: &Arrival<'_>) -> bool {
        self.last = Some(now);
        self.packets += 1;
        let new_frame = !arrival.payload.is_empty() && !arrival.late && self.frame != Some(arrival.ticks);
        if new_frame {
            self.frame = Some(arrival.ticks);
            self.frames += 1;
        }
        if arrival.starts && arrival.info.key_frame {
            self.key_frames += 1;
            self.keyframes.satisfied();
        }
        let frame = new_frame.then_some(arrival.info.temporal.unwrap_or(0));
        self.rate.add(now, arrival.payload.len(), frame)
    }

    /// Keeps a video packet for those who start at the key frame before it.
    pub(crate) fn keep(&mut self, now: Micros, arrival: &Arrival<'_>) {
        let recent = Recent {
            seq: arrival.seq,
            ticks: arrival.ticks,
            capture: arrival.capture,
            arrival: now,
            marker: arrival.marker,
            codec: arrival.codec,
            info: arrival.info,
            payload: Arc::clone(arrival.payload),
        };
        self.history.add(recent, arrival.starts);
    }

    /// How long ago, in media time, the highest timestamp before `ticks` was. Called before [`Self::read`] it is what
    /// a packet in order lasts.
    pub(crate) fn duration_before(&self, timestamp: u32) -> Micros {
        let Some(codec) = self.codec else { return 0 };
        scale(self.clock.advance_of(self.clock.unwrap(timestamp)), 1_000_000, i64::from(codec.clock_rate()))
    }

    /// Nothing arrives any more.
    pub(crate) fn die(&mut self) {
        self.live = false;
        self.history.clear();
        self.keyframes.satisfied();
    }

    fn restart(&mut self, codec: Codec) {
        self.source.generation = self.source.generation.wrapping_add(1);
        self.window.reset();
        self.unwrapped.reset();
        self.old = None;
        self.clock.restart(codec.clock_rate());
        self.frame = None;
        self.history.clear();
        self.parameter_sets = false;
    }

    fn is_old_run(&mut self, seq: u64, highest: u64) -> bool {
        if highest.saturating_sub(seq) < WINDOW {
            self.old = None;
            return false;
        }
        let run = match self.old {
            Some((last, run)) if seq > last && seq - last < MAX_GAP => run + 1,
            _ => 1,
        };
        self.old = Some((seq, run));
        run >= OLD_RUN
    }

    fn observe_time(&mut self, now: Micros, ticks: u64) {
        let rate = self.codec.map_or(1, |codec| i64::from(codec.clock_rate()));
        let media = scale(self.clock.advance_of(ticks), 1_000_000, rate);
        let passed = self.last.map_or(0, |last| now - last);
        if media - passed > MAX_JUMP || media < -MAX_BACK {
            self.source.timeline = self.source.timeline.wrapping_add(1);
            self.clock.jump();
            self.history.clear();
        }
        self.clock.observe(ticks, now);
    }
}

/// Opus and RED of it are one stream; any other change of codec starts a new one.
pub(crate) fn is_other_stream(before: Codec, after: Codec) -> bool {
    before != after && !(matches!(before, Codec::Opus | Codec::Red) && matches!(after, Codec::Opus | Codec::Red))
}
