//! The room: commands and packets in, packets and events out.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use greenroom_media::rtp::Kind;

use crate::allocation::{Demand, Step, allocate};
use crate::clock::{Micros, PublisherClock};
use crate::speakers::{self, INTERVAL};
use crate::subscription::{Subscription, instant};
use crate::timers::{Timer, Timers};
use crate::track::{Context, Track, next_multiple};
use crate::types::{
    Error, Event, Forward, Layer, LayerStatistics, MAX_LAYERS, MAX_SUBSCRIBERS, MAX_TRACKS, MAX_TRACKS_PER_PUBLISHER,
    Packet, PeerId, Speaker, Statistics, SubscriberCodecs, SubscriptionSettings, TrackConfig, TrackId,
};

/// Time between two looks at a limited subscriber's share.
const ALLOCATION: Micros = 1_000_000;
/// Sequence numbers beyond this are nonsense; it leaves room to count on.
const MAX_SEQ: u64 = 1 << 62;

/// Forwards the media of one room.
///
/// It has no clock, socket or thread: every call says what time it is, and time never goes back. After every call,
/// drain [`Room::poll_event`] and ask [`Room::poll_timeout`] when to call [`Room::handle_timeout`].
#[derive(Debug)]
pub struct Room {
    origin: Instant,
    now: Micros,
    seed: u64,
    tracks: BTreeMap<TrackId, Track>,
    publishers: BTreeMap<PeerId, Publisher>,
    subscribers: BTreeMap<PeerId, Subscriber>,
    farewells: Vec<Speaker>,
    timers: Timers,
    events: VecDeque<Event>,
    statistics: Statistics,
}

#[derive(Debug, Default)]
struct Publisher {
    clock: PublisherClock,
    tracks: usize,
}

#[derive(Debug, Default)]
struct Subscriber {
    bandwidth: Option<u64>,
    tracks: Vec<TrackId>,
}

impl Room {
    /// An empty room. `seed` is unpredictable to peers; first sequence numbers and timestamps come from it.
    pub fn new(now: Instant, seed: u64) -> Room {
        Room {
            origin: now,
            now: 0,
            seed,
            tracks: BTreeMap::new(),
            publishers: BTreeMap::new(),
            subscribers: BTreeMap::new(),
            farewells: Vec::new(),
            timers: Timers::default(),
            events: VecDeque::new(),
            statistics: Statistics::default(),
        }
    }

    /// Adds a published track.
    ///
    /// # Errors
    ///
    /// The id is in use, a limit is reached, or the layers make no sense.
    pub fn add_track(&mut self, track: TrackId, config: TrackConfig) -> Result<(), Error> {
        if self.tracks.contains_key(&track) {
            return Err(Error::TrackExists(track));
        }
        if self.tracks.len() >= MAX_TRACKS {
            return Err(Error::TooManyTracks);
        }
        check_layers(&config.layers)?;
        let publisher = self.publishers.entry(config.publisher).or_default();
        if publisher.tracks >= MAX_TRACKS_PER_PUBLISHER {
            return Err(Error::TooManyTracksOfPublisher);
        }
        publisher.tracks += 1;
        self.tracks.insert(track, Track::new(track, config));
        Ok(())
    }

    /// Removes a track and its subscriptions. An unknown one is ignored.
    pub fn remove_track(&mut self, now: Instant, track: TrackId) {
        self.advance(now);
        let Some(removed) = self.tracks.remove(&track) else {
            return;
        };
        if let Some(publisher) = self.publishers.get_mut(&removed.publisher) {
            publisher.tracks -= 1;
            if publisher.tracks == 0 {
                self.publishers.remove(&removed.publisher);
            }
        }
        if let Some(farewell) = removed.loudness.and_then(|loudness| loudness.farewell(track)) {
            self.farewells.push(farewell);
            self.timers.arm_if_idle(Timer::Speakers, next_multiple(self.now, INTERVAL));
        }
        for subscription in &removed.subscriptions {
            self.forget_subscription(track, subscription.subscriber);
        }
    }

