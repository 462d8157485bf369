//! One published track: its layers, its subscriptions, and the commands about them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use greenroom_media::rtp::{Codec, Kind};

use crate::clock::{Micros, PublisherClock};
use crate::layer::{Arrival, Layer, Received, is_other_stream};
use crate::recent;
use crate::speakers::{INTERVAL, Loudness};
use crate::subscription::{Stamp, Subscription, instant};
use crate::timers::{Timer, Timers};
use crate::types::{
    Event, Forward, Layer as LayerConfig, MAX_LAYERS, Origin, Packet, PeerId, Statistics, SubscriptionSettings,
    TrackConfig, TrackId,
};

/// Time between two looks at which layers still arrive.
const LIVENESS: Micros = 250_000;
/// A layer that was silent for this long,
const DEAD_AFTER: Micros = 500_000;
/// while another layer had this many frames, has ceased.
const DEAD_FRAMES: u64 = 8;

/// What a call into the room works with.
pub(crate) struct Context<'a> {
    pub(crate) now: Micros,
    pub(crate) origin: Instant,
    pub(crate) events: &'a mut VecDeque<Event>,
    pub(crate) timers: &'a mut Timers,
    pub(crate) statistics: &'a mut Statistics,
}

/// State of one track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) kind: Kind,
    pub(crate) publisher: PeerId,
    pub(crate) priority: u8,
    pub(crate) layers: Vec<Layer>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) loudness: Option<Loudness>,
    pub(crate) muted: bool,
    encrypted: bool,
    codec: Option<Codec>,
    /// Some subscription waits for a key frame that is in a layer's history.
    replay: bool,
    silence: Arc<[u8]>,
    pub(crate) empty: Arc<[u8]>,
    /// For each layer, frames of the other layers when it last showed life.
    frames_elsewhere: [u64; MAX_LAYERS],
}

/// 20 ms of silence in Opus: full band, one frame.
const SILENT_OPUS: [u8; 3] = [0xf8, 0xff, 0xfe];

impl Track {
    /// A track that nothing has arrived of.
    pub(crate) fn new(id: TrackId, config: TrackConfig) -> Track {
        let mut layers: Vec<Layer> = config.layers.into_iter().map(|layer| Layer::new(layer, 0)).collect();
        if layers.is_empty() {
            layers.push(Layer::new(LayerConfig { rid: String::new(), quality: 2, width: 0, height: 0 }, 0));
        }
        let mut track = Track {
            id,
            kind: config.kind,
            publisher: config.publisher,
            priority: config.priority,
            layers,
            subscriptions: Vec::new(),
            loudness: config.detect_speaker.then(Loudness::default),
            muted: false,
            encrypted: config.encrypted,
            codec: None,
            replay: false,
            silence: Arc::from(SILENT_OPUS),
            empty: Arc::from([]),
            frames_elsewhere: [0; MAX_LAYERS],
        };
        track.rank_layers();
        track
    }

    /// Takes new dimensions and qualities for layers it has, by rid.
    pub(crate) fn set_layers(&mut self, ctx: &mut Context<'_>, layers: Vec<LayerConfig>) {
        for config in layers {
            if let Some(layer) = self.layers.iter_mut().find(|layer| layer.config.rid == config.rid) {
                layer.config = config;
            }
        }
        self.rank_layers();
        self.retarget_all(ctx);
    }

