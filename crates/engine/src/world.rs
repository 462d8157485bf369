//! Everything that one engine thread owns, and how its peers are driven.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use greenroom_peer::{self as peer, Candidate, CloseReason, OfferOptions, Output, Peer, Proto, TcpType};
use mio::{Registry, Token};

use crate::client::ClientPeer;
use crate::events::{Event, EventQueue, Handle, Section};
use crate::handles::HandleMap;
use crate::listen::Sockets;
use crate::logs;
use crate::pool::panic_message;
use crate::receiver::Receivers;
use crate::sender::Media;
use crate::server::{Rooms, ServerPeer};
use crate::{Commander, Counters};

/// How often what a fault has left is taken down again.
const TEAR_DOWN_ATTEMPTS: usize = 1000;
/// How long a connection may be without answers from the other side before it has failed.
const ICE_PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection may take from its first description to being up.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);
/// How long a client tries UDP alone before it also opens TCP connections (RFC 6544).
const UDP_PATIENCE: Duration = Duration::from_secs(2);
/// The port that stands in candidates which only open connections (RFC 6544, section 4.1).
const DISCARD_PORT: u16 = 9;
/// Bytes that wait for a data channel to open or to drain; for a receiver slower than that, messages are lost.
const DATA_BACKLOG: usize = 16 << 20;
/// Bytes of messages that arrived and wait for the program, from all peers; beyond that, who sends more is cut.
const DATA_UNREAD: usize = 64 << 20;

/// The state of one engine thread.
pub struct World {
    pub(crate) now: Instant,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) commander: Commander,
    pub(crate) peers: HandleMap<PeerEntry>,
    pub(crate) sockets: Sockets,
    pub(crate) rooms: Rooms,
    pub(crate) media: Media,
    pub(crate) receivers: Receivers,
    pub(crate) counters: Arc<Counters>,
    timers: BTreeSet<(Instant, Handle)>,
    pub(crate) dirty: Vec<Handle>,
    stopped: bool,
}

/// One connection, of whichever end.
pub(crate) struct PeerEntry {
    pub(crate) peer: Peer,
    pub(crate) side: Side,
    pub(crate) addresses: VecDeque<(Proto, SocketAddr)>,
    ufrag: String,
    deadline: Option<Instant>,
    dirty: bool,
    offer_id: u32,
    /// What the next offer has to contain, if one is wanted.
    wanted_offer: Option<OfferOptions>,
    offer_outstanding: bool,
    connected: bool,
    fails_at: Option<Instant>,
    tries_tcp_at: Option<Instant>,
    waiting_data: HashMap<String, VecDeque<(Bytes, u64)>>,
}

/// Which end of which call a connection is.
pub(crate) enum Side {
    Server(ServerPeer),
    Client(ClientPeer),
}

impl World {
    pub(crate) fn new(
        registry: Registry,
        events: Arc<EventQueue>,
        counters: Arc<Counters>,
        commander: Commander,
    ) -> Self {
        let now = Instant::now();
        Self {
            now,
            media: Media::new(now),
            sockets: Sockets::new(registry),
            events,
            commander,
            counters,
            peers: HandleMap::default(),
            rooms: Rooms::default(),
            receivers: Receivers::default(),
            timers: BTreeSet::new(),
            dirty: Vec::new(),
            stopped: false,
        }
    }

    // -- what the thread's loop asks ---------------------------------------------------------------------------------

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(crate) fn stop(&mut self) {
        self.stopped = true;
    }

    pub(crate) fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    pub(crate) fn is_server(&self) -> bool {
        self.sockets.is_listening()
    }

    pub(crate) fn has_unread_sockets(&self) -> bool {
        self.sockets.has_unread()
    }

    pub(crate) fn socket_ready(&mut self, token: Token) {
        self.sockets.ready(token);
    }