    /// Removes what a peer publishes and what it subscribes to.
    pub fn remove_peer(&mut self, now: Instant, peer: PeerId) {
        let published: Vec<TrackId> =
            self.tracks.values().filter(|track| track.publisher == peer).map(|track| track.id).collect();
        for track in published {
            self.remove_track(now, track);
        }
        let subscribed = self.subscribers.get(&peer).map(|subscriber| subscriber.tracks.clone()).unwrap_or_default();
        for track in subscribed {
            self.unsubscribe(now, track, peer);
        }
        self.subscribers.remove(&peer);
    }

    /// The publisher muted or unmuted a track: a muted one is not forwarded, whatever arrives.
    pub fn mute_track(&mut self, now: Instant, track: TrackId, muted: bool) {
        self.with_track(now, track, |track, ctx| track.set_muted(ctx, muted));
    }

    /// New dimensions or qualities for layers that the track has; others are ignored.
    pub fn set_layers(&mut self, now: Instant, track: TrackId, layers: Vec<Layer>) {
        self.with_track(now, track, |track, ctx| track.set_layers(ctx, layers));
    }

    /// The layer with this rid. A track with a single layer has every packet in it.
    pub fn layer_index(&self, track: TrackId, rid: &str) -> Option<usize> {
        let layers = &self.tracks.get(&track)?.layers;
        if layers.len() == 1 {
            return Some(0);
        }
        layers.iter().position(|layer| layer.config.rid == rid)
    }

    /// Sends a track to a subscriber from now on.
    ///
    /// # Errors
    ///
    /// The track is unknown, is subscribed to already, or has too many subscribers.
    pub fn subscribe(
        &mut self,
        now: Instant,
        track: TrackId,
        subscriber: PeerId,
        codecs: SubscriberCodecs,
    ) -> Result<(), Error> {
        self.advance(now);
        let state = self.tracks.get(&track).ok_or(Error::UnknownTrack(track))?;
        if state.find(subscriber).is_some() {
            return Err(Error::AlreadySubscribed(track, subscriber));
        }
        if state.subscriptions.len() >= MAX_SUBSCRIBERS {
            return Err(Error::TooManySubscribers);
        }
        // Above zero, and below 2^15 so that the receiver guesses the roll-over counter right.
        let seq = 1 + (self.draw() & 0x3fff);
        let ticks = self.draw() & 0xffff_ffff;
        let subscription = Subscription::new(subscriber, codecs, seq, ticks);
        self.statistics.subscriptions += 1;
        self.subscribers.entry(subscriber).or_default().tracks.push(track);
        self.with_track(now, track, |track, ctx| track.subscribe(ctx, subscription));
        self.allocate_for(subscriber);
        Ok(())
    }

    /// Sends a track to a subscriber no more.
    pub fn unsubscribe(&mut self, now: Instant, track: TrackId, subscriber: PeerId) {
        self.advance(now);
        let Some(state) = self.tracks.get_mut(&track) else {
            return;
        };
        let Some(index) = state.find(subscriber) else {
            return;
        };
        state.subscriptions.swap_remove(index);
        self.forget_subscription(track, subscriber);
        self.allocate_for(subscriber);
    }

    /// What a subscriber wants of a track.
    pub fn set_subscription(
        &mut self,
        now: Instant,
        track: TrackId,
        subscriber: PeerId,
        settings: SubscriptionSettings,
    ) {
        self.with_subscription(now, track, subscriber, |track, ctx, index| track.set_settings(ctx, index, settings));
        self.allocate_for(subscriber);
    }

    /// The codecs that a subscription has after a negotiation.
    pub fn set_codecs(&mut self, now: Instant, track: TrackId, subscriber: PeerId, codecs: SubscriberCodecs) {
        self.with_subscription(now, track, subscriber, |track, _, index| {
            if let Some(subscription) = track.subscriptions.get_mut(index) {
                subscription.codecs = codecs;
            }
        });
    }

    /// What a subscriber can receive in all, in bit/s; `None` = no limit.
    pub fn set_bandwidth(&mut self, now: Instant, subscriber: PeerId, bandwidth: Option<u64>) {
        self.advance(now);
        let Some(state) = self.subscribers.get_mut(&subscriber) else {
            if bandwidth.is_some() {
                self.subscribers.insert(subscriber, Subscriber { bandwidth, tracks: Vec::new() });
            }
            return;
        };
        let lifted = state.bandwidth.is_some() && bandwidth.is_none();
        state.bandwidth = bandwidth;
        if lifted {
            let tracks = state.tracks.clone();
            for track in tracks {
                self.with_subscription(now, track, subscriber, |track, ctx, index| {
                    track.set_allocation(ctx, index, usize::MAX, false);
                });
            }
        }
        self.allocate_for(subscriber);
    }

