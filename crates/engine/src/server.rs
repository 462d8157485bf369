//! Rooms of a server: publishers' packets go through `sfu` to subscribers' connections.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, UNIX_EPOCH};

use greenroom_peer::{
    self as peer, Extensions, IncomingPacket, MediaKind, Mid, Missing, Outgoing, OutgoingPacket, Peer, PeerConfig, Rid,
    Role, Vp8Rewrite,
};
use greenroom_sfu::{self as sfu, Forward, Origin, PeerId, SubscriberCodecs, TrackId};

use crate::Counters;
use crate::events::{Event, Handle, PeerQuality};
use crate::handles::HandleMap;
use crate::listen::Sockets;
use crate::world::{PeerEntry, Side, World, mime};

/// RTP clock rates in hertz.
const AUDIO_CLOCK: f64 = 48_000.0;
const VIDEO_CLOCK: f64 = 90_000.0;
/// How often transport figures are told.
const QUALITY_INTERVAL: Duration = Duration::from_secs(5);
/// How often an answering client is asked for sections it does not add before it is left alone.
const SECTION_REQUESTS: u32 = 3;

/// A participant's connection to a room of ours.
#[derive(Debug)]
pub(crate) struct ServerPeer {
    pub(crate) room: Handle,
    /// We make the offers (dual mode's subscriber side).
    pub(crate) offers: bool,
    /// The first description was exchanged.
    negotiated: bool,
    /// The client was asked for an offer that has not come yet.
    requested: bool,
    /// Tracks were attached or detached since the last request or offer.
    changed: bool,
    last_missing: Missing,
    fruitless_requests: u32,
}

/// One simulcast layer of a published track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// RTP stream id, "" when there is one encoding.
    pub rid: String,
    /// 0 low to 2 high.
    pub quality: u8,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// How a track is made up.
#[derive(Debug, Clone)]
pub struct TrackOptions {
    /// Audio, otherwise video.
    pub audio: bool,
    /// Simulcast layers.
    pub layers: Vec<Layer>,
    /// Whether speech on it makes its publisher an active speaker.
    pub detect_speaker: bool,
    /// Who gets bandwidth first, higher before lower.
    pub priority: u8,
    /// Payloads are encrypted end to end: nothing can be made in their place.
    pub encrypted: bool,
}

/// How a track that a client announced is to be sent to us.
#[derive(Debug, Clone)]
pub struct TrackPreference {
    /// MIME types, the best first; just "audio/opus" rules redundant audio out. Unknown ones are left out.
    pub codecs: Vec<String>,
    /// Stereo, at a bitrate for music.
    pub stereo: bool,
    /// The client may stop sending while there is silence.
    pub dtx: bool,
}

/// What a subscriber wants of a track.
pub type SubscriptionSettings = sfu::SubscriptionSettings;

/// All rooms of an engine.
#[derive(Default)]
pub(crate) struct Rooms {
    rooms: HandleMap<Room>,
    tracks: HandleMap<Track>,
    published: HashMap<(Handle, Mid), Handle>,
}

struct Room {
    sfu: sfu::Room,
    peers: HashSet<Handle>,
    quality_at: Instant,
}

struct Track {
    room: Handle,
    publisher: Handle,
    mid: Mid,
    kind: MediaKind,
    layers: Vec<(Option<Rid>, Option<sfu::SenderReport>)>,
    subscribers: HandleMap<Subscription>,
    /// What key frames that are sent again need as the originals did: orientation and colour space.
    kept: Extensions,
}

impl Track {
    fn keep(&mut self, extensions: &Extensions) {
        if extensions.color_space.is_some() {
            self.kept.color_space.clone_from(&extensions.color_space);
        }
        if extensions.orientation.is_some() {
            self.kept.orientation = extensions.orientation;
        }
    }
}

#[derive(Default)]
struct Subscription {
    settings: SubscriptionSettings,
    bound: bool,
}

impl Rooms {
    pub(crate) fn contains(&self, room: Handle) -> bool {
        self.rooms.contains_key(&room)
    }

    pub(crate) fn handles(&self) -> Vec<Handle> {
        self.rooms.keys().copied().collect()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let wants = |room: &Room| room.sfu.poll_timeout().map_or(room.quality_at, |at| at.min(room.quality_at));
        self.rooms.values().filter(|room| !room.peers.is_empty()).map(wants).min()
    }
}