    /// When the loop has to run again although nothing comes in.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let peers = self.timers.first().map(|(at, _)| *at);
        let media = self.media.deadline(&self.receivers);
        [peers, media, self.rooms.deadline(), self.receivers.deadline(), self.sockets.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Run `work` for a room or peer. If it panics, that room or peer ends, and nothing else.
    pub(crate) fn guarded(&mut self, scope: Handle, work: impl FnOnce(&mut World)) {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(self))) else {
            return;
        };
        self.fail(scope, panic_message(&*panic));
    }

    /// End the room, peer or source because of a fault of ours.
    pub(crate) fn fail(&mut self, scope: Handle, message: String) {
        tracing::error!(scope, message, "a fault ended a room or peer");
        self.emit(Event::EngineFailed { room: scope, message });
        // What the fault has left may well fault again while it is taken down. Every attempt leaves less of it.
        for _ in 0..TEAR_DOWN_ATTEMPTS {
            let close = |world: &mut World| {
                if world.rooms.contains(scope) {
                    return world.close_room(scope);
                }
                world.close_peer(scope);
                world.remove_source(scope);
            };
            if catch_unwind(AssertUnwindSafe(|| close(self))).is_ok() {
                return;
            }
        }
    }

    pub(crate) fn emit(&self, event: Event) {
        self.counters.events.fetch_add(1, Ordering::Relaxed);
        self.events.push(event);
    }

    pub(crate) fn run_timers(&mut self) {
        while let Some((at, handle)) = self.timers.first().copied() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            if let Some(entry) = self.peers.get_mut(&handle) {
                entry.deadline = None;
                self.touch(handle);
            }
        }
        self.run_room_timers();
        self.run_media_timers();
        self.sockets.close_strangers(self.now);
    }

    /// Let every peer that was touched say what it has, including those that this touches.
    pub(crate) fn drive_peers(&mut self) {
        while let Some(handle) = self.dirty.pop() {
            let Some(entry) = self.peers.get_mut(&handle) else {
                continue;
            };
            entry.dirty = false;
            let scope = entry.scope(handle);
            self.guarded(scope, |world| {
                if let Some(entry) = world.peers.get_mut(&handle) {
                    entry.peer.handle_timeout(world.now);
                }
                world.drain(handle);
                world.try_tcp(handle);
                world.check_patience(handle);
                world.request_offer_if_needed(handle);
                world.offer_if_wanted(handle);
            });
        }
    }

    /// Drive the peers, then write to the sockets.
    pub(crate) fn flush(&mut self) {
        self.drive_peers();
        self.sockets.flush();
        for line in logs::take_logs() {
            self.emit(Event::Log { line });
        }
    }

    pub(crate) fn close_everything(&mut self) {
        let rooms: Vec<Handle> = self.rooms.handles();
        for room in rooms {
            self.close_room(room);
        }
        let peers: Vec<Handle> = self.peers.keys().copied().collect();
        for handle in peers {
            self.close_peer(handle);
        }
        self.media.close();
        self.sockets.flush();
    }

    // -- peers -------------------------------------------------------------------------------------------------------

    pub(crate) fn insert_peer(&mut self, handle: Handle, peer: Peer, side: Side) {
        let ufrag = peer.local_ufrag().to_owned();
        self.sockets.register_ufrag(&ufrag, handle);
        let entry = PeerEntry {
            peer,
            side,
            ufrag,
            addresses: VecDeque::new(),
            deadline: None,
            dirty: false,
            offer_id: 0,
            wanted_offer: None,
            offer_outstanding: false,
            connected: false,
            fails_at: None,
            tries_tcp_at: None,
            waiting_data: HashMap::new(),
        };
        self.peers.insert(handle, entry);
        self.counters.peers.fetch_add(1, Ordering::Relaxed);
        self.touch(handle);
    }

    /// Close one connection. Unknown handles are ignored.
    pub fn close_peer(&mut self, handle: Handle) {
        self.end_peer(handle, "closed", String::new());
    }

    fn end_peer(&mut self, handle: Handle, state: &'static str, detail: String) {
        let Some(mut entry) = self.peers.remove(&handle) else {
            return;
        };
        self.counters.peers.fetch_sub(1, Ordering::Relaxed);
        if let Some(at) = entry.deadline.take() {
            self.timers.remove(&(at, handle));
        }
        entry.peer.close();
        loop {
            match entry.peer.poll(self.now) {
                Output::Transmit(transmit) => self.sockets.send(handle, &transmit),
                Output::Event(_) => {}
                Output::Timeout(_) => break,
            }
        }
        self.sockets.forget(handle, &entry.addresses);
        for (_, request) in entry.waiting_data.into_values().flatten().filter(|(_, request)| *request != 0) {
            self.emit(Event::DataSent { peer: handle, request, error: "the connection has ended".into() });
        }
        match entry.side {
            Side::Server(side) => self.server_peer_ended(handle, &side),
            Side::Client(side) => self.client_peer_ended(handle, side),
        }
        self.emit(Event::PeerState { peer: handle, state, detail });
    }

    /// Have the peer driven in this turn of the loop.
    pub(crate) fn touch(&mut self, handle: Handle) {
        if let Some(entry) = self.peers.get_mut(&handle) {
            entry.mark(handle, &mut self.dirty);
        }
    }

    /// Everything the peer has to say, until it waits.
    pub(crate) fn drain(&mut self, handle: Handle) {
        loop {
            let Some(entry) = self.peers.get_mut(&handle) else {
                return;
            };
            match entry.peer.poll(self.now) {
                Output::Transmit(transmit) => {
                    self.counters.sent(transmit.data.len());
                    self.learn_address(handle, &transmit);
                    self.sockets.send(handle, &transmit);
                }
                Output::Event(event) => self.peer_event(handle, event),
                Output::Timeout(at) => return self.arm(handle, at),
            }
        }
    }

    fn arm(&mut self, handle: Handle, at: Instant) {
        let Some(entry) = self.peers.get_mut(&handle) else {
            return;
        };
        let at = [entry.fails_at, entry.tries_tcp_at].into_iter().flatten().fold(at, Instant::min);
        // An earlier time-out does no harm: the peer then says again when it wants the next one.
        if entry.deadline.is_some_and(|earlier| earlier <= at) {
            return;
        }
        if let Some(old) = entry.deadline.replace(at) {
            self.timers.remove(&(old, handle));
        }
        self.timers.insert((at, handle));
    }

    /// UDP has not got through: offer TCP connections of ours to the other side's passive candidates.
    fn try_tcp(&mut self, handle: Handle) {
        let Some(entry) = self.peers.get_mut(&handle) else { return };
        if entry.tries_tcp_at.is_none_or(|at| at > self.now) {
            return;
        }
        entry.tries_tcp_at = None;
        for local in self.sockets.client_addresses(handle) {
            let candidate = Candidate::Tcp(SocketAddr::new(local.ip(), DISCARD_PORT), TcpType::Active);
            if let Err(error) = entry.peer.add_local_candidate(candidate) {
                tracing::debug!(%error, "TCP not tried");
            }
        }
        self.touch(handle);
    }

    fn check_patience(&mut self, handle: Handle) {
        let Some(entry) = self.peers.get(&handle) else {
            return;
        };
        if entry.fails_at.is_none_or(|at| at > self.now) {
            return;
        }
        let detail = match entry.connected {
            true => format!("no answer over the network for {} s", ICE_PATIENCE.as_secs()),
            false => format!(
                "no connection within {} s: is the other side's UDP port reachable?",
                CONNECT_PATIENCE.as_secs()
            ),
        };
        self.end_peer(handle, "failed", detail);
    }

    fn peer_event(&mut self, handle: Handle, event: peer::Event) {
        match event {
            peer::Event::Rtp(packet) => self.packet_arrived(handle, packet),
            peer::Event::KeyframeRequest { key, rid } => self.keyframe_requested(handle, key, rid),
            peer::Event::Connected => self.peer_connected(handle),
            peer::Event::Reconnected => self.set_reachable(handle, true),
            peer::Event::Disconnected => self.set_reachable(handle, false),
            peer::Event::Closed(CloseReason::Failed(detail)) => self.end_peer(handle, "failed", detail),
            peer::Event::Closed(_) => self.end_peer(handle, "closed", "the other side closed the connection".into()),
            peer::Event::DataOpen { label } => {
                self.emit(Event::DataOpen { peer: handle, label: label.to_string() });
                self.resume_data(handle, &label);
            }
            peer::Event::DataLow { label } => self.resume_data(handle, &label),
            peer::Event::Data { .. } if self.events.data_waiting() > DATA_UNREAD => {
                self.end_peer(handle, "failed", "the program does not take the data that arrives".into());
            }
            peer::Event::Data { label, payload, .. } => {
                self.emit(Event::Data { peer: handle, label: label.to_string(), payload });
            }
            peer::Event::Bandwidth { bitrate } => self.bandwidth_changed(handle, bitrate),
            peer::Event::SenderReport(report) => self.sender_report_arrived(handle, &report),
            // A closed channel says itself at the next message; what else there may be concerns nobody here.
            _ => {}
        }
    }

    fn peer_connected(&mut self, handle: Handle) {
        if let Some(entry) = self.peers.get_mut(&handle) {
            entry.connected = true;
            entry.fails_at = None;
            entry.tries_tcp_at = None;
        }
        self.emit(Event::PeerState { peer: handle, state: "connected", detail: String::new() });
    }

    fn set_reachable(&mut self, handle: Handle, reachable: bool) {
        let Some(entry) = self.peers.get_mut(&handle) else {
            return;
        };
        if !entry.connected {
            return;
        }
        entry.fails_at = (!reachable).then(|| self.now + ICE_PATIENCE);
        let state = if reachable { "connected" } else { "disconnected" };
        self.emit(Event::PeerState { peer: handle, state, detail: String::new() });
    }

    // -- negotiation -------------------------------------------------------------------------------------------------

    /// Apply the other side's offer; [`Event::Answer`] or [`Event::NegotiationFailed`] follows.
    pub fn accept_offer(&mut self, handle: Handle, offer_id: u32, sdp: &str) {
        let now = self.now;
        let Some(entry) = self.peers.get_mut(&handle) else {
            return;
        };
        match entry.peer.accept_offer(now, sdp) {
            Ok(description) => {
                self.description_made(handle);
                let sections = sections(&description.sections);
                self.emit(Event::Answer { peer: handle, offer_id, sdp: description.sdp, sections });
                self.sections_changed(handle, &description.sections);
                self.offer_answered(handle, description.missing);
            }
            Err(error) => {
                self.emit(Event::NegotiationFailed { peer: handle, offer_id, message: error.to_string() });
            }
        }
    }

    /// Have an offer made as soon as none is outstanding; [`Event::Offer`] follows.
    pub fn create_offer(&mut self, handle: Handle, options: OfferOptions) {
        let Some(entry) = self.peers.get_mut(&handle) else {
            return;
        };
        let wanted = entry.wanted_offer.get_or_insert_default();
        wanted.audio += options.audio;
        wanted.video += options.video;
        wanted.ice_restart |= options.ice_restart;
        wanted.force |= options.force;
        self.touch(handle);
    }

    /// Apply the answer to our last offer; [`Event::Negotiated`] or [`Event::NegotiationFailed`] follows. An answer to an
    /// older offer is ignored; id 0 stands for the last one.
    pub fn accept_answer(&mut self, handle: Handle, offer_id: u32, sdp: &str) {
        let now = self.now;
        let Some(entry) = self.peers.get_mut(&handle) else {
            return;
        };
        if offer_id != 0 && offer_id != entry.offer_id {
            return;
        }
        let offer_id = entry.offer_id;
        match entry.peer.accept_answer(now, sdp) {
            Ok(negotiated) => {
                entry.offer_outstanding = false;
                self.description_made(handle);
                self.emit(Event::Negotiated { peer: handle, offer_id, sections: sections(&negotiated) });
                self.sections_changed(handle, &negotiated);
            }
            Err(error) => {
                self.emit(Event::NegotiationFailed { peer: handle, offer_id, message: error.to_string() });
            }
        }
    }

    fn offer_if_wanted(&mut self, handle: Handle) {
        let now = self.now;
        let Some(entry) = self.peers.get_mut(&handle) else {
            return;
        };
        if entry.offer_outstanding {
            return;
        }
        if entry.offer_id > 0 && entry.peer.wants_offer() && entry.makes_offers_by_itself() {
            entry.wanted_offer.get_or_insert_default();
        }
        let Some(options) = entry.wanted_offer.take() else {
            return;
        };
        match entry.peer.create_offer(now, options) {
            Ok(Some(description)) => {
                entry.offer_outstanding = true;
                entry.offer_id += 1;
                let offer_id = entry.offer_id;
                self.description_made(handle);
                let sections = sections(&description.sections);
                self.emit(Event::Offer { peer: handle, offer_id, sdp: description.sdp, sections });
            }
            Ok(None) => {}
            Err(error) => {
                let offer_id = entry.offer_id;
                self.emit(Event::NegotiationFailed { peer: handle, offer_id, message: error.to_string() });
            }
        }
        self.drain(handle);
    }

    /// A description was made or applied: the ufrag may be another one, and time runs for getting connected.
    fn description_made(&mut self, handle: Handle) {
        let Some(entry) = self.peers.get_mut(&handle) else {
            return;
        };
        let ufrag = entry.peer.local_ufrag();
        if entry.ufrag != ufrag {
            entry.ufrag = ufrag.to_owned();
            self.sockets.register_ufrag(&entry.ufrag, handle);
        }
        if !entry.connected && entry.fails_at.is_none() {
            entry.fails_at = Some(self.now + CONNECT_PATIENCE);
            let is_client = matches!(entry.side, Side::Client(_));
            entry.tries_tcp_at = is_client.then(|| self.now + UDP_PATIENCE);
        }
        self.touch(handle);
    }

    /// Take a `candidate:...` line of the other side. What cannot be used is ignored: others follow.
    pub fn add_candidate(&mut self, handle: Handle, candidate: &str) {
        if let Some(entry) = self.peers.get_mut(&handle) {
            if let Err(error) = entry.peer.add_remote_candidate(candidate) {
                tracing::debug!(%error, "candidate ignored");
            }
            self.touch(handle);
        }
    }

    // -- data --------------------------------------------------------------------------------------------------------

    /// Send one message on the channel `label`. With `request` other than 0, [`Event::DataSent`] follows.
    pub fn send_data(&mut self, handle: Handle, label: &str, payload: Bytes, request: u64) {
        let scope = self.peers.get(&handle).map_or(handle, |entry| entry.scope(handle));
        self.guarded(scope, |world| world.queue_data(handle, label, payload, request));
    }

    fn queue_data(&mut self, handle: Handle, label: &str, payload: Bytes, request: u64) {
        let Some(entry) = self.peers.get_mut(&handle) else {
            return self.data_sent(handle, request, "the connection has ended");
        };
        let waiting = entry.waiting_data.entry(label.to_owned()).or_default();
        let backlog: usize = waiting.iter().map(|(payload, _)| payload.len()).sum();
        if backlog > DATA_BACKLOG {
            tracing::warn!(peer = handle, label, "message lost: the receiver does not keep up");
            return self.data_sent(handle, request, "the receiver does not keep up");
        }
        waiting.push_back((payload, request));
        self.resume_data(handle, label);
    }

    fn resume_data(&mut self, handle: Handle, label: &str) {
        loop {
            let Some(entry) = self.peers.get_mut(&handle) else {
                return;
            };
            let Some(waiting) = entry.waiting_data.get_mut(label) else {
                return;
            };
            let Some((payload, request)) = waiting.front() else {
                entry.waiting_data.remove(label);
                return;
            };
            let request = *request;
            let outcome = entry.peer.send_data(label, true, payload.clone());
            let error = match outcome {
                Ok(true) => String::new(),
                Ok(false) | Err(peer::PeerError::UnknownChannel(_)) => return,
                Err(error) => error.to_string(),
            };
            waiting.pop_front();
            self.touch(handle);
            self.data_sent(handle, request, &error);
        }
    }

    fn data_sent(&self, peer: Handle, request: u64, error: &str) {
        if request != 0 {
            self.emit(Event::DataSent { peer, request, error: error.to_owned() });
        }
    }
}