    /// A packet of one layer.
    pub(crate) fn handle_packet(
        &mut self,
        ctx: &mut Context<'_>,
        clock: &mut PublisherClock,
        layer: usize,
        packet: &Packet,
        out: &mut impl FnMut(Forward<'_>),
    ) {
        if packet.codec.kind() != self.kind {
            ctx.statistics.packets_refused += 1;
            return;
        }
        if self.muted {
            return;
        }
        let Some(state) = self.layers.get_mut(layer) else {
            ctx.statistics.packets_refused += 1;
            return;
        };
        let late = match state.receive(ctx.now, packet) {
            Received::Forward { late, restarted } => {
                // The first packet ever is no restart.
                ctx.statistics.restarts += u64::from(restarted && state.packets > 0);
                late
            }
            Received::Duplicate => {
                ctx.statistics.packets_duplicate += 1;
                return;
            }
            Received::Refused => {
                ctx.statistics.packets_refused += 1;
                return;
            }
        };
        let duration = state.duration_before(packet.timestamp);
        let arrival = state.read(ctx.now, layer, packet, late, clock);
        let rates_changed = state.count(ctx.now, &arrival);
        if !state.live {
            self.revive(ctx, layer);
        }
        if self.codec.is_none_or(|codec| is_other_stream(codec, packet.codec)) {
            self.codec = Some(packet.codec);
            ctx.events.push_back(Event::FirstPacket { track: self.id, codec: packet.codec });
        }
        match self.kind {
            Kind::Audio => {
                self.observe_loudness(ctx, &arrival, duration);
                self.deliver_audio(ctx, &arrival, out);
            }
            Kind::Video => {
                if rates_changed {
                    self.limit_frame_rates();
                }
                if self.layers.len() > 1 {
                    ctx.timers.arm_if_idle(Timer::Liveness, ctx.now + LIVENESS);
                }
                self.deliver_video(ctx, &arrival, out);
            }
        }
    }

    /// Mutes or unmutes the source.
    pub(crate) fn set_muted(&mut self, ctx: &mut Context<'_>, muted: bool) {
        if self.muted == muted {
            return;
        }
        self.muted = muted;
        if muted {
            if let Some(loudness) = &mut self.loudness {
                loudness.reset();
                ctx.timers.arm_if_idle(Timer::Speakers, next_multiple(ctx.now, INTERVAL));
            }
            for layer in 0..self.layers.len() {
                self.kill(ctx, layer);
            }
        }
        for index in 0..self.subscriptions.len() {
            self.update_flow(ctx, index);
        }
    }

    /// What a subscriber asks for.
    pub(crate) fn set_settings(&mut self, ctx: &mut Context<'_>, index: usize, settings: SubscriptionSettings) {
        let Some(subscription) = self.subscriptions.get_mut(index) else {
            return;
        };
        subscription.settings = settings;
        self.limit_frame_rates();
        self.update_flow(ctx, index);
        self.retarget(ctx, index);
    }

    /// What a subscriber's bandwidth allows.
    pub(crate) fn set_allocation(&mut self, ctx: &mut Context<'_>, index: usize, max_rank: usize, starved: bool) {
        let Some(subscription) = self.subscriptions.get_mut(index) else {
            return;
        };
        let changed = subscription.starved != starved;
        subscription.max_rank = max_rank;
        subscription.starved = starved;
        if changed {
            let subscriber = subscription.subscriber;
            ctx.events.push_back(Event::StreamState { subscriber, track: self.id, paused: starved });
            self.update_flow(ctx, index);
        }
        self.retarget(ctx, index);
    }

    /// Adds a subscription and starts it as soon as there is something to start with.
    pub(crate) fn subscribe(&mut self, ctx: &mut Context<'_>, subscription: Subscription) {
        let index = self.subscriptions.len();
        self.subscriptions.push(subscription);
        self.update_flow(ctx, index);
        self.retarget(ctx, index);
    }

    /// The index of a subscription.
    pub(crate) fn find(&self, subscriber: PeerId) -> Option<usize> {
        self.subscriptions.iter().position(|subscription| subscription.subscriber == subscriber)
    }

    /// A subscriber lost its picture.
    pub(crate) fn handle_keyframe_request(&mut self, ctx: &mut Context<'_>, index: usize) {
        let Some(subscription) = self.subscriptions.get(index).filter(|subscription| subscription.flowing) else {
            return;
        };
        if let Some(layer) = subscription.layer.or(subscription.target) {
            self.request_keyframe(ctx, layer);
        }
    }

    /// [`Timer::Keyframes`].
    pub(crate) fn retry_keyframes(&mut self, ctx: &mut Context<'_>) {
        for index in 0..self.layers.len() {
            let needed = self.subscriptions.iter().any(|subscription| self.waits(subscription, index));
            let Some(layer) = self.layers.get_mut(index) else {
                continue;
            };
            if layer.keyframes.retry(ctx.now, needed) {
                ctx.statistics.keyframe_requests += 1;
                ctx.events.push_back(Event::RequestKeyframe { track: self.id, layer: index });
            }
            if let Some(due) = layer.keyframes.due() {
                ctx.timers.arm(Timer::Keyframes, due);
            }
        }
    }

    /// [`Timer::Liveness`].
    pub(crate) fn check_liveness(&mut self, ctx: &mut Context<'_>) {
        if self.layers.len() < 2 {
            return;
        }
        let total: u64 = self.layers.iter().map(|layer| layer.frames).sum();
        let mut arriving = false;
        for index in 0..self.layers.len() {
            let (Some(layer), Some(mark)) = (self.layers.get(index), self.frames_elsewhere.get_mut(index)) else {
                continue;
            };
            let elsewhere = total - layer.frames;
            let silent = layer.last.map_or(Micros::MAX, |last| ctx.now - last);
            if silent < LIVENESS {
                arriving = true;
                *mark = elsewhere;
            } else if layer.live && silent >= DEAD_AFTER && elsewhere.saturating_sub(*mark) >= DEAD_FRAMES {
                self.kill(ctx, index);
                self.retarget_all(ctx);
            }
        }
        if arriving {
            ctx.timers.arm_if_idle(Timer::Liveness, ctx.now + LIVENESS);
        }
    }

    /// [`Timer::Silence`].
    pub(crate) fn send_silence(&mut self, ctx: &mut Context<'_>, out: &mut impl FnMut(Forward<'_>)) {
        let silence = Arc::clone(&self.silence);
        for subscription in &mut self.subscriptions {
            let accepted = subscription.accept_silence(ctx.now);
            if let Some(due) = subscription.silence_due() {
                ctx.timers.arm(Timer::Silence, due);
            }
            let Some((stamp, capture)) = accepted else {
                continue;
            };
            ctx.statistics.packets_out += 1;
            out(Forward {
                subscriber: subscription.subscriber,
                track: self.id,
                seq: stamp.seq,
                timestamp: stamp.timestamp,
                marker: false,
                codec: Codec::Opus,
                payload: &silence,
                vp8: None,
                nackable: false,
                audio_level: Some(127),
                wallclock: instant(ctx.origin, capture),
                origin: Origin::Made,
            });
        }
    }

