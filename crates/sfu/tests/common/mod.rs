//! Virtual time, scripted publishers, and receivers that check what they get.
#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod judge;
pub mod source;

use std::sync::Arc;
use std::time::{Duration, Instant};

use greenroom_media::rtp::vp8;
use greenroom_sfu::{
    Codec, Event, Forward, Layer, Origin, Packet, PeerId, Room, SubscriberCodecs, SubscriptionSettings, TrackConfig,
    TrackId,
};

pub const TRACK: TrackId = TrackId(1);
pub const PUBLISHER: PeerId = PeerId(100);
pub const ALICE: PeerId = PeerId(1);
pub const BOB: PeerId = PeerId(2);

/// A forwarded packet, as a receiver gets it.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Since the test began.
    pub at: Duration,
    pub subscriber: PeerId,
    pub track: TrackId,
    pub seq: u64,
    pub timestamp: u32,
    pub marker: bool,
    pub codec: Codec,
    /// With the VP8 ids written into it.
    pub payload: Vec<u8>,
    pub shared: Arc<[u8]>,
    pub nackable: bool,
    /// Since the test began.
    pub wallclock: Duration,
    pub origin: Origin,
}

impl Sent {
    pub fn vp8(&self) -> vp8::Descriptor {
        vp8::Descriptor::parse(&self.payload).expect("a VP8 payload")
    }
}

/// A room, its clock, and everything that came out of it.
pub struct Stage {
    pub room: Room,
    pub start: Instant,
    pub now: Duration,
    pub sent: Vec<Sent>,
    pub events: Vec<(Duration, Event)>,
}

impl Stage {
    pub fn new() -> Stage {
        // The only clock read: an `Instant` cannot be made up. Everything after is virtual.
        #[allow(clippy::disallowed_methods, reason = "see above")]
        let start = Instant::now();
        Stage { room: Room::new(start, 7), start, now: Duration::ZERO, sent: Vec::new(), events: Vec::new() }
    }

    /// With one track of three VP8 layers.
    pub fn simulcast() -> Stage {
        let mut stage = Stage::new();
        stage.room.add_track(TRACK, TrackConfig::video(PUBLISHER, layers(3))).expect("a new track");
        stage
    }

    /// With one audio track whose speaker is detected.
    pub fn audio() -> Stage {
        let mut stage = Stage::new();
        stage.room.add_track(TRACK, TrackConfig::audio(PUBLISHER, true)).expect("a new track");
        stage
    }

    pub fn time(&self) -> Instant {
        self.start + self.now
    }

    /// Lets time pass, firing timers when they are due.
    pub fn advance_to(&mut self, to: Duration) {
        let mut fired = 0;
        while let Some(due) = self.room.poll_timeout().filter(|&due| due <= self.start + to) {
            self.now = self.now.max(due.saturating_duration_since(self.start));
            let (sent, at, start) = (&mut self.sent, self.now, self.start);
            self.room.handle_timeout(self.start + self.now, &mut |forward| sent.push(record(at, start, &forward)));
            self.drain();
            fired += 1;
            assert!(fired < 10_000, "timers spin at {:?}", self.now);
        }
        self.now = self.now.max(to);
    }

    pub fn advance(&mut self, by: Duration) {
        self.advance_to(self.now + by);
    }

    pub fn packet(&mut self, track: TrackId, layer: usize, packet: &Packet) {
        let (sent, at, start) = (&mut self.sent, self.now, self.start);
        self.room.handle_packet(start + at, track, layer, packet, &mut |forward| {
            sent.push(record(at, start, &forward));
        });
        self.drain();
    }

    pub fn subscribe(&mut self, subscriber: PeerId) {
        self.subscribe_with(subscriber, SubscriberCodecs::ALL);
    }

    pub fn subscribe_with(&mut self, subscriber: PeerId, codecs: SubscriberCodecs) {
        self.room.subscribe(self.time(), TRACK, subscriber, codecs).expect("a new subscription");
        self.drain();
    }

    pub fn set(&mut self, subscriber: PeerId, paused: bool, quality: u8, fps: u32) {
        let settings = SubscriptionSettings { paused, quality, fps };
        self.room.set_subscription(self.time(), TRACK, subscriber, settings);
        self.drain();
    }

    pub fn mute(&mut self, muted: bool) {
        self.room.mute_track(self.time(), TRACK, muted);
        self.drain();
    }

    pub fn bandwidth(&mut self, subscriber: PeerId, bandwidth: Option<u64>) {
        self.room.set_bandwidth(self.time(), subscriber, bandwidth);
        self.drain();
    }

    pub fn ask_keyframe(&mut self, subscriber: PeerId) {
        self.room.handle_keyframe_request(self.time(), TRACK, subscriber);
        self.drain();
    }

    /// What a subscriber got of the track, in the order it was sent.
    pub fn received(&self, subscriber: PeerId) -> Vec<&Sent> {
        self.sent.iter().filter(|sent| sent.subscriber == subscriber).collect()
    }

    /// Takes the layers that key frames were requested of, since the last call.
    pub fn take_requests(&mut self) -> Vec<usize> {
        let mut layers = Vec::new();
        self.events.retain(|(_, event)| match event {
            Event::RequestKeyframe { layer, .. } => {
                layers.push(*layer);
                false
            }
            _ => true,
        });
        layers
    }

    /// The layer that a subscriber was last said to get.
    pub fn current_layer(&self, subscriber: PeerId) -> Option<usize> {
        self.events.iter().rev().find_map(|(_, event)| match event {
            Event::LayerChanged { subscriber: who, layer, .. } if *who == subscriber => Some(*layer),
            _ => None,
        })?
    }

    fn drain(&mut self) {
        while let Some(event) = self.room.poll_event() {
            self.events.push((self.now, event));
        }
    }
}

/// `count` layers from low to high, named as browsers do.
pub fn layers(count: usize) -> Vec<Layer> {
    let all = [("q", 0, 320, 180), ("h", 1, 640, 360), ("f", 2, 1280, 720)];
    let layers = all.into_iter().take(count);
    layers.map(|(rid, quality, width, height)| Layer { rid: rid.into(), quality, width, height }).collect()
}

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn record(at: Duration, start: Instant, forward: &Forward<'_>) -> Sent {
    let mut payload = Vec::new();
    forward.copy_payload(&mut payload);
    assert!(forward.wallclock <= start + at, "a capture time in the future");
    Sent {
        at,
        subscriber: forward.subscriber,
        track: forward.track,
        seq: forward.seq,
        timestamp: forward.timestamp,
        marker: forward.marker,
        codec: forward.codec,
        payload,
        shared: Arc::clone(forward.payload),
        nackable: forward.nackable,
        wallclock: forward.wallclock.saturating_duration_since(start),
        origin: forward.origin,
    }
}

/// A small reproducible generator (xorshift).
pub struct Dice(pub u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