impl World {
    // -- rooms and peers ---------------------------------------------------------------------------------------------

    /// Open a room.
    pub fn open_room(&mut self, room: Handle) {
        if self.rooms.contains(room) {
            return tracing::warn!(room, "this room is open already");
        }
        let sfu = sfu::Room::new(self.now, random());
        let entry = Room { sfu, peers: HashSet::new(), quality_at: self.now + QUALITY_INTERVAL };
        self.rooms.rooms.insert(room, entry);
        self.counters().rooms.fetch_add(1, Ordering::Relaxed);
    }

    /// Close a room and everything in it. Unknown handles are ignored.
    pub fn close_room(&mut self, room: Handle) {
        let Some(entry) = self.rooms.rooms.get(&room) else {
            return;
        };
        let peers: Vec<Handle> = entry.peers.iter().copied().collect();
        for handle in peers {
            if let Some(entry) = self.rooms.rooms.get_mut(&room) {
                entry.peers.remove(&handle);
            }
            self.close_peer(handle);
        }
        self.rooms.rooms.remove(&room);
        self.counters().rooms.fetch_sub(1, Ordering::Relaxed);
    }

    /// Make a participant's connection, which waits for the client.
    pub fn open_server_peer(&mut self, room: Handle, handle: Handle, offers: bool) {
        let Some(entry) = self.rooms.rooms.get_mut(&room) else {
            return;
        };
        if self.peers.contains_key(&handle) {
            return tracing::warn!(peer = handle, "this peer is open already");
        }
        let mut config = PeerConfig::new(Role::Server, random_text(8), random_text(24));
        config.candidates = self.sockets.server_candidates().to_vec();
        config.certificate = self.media.certificate();
        config.data_channels = offers;
        match Peer::new(config, self.now) {
            Ok(peer) => {
                entry.peers.insert(handle);
                self.insert_peer(handle, peer, Side::Server(ServerPeer::new(room, offers)));
            }
            Err(error) => {
                self.emit(Event::PeerState { peer: handle, state: "failed", detail: error.to_string() });
            }
        }
    }

    pub(crate) fn server_peer_ended(&mut self, handle: Handle, side: &ServerPeer) {
        let tracks: Vec<Handle> =
            self.rooms.tracks.iter().filter(|(_, track)| track.publisher == handle).map(|(track, _)| *track).collect();
        for track in tracks {
            self.remove_track(track);
        }
        for track in self.rooms.tracks.values_mut() {
            if track.subscribers.remove(&handle).is_some() {
                self.counters.subscriptions.fetch_sub(1, Ordering::Relaxed);
            }
        }
        if let Some(room) = self.rooms.rooms.get_mut(&side.room) {
            room.peers.remove(&handle);
            room.sfu.remove_peer(self.now, PeerId(handle));
        }
        self.room_events(side.room);
    }

    pub(crate) fn run_room_timers(&mut self) {
        let now = self.now;
        let due = |room: &Room| room.quality_at <= now || room.sfu.poll_timeout().is_some_and(|at| at <= now);
        let rooms: Vec<Handle> =
            self.rooms.rooms.iter().filter(|(_, room)| due(room)).map(|(handle, _)| *handle).collect();
        for room in rooms {
            self.guarded(room, |world| {
                world.run_room(room);
                world.room_events(room);
            });
        }
    }

    fn run_room(&mut self, handle: Handle) {
        let now = self.now;
        let Self { rooms, peers, sockets, counters, .. } = self;
        let Some(room) = rooms.rooms.get_mut(&handle) else {
            return;
        };
        let tracks = &rooms.tracks;
        let mut outlet = Outlet { peers, sockets, counters, now };
        room.sfu.handle_timeout(now, &mut |forward| {
            if let Some(track) = tracks.get(&forward.track.0) {
                outlet.deliver(&forward, &Extensions::default(), &track.kept);
            }
        });
        if room.quality_at <= now {
            room.quality_at = now + QUALITY_INTERVAL;
            let members: Vec<Handle> = room.peers.iter().copied().collect();
            let peers = members.into_iter().filter_map(|peer| self.peer_statistics(peer)).collect();
            self.emit(Event::Quality { room: handle, peers });
        }
    }