    /// Asks for a key frame of a layer, now or when the last request is long enough ago.
    pub(crate) fn request_keyframe(&mut self, ctx: &mut Context<'_>, index: usize) {
        if self.kind == Kind::Audio {
            return;
        }
        let Some(layer) = self.layers.get_mut(index) else {
            return;
        };
        if layer.keyframes.request(ctx.now) {
            ctx.statistics.keyframe_requests += 1;
            ctx.events.push_back(Event::RequestKeyframe { track: self.id, layer: index });
        }
        if let Some(due) = layer.keyframes.due() {
            ctx.timers.arm(Timer::Keyframes, due);
        }
    }

    /// Whether `subscription` can do nothing with layer `index`, its target, before a key frame comes.
    pub(crate) fn waits(&self, subscription: &Subscription, index: usize) -> bool {
        let Some(layer) = self.layers.get(index) else {
            return false;
        };
        subscription.flowing
            && subscription.target == Some(index)
            && !subscription.is_on(index, layer.source)
            && layer.codec.is_none_or(|codec| subscription.codecs.accepts(codec))
    }

    /// Takes the flag that some subscription can start from a history.
    pub(crate) fn take_replay(&mut self) -> bool {
        std::mem::take(&mut self.replay)
    }

    /// Stops or restarts one subscription, as mute, pause and starvation have it.
    fn update_flow(&mut self, ctx: &mut Context<'_>, index: usize) {
        let Some(subscription) = self.subscriptions.get_mut(index) else {
            return;
        };
        let flowing = !(self.muted || subscription.settings.paused || subscription.starved);
        if subscription.flowing == flowing {
            return;
        }
        subscription.flowing = flowing;
        if flowing {
            self.start(ctx, index);
            return;
        }
        let had_layer = subscription.layer.is_some();
        subscription.interrupt();
        if had_layer && self.kind == Kind::Audio && !self.encrypted {
            subscription.plan_silence();
            if let Some(due) = subscription.silence_due() {
                ctx.timers.arm(Timer::Silence, due);
            }
        }
        if had_layer {
            let subscriber = subscription.subscriber;
            ctx.events.push_back(Event::LayerChanged { subscriber, track: self.id, layer: None });
        }
    }

    /// Chooses the layer for one subscription and gets it going there.
    fn retarget(&mut self, ctx: &mut Context<'_>, index: usize) {
        if self.choose_target(index) {
            self.start(ctx, index);
        }
    }