impl PeerEntry {
    /// The room or peer that ends with this connection if a fault happens in it.
    pub(crate) fn scope(&self, handle: Handle) -> Handle {
        match &self.side {
            Side::Server(side) => side.room,
            Side::Client(_) => handle,
        }
    }

    /// As [`World::touch`], where the world is borrowed in parts.
    pub(crate) fn mark(&mut self, handle: Handle, dirty: &mut Vec<Handle>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(handle);
        }
    }

    /// A server's subscriber side keeps its client up to date; a client's owner says when to offer.
    fn makes_offers_by_itself(&self) -> bool {
        matches!(&self.side, Side::Server(side) if side.offers)
    }
}

fn sections(sections: &[peer::Section]) -> Vec<Section> {
    sections.iter().filter(|section| !section.stopped).map(Section::from).collect()
}

impl From<&peer::Section> for Section {
    fn from(section: &peer::Section) -> Self {
        Self {
            mid: section.mid.to_string(),
            kind: kind_name(section.kind),
            receiving: section.receiving,
            stream_id: section.stream_id.clone().unwrap_or_default(),
            track_id: section.track_id.clone().unwrap_or_default(),
            rids: section.rids.iter().map(ToString::to_string).collect(),
            sending: section.sending.unwrap_or(0),
            codecs: section.codecs.iter().map(|codec| mime(*codec).to_owned()).collect(),
        }
    }
}

fn kind_name(kind: peer::MediaKind) -> &'static str {
    match kind {
        peer::MediaKind::Audio => "audio",
        peer::MediaKind::Video => "video",
    }
}

pub(crate) fn mime(codec: peer::Codec) -> &'static str {
    match codec {
        peer::Codec::Opus => "audio/opus",
        peer::Codec::Red => "audio/red",
        peer::Codec::Vp8 => "video/VP8",
        peer::Codec::H264 => "video/H264",
        peer::Codec::Vp9 => "video/VP9",
        peer::Codec::Av1 => "video/AV1",
    }
}