    /// Transport figures of one peer.
    pub fn peer_statistics(&self, handle: Handle) -> Option<PeerQuality> {
        let entry = &self.peers.get(&handle)?.peer;
        let statistics = entry.statistics();
        let is_audio =
            |mid| entry.sections().iter().any(|section| section.mid == mid && section.kind == MediaKind::Audio);
        let jitter = |stream: &peer::IncomingStatistics| {
            f64::from(stream.jitter) / if is_audio(stream.mid) { AUDIO_CLOCK } else { VIDEO_CLOCK }
        };
        let worst = statistics.incoming.iter().map(jitter).fold(0.0, f64::max);
        Some(PeerQuality {
            peer: handle,
            rtt: statistics.rtt.map_or(0.0, |rtt| rtt.as_secs_f64()),
            sent_loss: f64::from(statistics.loss_sent.unwrap_or(0.0)),
            received_loss: f64::from(statistics.loss_received.unwrap_or(0.0)),
            jitter: worst,
        })
    }

    fn room_events(&mut self, handle: Handle) {
        while let Some(event) = self.rooms.rooms.get_mut(&handle).and_then(|room| room.sfu.poll_event()) {
            match event {
                sfu::Event::RequestKeyframe { track, layer } => self.request_keyframe(track, layer),
                sfu::Event::Speakers(speakers) => {
                    let speakers = speakers.iter().map(|one| (one.track.0, one.level, one.active)).collect();
                    self.emit(Event::Speakers { room: handle, speakers });
                }
                sfu::Event::FirstPacket { track, codec } => {
                    self.emit(Event::TrackMedia { track: track.0, mime: codec.mime().to_owned() });
                }
                sfu::Event::StreamState { subscriber, track, paused } => {
                    self.emit(Event::StreamState { peer: subscriber.0, track: track.0, paused });
                }
                sfu::Event::LayerChanged { .. } | sfu::Event::LayerLive { .. } => {}
            }
        }
    }

    fn request_keyframe(&mut self, track: TrackId, layer: usize) {
        let Some(track) = self.rooms.tracks.get(&track.0) else {
            return;
        };
        let rid = track.layers.get(layer).and_then(|(rid, _)| *rid);
        let (publisher, mid) = (track.publisher, track.mid);
        if let Some(entry) = self.peers.get_mut(&publisher) {
            entry.peer.request_keyframe(mid, rid);
            self.touch(publisher);
        }
    }

    // -- tracks and subscriptions ------------------------------------------------------------------------------------

    /// Make what `publisher` sends on `mid` a track.
    pub fn add_track(&mut self, room: Handle, track: Handle, publisher: Handle, mid: &str, options: TrackOptions) {
        let Some(entry) = self.rooms.rooms.get_mut(&room) else {
            return;
        };
        let layers = options.layers.iter().map(|layer| sfu::Layer {
            rid: layer.rid.clone(),
            quality: layer.quality,
            width: layer.width,
            height: layer.height,
        });
        let config = match options.audio {
            true => sfu::TrackConfig::audio(PeerId(publisher), options.detect_speaker),
            false => sfu::TrackConfig::video(PeerId(publisher), layers.collect()),
        };
        let config = sfu::TrackConfig { priority: options.priority, encrypted: options.encrypted, ..config };
        if let Err(error) = entry.sfu.add_track(TrackId(track), config) {
            tracing::warn!(%error, "track refused");
            return;
        }
        let rids = options.layers.iter().map(|layer| (!layer.rid.is_empty()).then(|| Rid::from(layer.rid.as_str())));
        let mut layers: Vec<_> = rids.map(|rid| (rid, None)).collect();
        if layers.is_empty() {
            layers.push((None, None));
        }
        let kind = if options.audio { MediaKind::Audio } else { MediaKind::Video };
        let mid = Mid::from(mid);
        let entry = Track {
            room,
            publisher,
            mid,
            kind,
            layers,
            subscribers: HandleMap::default(),
            kept: Extensions::default(),
        };
        self.rooms.tracks.insert(track, entry);
        self.rooms.published.insert((publisher, mid), track);
        self.counters().tracks.fetch_add(1, Ordering::Relaxed);
    }