    /// A subscriber asks for a key frame.
    pub fn handle_keyframe_request(&mut self, now: Instant, track: TrackId, subscriber: PeerId) {
        self.with_subscription(now, track, subscriber, |track, ctx, index| track.handle_keyframe_request(ctx, index));
    }

    /// A publisher's packet of one layer of a track; what is to be sent goes to `out`.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        track: TrackId,
        layer: usize,
        packet: &Packet,
        out: &mut impl FnMut(Forward<'_>),
    ) {
        self.advance(now);
        self.statistics.packets_in += 1;
        let state = self.tracks.get_mut(&track).filter(|_| packet.seq < MAX_SEQ);
        let publisher = state.as_ref().and_then(|state| self.publishers.get_mut(&state.publisher));
        let (Some(state), Some(publisher)) = (state, publisher) else {
            self.statistics.packets_refused += 1;
            return;
        };
        let mut ctx = Context {
            now: self.now,
            origin: self.origin,
            events: &mut self.events,
            timers: &mut self.timers,
            statistics: &mut self.statistics,
        };
        state.handle_packet(&mut ctx, &mut publisher.clock, layer, packet, out);
    }

    /// When [`Room::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().map(|at| instant(self.origin, at))
    }

    /// Does what is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut impl FnMut(Forward<'_>)) {
        self.advance(now);
        while let Some(timer) = self.timers.pop(self.now) {
            match timer {
                Timer::Speakers => self.report_speakers(),
                Timer::Keyframes => self.with_tracks(|track, ctx| track.retry_keyframes(ctx)),
                Timer::Liveness => self.with_tracks(|track, ctx| track.check_liveness(ctx)),
                Timer::Allocation => self.allocate_all(),
                Timer::Silence => self.with_tracks(|track, ctx| track.send_silence(ctx, out)),
                Timer::Replay => self.with_tracks(|track, ctx| {
                    if track.take_replay() {
                        track.replay_histories(ctx, out);
                    }
                }),
            }
        }
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Counters.
    pub fn statistics(&self) -> Statistics {
        Statistics { tracks: self.tracks.len(), ..self.statistics }
    }

    /// How a layer arrives.
    pub fn layer_statistics(&self, track: TrackId, layer: usize) -> Option<LayerStatistics> {
        let layer = self.tracks.get(&track)?.layers.get(layer)?;
        Some(LayerStatistics {
            live: layer.live,
            bitrate: layer.rate.bitrate(),
            fps: u32::try_from(layer.rate.frame_rate(u8::MAX).div_ceil(1000)).unwrap_or(u32::MAX),
            packets: layer.packets,
            key_frames: layer.key_frames,
        })
    }

    fn advance(&mut self, now: Instant) {
        let now = now.saturating_duration_since(self.origin);
        self.now =
            self.now.max(Micros::try_from(now.min(Duration::from_secs(1 << 40)).as_micros()).unwrap_or(Micros::MAX));
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn with_track(&mut self, now: Instant, track: TrackId, act: impl FnOnce(&mut Track, &mut Context<'_>)) {
        self.advance(now);
        let Some(state) = self.tracks.get_mut(&track) else {
            return;
        };
        let mut ctx = Context {
            now: self.now,
            origin: self.origin,
            events: &mut self.events,
            timers: &mut self.timers,
            statistics: &mut self.statistics,
        };
        act(state, &mut ctx);
    }

    fn with_subscription(
        &mut self,
        now: Instant,
        track: TrackId,
        subscriber: PeerId,
        act: impl FnOnce(&mut Track, &mut Context<'_>, usize),
    ) {
        self.with_track(now, track, |track, ctx| {
            if let Some(index) = track.find(subscriber) {
                act(track, ctx, index);
            }
        });
    }

    fn with_tracks(&mut self, mut act: impl FnMut(&mut Track, &mut Context<'_>)) {
        let mut ctx = Context {
            now: self.now,
            origin: self.origin,
            events: &mut self.events,
            timers: &mut self.timers,
            statistics: &mut self.statistics,
        };
        for track in self.tracks.values_mut() {
            act(track, &mut ctx);
        }
    }

    fn forget_subscription(&mut self, track: TrackId, subscriber: PeerId) {
        self.statistics.subscriptions -= 1;
        if let Some(state) = self.subscribers.get_mut(&subscriber) {
            state.tracks.retain(|&other| other != track);
            if state.tracks.is_empty() && state.bandwidth.is_none() {
                self.subscribers.remove(&subscriber);
            }
        }
    }

    fn report_speakers(&mut self) {
        let mut changes = std::mem::take(&mut self.farewells);
        let mut idle = true;
        for track in self.tracks.values_mut() {
            let Some(loudness) = &mut track.loudness else {
                continue;
            };
            changes.extend(loudness.change(self.now, track.id));
            idle &= loudness.is_idle();
        }
        if !changes.is_empty() {
            speakers::sort(&mut changes);
            self.events.push_back(Event::Speakers(changes));
        }
        if !idle {
            self.timers.arm(Timer::Speakers, next_multiple(self.now, INTERVAL));
        }
    }

    fn allocate_all(&mut self) {
        let limited: Vec<PeerId> =
            self.subscribers.iter().filter(|(_, state)| state.bandwidth.is_some()).map(|(&peer, _)| peer).collect();
        for peer in limited {
            self.allocate_for(peer);
        }
    }

    /// Shares out what a subscriber can receive.
    fn allocate_for(&mut self, subscriber: PeerId) {
        let Some(state) = self.subscribers.get(&subscriber) else {
            return;
        };
        let Some(mut budget) = state.bandwidth else {
            return;
        };
        let mut demands = Vec::new();
        let mut places = Vec::new();
        for id in &state.tracks {
            let Some(track) = self.tracks.get(id) else {
                continue;
            };
            let Some(index) = track.find(subscriber) else {
                continue;
            };
            if track.kind == Kind::Audio {
                let bitrate = track.layers.first().map_or(0, |layer| layer.rate.bitrate());
                budget = budget.saturating_sub(if track.muted { 0 } else { bitrate });
            } else if let Some(demand) = track.demand(index) {
                demands.push(demand);
                places.push((*id, index));
            }
        }
        let now = instant(self.origin, self.now);
        for ((track, index), rank) in places.into_iter().zip(allocate(budget, &demands)) {
            self.with_track(now, track, |track, ctx| {
                track.set_allocation(ctx, index, rank.unwrap_or(usize::MAX), rank.is_none());
            });
        }
        self.timers.arm_if_idle(Timer::Allocation, self.now + ALLOCATION);
    }
}

impl Track {
    /// What a subscription could use, `None` when it uses nothing now.
    fn demand(&self, index: usize) -> Option<Demand> {
        let subscription = self.subscriptions.get(index)?;
        if subscription.settings.paused || self.muted {
            return None;
        }
        let mut live: Vec<_> = self.layers.iter().filter(|layer| layer.live).collect();
        live.sort_by_key(|layer| layer.rank);
        // The lowest layer is the least there is; what a higher one costs must be known first.
        let usable = |layer: &&&crate::layer::Layer| {
            layer.config.quality <= subscription.settings.quality && layer.rate.is_measured()
        };
        let within = live.iter().take_while(usable).count().max(1);
        let steps = live.iter().take(within).map(|layer| Step { rank: layer.rank, bitrate: layer.rate.bitrate() });
        let mut steps: Vec<Step> = steps.collect();
        if steps.is_empty() {
            steps.push(Step { rank: 0, bitrate: 0 });
        }
        let current =
            subscription.layer.or(subscription.target).and_then(|index| self.layers.get(index)).map(|layer| layer.rank);
        let current = current.filter(|_| !subscription.starved);
        Some(Demand { priority: self.priority, steps, current })
    }
}

fn check_layers(layers: &[Layer]) -> Result<(), Error> {
    if layers.len() > MAX_LAYERS {
        return Err(Error::TooManyLayers);
    }
    for (index, layer) in layers.iter().enumerate() {
        if layer.quality > 2 || layers.iter().take(index).any(|other| other.rid == layer.rid) {
            return Err(Error::InvalidLayer(layer.rid.clone()));
        }
    }
    Ok(())
}