    /// Chooses the layer for one subscription: the best that arrives within its limits, else the least above them.
    /// True when it is another one than before.
    fn choose_target(&mut self, index: usize) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(index) else {
            return false;
        };
        let quality = subscription.settings.quality;
        let max_rank = subscription.max_rank;
        let live = || self.layers.iter().enumerate().filter(|(_, layer)| layer.live);
        let within = live()
            .filter(|(_, layer)| layer.config.quality <= quality && layer.rank <= max_rank)
            .max_by_key(|(_, layer)| layer.rank);
        let target = within.or_else(|| live().min_by_key(|(_, layer)| layer.rank)).map(|(index, _)| index);
        let changed = subscription.target != target;
        subscription.target = target;
        changed
    }

    pub(crate) fn retarget_all(&mut self, ctx: &mut Context<'_>) {
        for index in 0..self.subscriptions.len() {
            self.retarget(ctx, index);
        }
    }

    /// Gets one subscription going on its target: from the history if that will do, else with a new key frame.
    fn start(&mut self, ctx: &mut Context<'_>, index: usize) {
        let Some(subscription) = self.subscriptions.get(index) else {
            return;
        };
        let Some(target) = subscription.target.filter(|&target| self.waits(subscription, target)) else {
            return;
        };
        if self.kind == Kind::Audio {
            return;
        }
        let max_age = subscription.replay_age();
        let Some(layer) = self.layers.get(target) else {
            return;
        };
        if layer.can_replay() && layer.history.since_key(ctx.now, max_age).is_some() {
            self.replay = true;
            ctx.timers.arm(Timer::Replay, ctx.now);
        } else {
            self.request_keyframe(ctx, target);
        }
    }

    fn revive(&mut self, ctx: &mut Context<'_>, index: usize) {
        let Some(layer) = self.layers.get_mut(index) else {
            return;
        };
        layer.live = true;
        ctx.events.push_back(Event::LayerLive { track: self.id, layer: index, live: true });
        let elsewhere =
            self.layers.iter().enumerate().filter(|&(other, _)| other != index).map(|(_, layer)| layer.frames).sum();
        if let Some(mark) = self.frames_elsewhere.get_mut(index) {
            *mark = elsewhere;
        }
        // The packet that came may be a key frame's first: whoever still waits after it was delivered asks for one.
        for index in 0..self.subscriptions.len() {
            self.choose_target(index);
        }
        if self.kind == Kind::Video {
            ctx.timers.arm_if_idle(Timer::Allocation, ctx.now + recent::MAX_AGE);
        }
    }

    fn kill(&mut self, ctx: &mut Context<'_>, index: usize) {
        let Some(layer) = self.layers.get_mut(index).filter(|layer| layer.live) else {
            return;
        };
        layer.die();
        ctx.events.push_back(Event::LayerLive { track: self.id, layer: index, live: false });
        if self.muted {
            // The subscriptions are stopped as a whole.
            return;
        }
        for subscription in self.subscriptions.iter_mut().filter(|subscription| subscription.layer == Some(index)) {
            subscription.interrupt();
            let subscriber = subscription.subscriber;
            ctx.events.push_back(Event::LayerChanged { subscriber, track: self.id, layer: None });
        }
    }

    fn limit_frame_rates(&mut self) {
        for subscription in &mut self.subscriptions {
            let layer = subscription.layer.or(subscription.target).and_then(|index| self.layers.get(index));
            subscription.max_temporal =
                layer.map_or(u8::MAX, |layer| layer.rate.temporal_for(subscription.settings.fps));
        }
    }

    fn observe_loudness(&mut self, ctx: &mut Context<'_>, arrival: &Arrival<'_>, duration: Micros) {
        let (Some(loudness), Some(level), false) = (&mut self.loudness, arrival.audio_level, arrival.late) else {
            return;
        };
        loudness.observe(ctx.now, level, duration);
        ctx.timers.arm_if_idle(Timer::Speakers, next_multiple(ctx.now, INTERVAL));
    }

    fn rank_layers(&mut self) {
        let mut order: Vec<usize> = (0..self.layers.len()).collect();
        order.sort_by_key(|&index| {
            self.layers.get(index).map(|layer| (layer.config.quality, layer.config.width * layer.config.height))
        });
        for (rank, index) in order.into_iter().enumerate() {
            if let Some(layer) = self.layers.get_mut(index) {
                layer.rank = rank;
            }
        }
    }
}

/// What the packets that go out for one arrival have in common.
pub(crate) struct Envelope<'a> {
    track: TrackId,
    arrival: &'a Arrival<'a>,
    empty: &'a Arc<[u8]>,
    wallclock: Instant,
}

impl<'a> Envelope<'a> {
    pub(crate) fn new(
        ctx: &Context<'_>,
        track: TrackId,
        empty: &'a Arc<[u8]>,
        arrival: &'a Arrival<'a>,
    ) -> Envelope<'a> {
        Envelope { track, arrival, empty, wallclock: instant(ctx.origin, arrival.capture) }
    }

    /// Gives one packet out.
    #[inline]
    pub(crate) fn send(
        &self,
        ctx: &mut Context<'_>,
        subscriber: PeerId,
        stamp: &Stamp,
        out: &mut impl FnMut(Forward<'_>),
    ) {
        ctx.statistics.packets_out += 1;
        let arrival = self.arrival;
        out(Forward {
            subscriber,
            track: self.track,
            seq: stamp.seq,
            timestamp: stamp.timestamp,
            marker: arrival.marker && !stamp.filler,
            codec: arrival.codec,
            payload: if stamp.filler { self.empty } else { arrival.payload },
            vp8: stamp.vp8,
            nackable: arrival.codec.kind() == Kind::Video,
            audio_level: arrival.audio_level,
            wallclock: self.wallclock,
            origin: if stamp.filler { Origin::Made } else { arrival.origin },
        });
    }
}

/// The next multiple of `interval` after `now`.
pub(crate) fn next_multiple(now: Micros, interval: Micros) -> Micros {
    now - now.rem_euclid(interval) + interval
}