    /// End a track and all subscriptions to it. Unknown handles are ignored.
    pub fn remove_track(&mut self, track: Handle) {
        let Some(entry) = self.rooms.tracks.remove(&track) else {
            return;
        };
        if self.rooms.published.get(&(entry.publisher, entry.mid)) == Some(&track) {
            self.rooms.published.remove(&(entry.publisher, entry.mid));
        }
        if let Some(room) = self.rooms.rooms.get_mut(&entry.room) {
            room.sfu.remove_track(self.now, TrackId(track));
        }
        self.counters().tracks.fetch_sub(1, Ordering::Relaxed);
        self.counters().subscriptions.fetch_sub(entry.subscribers.len() as u64, Ordering::Relaxed);
        for subscriber in entry.subscribers.into_keys() {
            self.detach_track(track, subscriber);
        }
        self.room_events(entry.room);
    }

    /// Answer offers of the track with this id, as the client calls it, in this way from now on.
    pub fn prefer(&mut self, peer: Handle, track_id: &str, preference: TrackPreference) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            let named = |name: &String| CODECS.into_iter().find(|codec| mime(*codec).eq_ignore_ascii_case(name));
            let codecs = preference.codecs.iter().filter_map(named).collect();
            let TrackPreference { stereo, dtx, .. } = preference;
            entry.peer.prefer(track_id, peer::Preference { codecs, stereo, dtx });
        }
    }

    /// Answer offers of the track with this id in the usual way again.
    pub fn forget_preference(&mut self, peer: Handle, track_id: &str) {
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.peer.forget_preference(track_id);
        }
    }

    /// Stop or resume forwarding a track for its publisher.
    pub fn mute_track(&mut self, track: Handle, muted: bool) {
        let Some(entry) = self.rooms.tracks.get(&track) else {
            return;
        };
        let room = entry.room;
        if let Some(entry) = self.rooms.rooms.get_mut(&room) {
            entry.sfu.mute_track(self.now, TrackId(track), muted);
        }
        self.room_events(room);
    }

    /// Send a track to a subscriber once a section is negotiated for it.
    pub fn subscribe(&mut self, track: Handle, subscriber: Handle, stream_id: &str, track_id: &str, cname: &str) {
        let Some(entry) = self.rooms.tracks.get_mut(&track) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&subscriber) else {
            return;
        };
        if entry.subscribers.contains_key(&subscriber) {
            return;
        }
        entry.subscribers.insert(subscriber, Subscription::default());
        let mut outgoing = Outgoing::new(entry.kind, stream_id, track_id);
        outgoing.cname = cname.to_owned();
        peer.peer.attach(track, outgoing);
        self.counters.subscriptions.fetch_add(1, Ordering::Relaxed);
        self.server_tracks_changed(subscriber);
    }

    /// Stop sending a track to a subscriber.
    pub fn unsubscribe(&mut self, track: Handle, subscriber: Handle) {
        let Some(entry) = self.rooms.tracks.get_mut(&track) else {
            return;
        };
        if entry.subscribers.remove(&subscriber).is_none() {
            return;
        }
        let room = entry.room;
        if let Some(room) = self.rooms.rooms.get_mut(&room) {
            room.sfu.unsubscribe(self.now, TrackId(track), PeerId(subscriber));
        }
        self.counters().subscriptions.fetch_sub(1, Ordering::Relaxed);
        self.detach_track(track, subscriber);
        self.room_events(room);
    }

    /// Change what a subscriber wants of a track.
    pub fn set_subscription(&mut self, track: Handle, subscriber: Handle, settings: SubscriptionSettings) {
        let Some(entry) = self.rooms.tracks.get_mut(&track) else {
            return;
        };
        let Some(subscription) = entry.subscribers.get_mut(&subscriber) else {
            return;
        };
        subscription.settings = settings;
        let room = entry.room;
        if let Some(room) = self.rooms.rooms.get_mut(&room) {
            room.sfu.set_subscription(self.now, TrackId(track), PeerId(subscriber), settings);
        }
        self.room_events(room);
    }

    fn detach_track(&mut self, track: Handle, subscriber: Handle) {
        if let Some(entry) = self.peers.get_mut(&subscriber) {
            entry.peer.detach(track);
            self.server_tracks_changed(subscriber);
        }
    }

    fn server_tracks_changed(&mut self, handle: Handle) {
        if let Some(PeerEntry { side: Side::Server(side), .. }) = self.peers.get_mut(&handle) {
            side.changed = true;
        }
        self.touch(handle);
    }

    /// The sections of a server peer are as given now: start what can be sent on them.
    pub(crate) fn server_sections_changed(&mut self, handle: Handle, room: Handle, sections: &[peer::Section]) {
        for section in sections {
            let Some(track) = section.sending else {
                continue;
            };
            let codecs = SubscriberCodecs::new(section.codecs.iter().map(|codec| sfu_codec(*codec)));
            let Some(entry) = self.rooms.tracks.get_mut(&track) else {
                continue;
            };
            let Some(subscription) = entry.subscribers.get_mut(&handle) else {
                continue;
            };
            let Some(room) = self.rooms.rooms.get_mut(&room) else {
                continue;
            };
            if subscription.bound {
                room.sfu.set_codecs(self.now, TrackId(track), PeerId(handle), codecs);
                continue;
            }
            if let Err(error) = room.sfu.subscribe(self.now, TrackId(track), PeerId(handle), codecs) {
                tracing::warn!(%error, "subscription refused");
                continue;
            }
            subscription.bound = true;
            room.sfu.set_subscription(self.now, TrackId(track), PeerId(handle), subscription.settings);
            self.emit(Event::SubscriptionBound { peer: handle, track, mid: section.mid.to_string() });
        }
        self.room_events(room);
    }

    /// The client's offer was answered; it may have come on request, and may not have sufficed.
    pub(crate) fn offer_answered(&mut self, handle: Handle, missing: Missing) {
        let Some(PeerEntry { side: Side::Server(side), .. }) = self.peers.get_mut(&handle) else {
            return;
        };
        side.negotiated = true;
        side.requested = false;
        side.changed = false;
        if missing.is_none() {
            side.fruitless_requests = 0;
        } else if side.last_missing != missing || side.fruitless_requests < SECTION_REQUESTS {
            side.fruitless_requests = if side.last_missing == missing { side.fruitless_requests + 1 } else { 0 };
            side.changed = true;
        }
        side.last_missing = missing;
    }

    /// Ask an answering client for an offer if tracks came or went.
    pub(crate) fn request_offer_if_needed(&mut self, handle: Handle) {
        let Some(PeerEntry { peer, side: Side::Server(side), .. }) = self.peers.get_mut(&handle) else {
            return;
        };
        if side.offers || !side.negotiated || side.requested || !side.changed {
            return;
        }
        side.changed = false;
        side.requested = true;
        let Missing { audio, video } = peer.missing();
        self.emit(Event::SectionsNeeded { peer: handle, audio, video });
    }

    // -- packets -----------------------------------------------------------------------------------------------------

    pub(crate) fn forward_packet(&mut self, handle: Handle, packet: IncomingPacket) {
        let now = self.now;
        let Self { rooms, peers, sockets, counters, .. } = self;
        let Some(track_handle) = rooms.published.get(&(handle, packet.mid)).copied() else {
            return;
        };
        let Some(track) = rooms.tracks.get_mut(&track_handle) else {
            return;
        };
        let layer = track.layers.iter().position(|(rid, _)| *rid == packet.rid).unwrap_or(0);
        let Some(room) = rooms.rooms.get_mut(&track.room) else {
            return;
        };
        let room_handle = track.room;
        let mut extensions = packet.extensions;
        if track.layers.len() > 1 {
            // Describes one layer's stream: after a switch to another it would be wrong.
            extensions.dependency_descriptor = None;
        }
        track.keep(&extensions);
        let incoming = sfu::Packet {
            ssrc: packet.ssrc,
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            codec: sfu_codec(packet.codec),
            payload: packet.payload,
            audio_level: extensions.audio_level,
            sender_report: track.layers.get(layer).and_then(|(_, report)| *report),
        };
        let mut outlet = Outlet { peers, sockets, counters, now };
        let mut each = |forward: Forward<'_>| outlet.deliver(&forward, &extensions, &track.kept);
        room.sfu.handle_packet(now, TrackId(track_handle), layer, &incoming, &mut each);
        self.room_events(room_handle);
    }

    pub(crate) fn server_keyframe_requested(&mut self, subscriber: Handle, track: Handle) {
        let Some(room) = self.rooms.tracks.get(&track).map(|entry| entry.room) else {
            return;
        };
        if let Some(entry) = self.rooms.rooms.get_mut(&room) {
            entry.sfu.handle_keyframe_request(self.now, TrackId(track), PeerId(subscriber));
        }
        self.room_events(room);
    }

    pub(crate) fn server_report_arrived(&mut self, publisher: Handle, report: &peer::SenderReport) {
        let Some(track) = self.rooms.published.get(&(publisher, report.mid)) else {
            return;
        };
        let Some(track) = self.rooms.tracks.get_mut(track) else {
            return;
        };
        let Ok(sender_time) = report.wallclock.duration_since(UNIX_EPOCH) else {
            return;
        };
        let layer = track.layers.iter().position(|(rid, _)| *rid == report.rid).unwrap_or(0);
        if let Some((_, slot)) = track.layers.get_mut(layer) {
            *slot = Some(sfu::SenderReport { sender_time, rtp_time: report.timestamp });
        }
    }

    pub(crate) fn server_bandwidth_changed(&mut self, handle: Handle, room: Handle, bitrate: u64) {
        if let Some(entry) = self.rooms.rooms.get_mut(&room) {
            entry.sfu.set_bandwidth(self.now, PeerId(handle), Some(bitrate));
        }
        self.room_events(room);
    }
}

impl ServerPeer {
    fn new(room: Handle, offers: bool) -> Self {
        Self {
            room,
            offers,
            negotiated: false,
            requested: false,
            changed: false,
            last_missing: Missing::default(),
            fruitless_requests: 0,
        }
    }
}

/// Where forwarded packets go: through their subscribers' connections to the sockets, at once.
struct Outlet<'w> {
    peers: &'w mut HandleMap<PeerEntry>,
    sockets: &'w mut Sockets,
    counters: &'w Counters,
    now: Instant,
}

impl Outlet<'_> {
    fn deliver(&mut self, forward: &Forward<'_>, extensions: &Extensions, kept: &Extensions) {
        let handle = forward.subscriber.0;
        let (Some(entry), Some(packet)) = (self.peers.get_mut(&handle), outgoing(forward, extensions, kept)) else {
            return;
        };
        if let Err(error) = entry.peer.send(self.now, packet) {
            return tracing::debug!(%error, "packet not sent");
        }
        while let Some(transmit) = entry.peer.next_sent() {
            self.counters.sent(transmit.data.len());
            self.sockets.send(handle, &transmit);
        }
    }
}

fn outgoing(forward: &Forward<'_>, extensions: &Extensions, kept: &Extensions) -> Option<OutgoingPacket> {
    let extensions = match forward.origin {
        Origin::Live => extensions.clone(),
        Origin::Replayed | Origin::Recovered | Origin::Made => Extensions {
            audio_level: forward.audio_level,
            color_space: kept.color_space.clone().filter(|_| forward.marker),
            orientation: kept.orientation.filter(|_| forward.marker),
            ..Extensions::default()
        },
    };
    Some(OutgoingPacket {
        key: forward.track.0,
        rid: None,
        codec: peer_codec(forward.codec)?,
        seq: forward.seq,
        timestamp: forward.timestamp,
        wallclock: forward.wallclock,
        marker: forward.marker,
        payload: forward.payload.clone(),
        nackable: forward.nackable,
        extensions,
        vp8: forward.vp8.map(|ids| Vp8Rewrite {
            picture_id: Some(ids.picture_id),
            tl0_pic_idx: Some(ids.tl0_picture_index),
            key_idx: Some(ids.key_index),
        }),
    })
}

const CODECS: [peer::Codec; 6] =
    [peer::Codec::Opus, peer::Codec::Red, peer::Codec::Vp8, peer::Codec::H264, peer::Codec::Vp9, peer::Codec::Av1];

fn sfu_codec(codec: peer::Codec) -> sfu::Codec {
    match codec {
        peer::Codec::Opus => sfu::Codec::Opus,
        peer::Codec::Red => sfu::Codec::Red,
        peer::Codec::Vp8 => sfu::Codec::Vp8,
        peer::Codec::H264 => sfu::Codec::H264,
        peer::Codec::Vp9 => sfu::Codec::Vp9,
        peer::Codec::Av1 => sfu::Codec::Av1,
    }
}

fn peer_codec(codec: sfu::Codec) -> Option<peer::Codec> {
    CODECS.into_iter().find(|candidate| sfu_codec(*candidate) == codec)
}

/// A random number from the system.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
}

/// Random letters and digits, as ICE credentials are made of.
pub(crate) fn random_text(length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|_| char::from(ALPHABET[(random() % 62) as usize])).collect()
}
