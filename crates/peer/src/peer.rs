//! The connection itself: time, datagrams, packets and messages.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use bytes::Bytes;
use str0m::change::SdpPendingOffer;
use str0m::media::KeyframeRequestKind;
use str0m::net::Receive;
use str0m::{Input, Rtc};

use crate::channels::Channels;
use crate::congestion::Congestion;
use crate::payload::PayloadTable;
use crate::section::{Codec, MediaKind, Mid, OfferOptions, Outgoing, Preference, Rid, Section};
use crate::sending::header::ExtensionIds;
use crate::sending::{Format, Sender, Stream};
use crate::statistics::{Collector, Statistics};
use crate::{Candidate, CloseReason, Event, OutgoingPacket, Output, PeerConfig, PeerError, Proto, Role, Transmit};
use crate::{negotiation, sending};

/// Time-outs are never asked for earlier than this after the last instant, whatever the library wishes.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// One WebRTC connection. See the [crate documentation](crate) for how to drive it.
pub struct Peer {
    pub(crate) rtc: Rtc,
    pub(crate) role: Role,
    pub(crate) tracks: BTreeMap<u64, Track>,
    pub(crate) slots: HashMap<Mid, Slot>,
    pub(crate) sections: Vec<Section>,
    pub(crate) pending: Option<PendingOffer>,
    pub(crate) postponed: Option<OfferOptions>,
    pub(crate) changed: bool,
    pub(crate) preferences: HashMap<String, Preference>,
    pub(crate) channels: Channels,
    /// How many descriptions of ours there have been.
    pub(crate) version: u64,
    pub(crate) opens_channels: bool,
    pub(crate) payloads: PayloadTable,
    pub(crate) sources: HashMap<u32, (Mid, Option<Rid>)>,
    /// Whether the library holds changes that it acts upon only when told the time.
    pub(crate) dirty: bool,
    /// Whether the library may have something to say.
    talkative: bool,
    /// The time-out that the library named when it had nothing left.
    wanted: Instant,
    pub(crate) sender: Sender,
    ufrag: String,
    attached: u64,
    pub(crate) statistics: Collector,
    pub(crate) congestion: Congestion,
    pub(crate) events: VecDeque<Event>,
    /// What the library has written already.
    pub(crate) outbox: VecDeque<Transmit>,
    /// Packets that were written here.
    sent: VecDeque<Transmit>,
    pub(crate) now: Instant,
    pub(crate) unreachable: bool,
    pub(crate) ending: Option<CloseReason>,
    pub(crate) closed: bool,
}

/// A track to send.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) outgoing: Outgoing,
    /// Tracks get their sections in the order in which they were attached.
    pub(crate) order: u64,
    pub(crate) mid: Option<Mid>,
    /// What is needed to write packets; empty until the section is agreed on.
    pub(crate) formats: Vec<Format>,
    pub(crate) extensions: ExtensionIds,
    pub(crate) streams: Vec<Stream>,
}

impl Track {
    pub(crate) fn format(&self, codec: Codec) -> Option<Format> {
        self.formats.iter().copied().find(|format| format.codec == codec)
    }
}

/// Who brought a section into being, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Remote,
    OwnSending,
    OwnReceiving,
}

/// What is remembered of a section.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) kind: MediaKind,
    pub(crate) origin: Origin,
    pub(crate) key: Option<u64>,
    pub(crate) rids: Vec<Rid>,
    /// The ids of the tracks that our offers have put on it.
    pub(crate) former: Vec<String>,
    /// Whether the other side offered to receive on it.
    pub(crate) inviting: bool,
    /// The SSRCs that the other side announced.
    pub(crate) announced: Vec<u32>,
    /// Whether the other side sends lost Opus packets again.
    pub(crate) recovers_opus: bool,
}

/// An offer whose answer has not come yet.
pub(crate) struct PendingOffer {
    pub(crate) token: SdpPendingOffer,
    pub(crate) placed: Vec<(Mid, u64)>,
    pub(crate) receiving: Vec<(Mid, MediaKind)>,
    pub(crate) ufrag: Option<String>,
}

impl Peer {
    /// Makes a peer.
    ///
    /// # Errors
    /// [`PeerError::InvalidConfig`] and [`PeerError::InvalidCandidate`] if the configuration cannot be used.
    pub fn new(config: PeerConfig, now: Instant) -> Result<Self, PeerError> {
        config.check()?;
        let (mut rtc, keys) = sending::keys::with_slot(|| config.library().build(now));
        for candidate in &config.candidates {
            rtc.add_local_candidate(candidate.to_library()?);
        }
        Ok(Peer {
            payloads: PayloadTable::new(&rtc),
            rtc,
            role: config.role,
            tracks: BTreeMap::new(),
            slots: HashMap::new(),
            sections: Vec::new(),
            pending: None,
            postponed: None,
            changed: false,
            preferences: HashMap::new(),
            channels: Channels::new(&config),
            version: 0,
            opens_channels: config.data_channels,
            sources: HashMap::new(),
            dirty: true,
            talkative: true,
            wanted: now,
            sender: Sender::new(config.role, keys, now),
            ufrag: config.ufrag,
            attached: 0,
            statistics: Collector::default(),
            congestion: Congestion::new(),
            events: VecDeque::new(),
            outbox: VecDeque::new(),
            sent: VecDeque::new(),
            now,
            unreachable: false,
            ending: None,
            closed: false,
        })
    }

    /// The local ICE user name fragment, which an ICE restart changes. An outstanding offer that restarts ICE already
    /// counts: the other side's checks may come before its answer.
    #[must_use]
    pub fn local_ufrag(&self) -> &str {
        let offered = self.pending.as_ref().and_then(|pending| pending.ufrag.as_deref());
        offered.unwrap_or(&self.ufrag)
    }

    /// The section of that name, as last agreed on.
    #[must_use]
    pub fn section(&self, mid: Mid) -> Option<&Section> {
        self.sections.iter().find(|section| section.mid == mid)
    }

    /// The audio and video sections as last agreed on.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Whether the connection has ended. A closed peer does nothing any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes a datagram from the network. What cannot be understood or authenticated is dropped.
    ///
    /// `destination` must be the address of the local candidate on which it arrived.
    ///
    /// # Errors
    /// [`PeerError::Closed`] if the connection has ended.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        proto: Proto,
        source: SocketAddr,
        destination: SocketAddr,
        data: &[u8],
    ) -> Result<(), PeerError> {
        self.check_open()?;
        self.advance(now);
        if is_rtcp(data) && !self.take_feedback(data) {
            return Ok(());
        }
        self.dirty = true;
        let now = self.now;
        let outcome = guard(|| match Receive::new(proto.to_library(), source, destination, data) {
            Ok(receive) => self.rtc.handle_input(Input::Receive(now, receive)).map_err(|error| error.to_string()),
            Err(_) => Ok(()),
        });
        match outcome {
            Err(panic) => self.fail(panic.to_string()),
            Ok(Err(error)) if !self.rtc.is_alive() => self.fail(error),
            Ok(Err(error)) => tracing::debug!(%error, "a datagram was dropped"),
            Ok(Ok(())) if is_rtp(data) => self.harvest(),
            Ok(Ok(())) => {}
        }
        Ok(())
    }

    /// Tells the time. To be called at the latest at the instant that [`Peer::poll`] returned last.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.dirty |= self.now >= self.wanted || self.channels.has_queued() || self.ending.is_some();
    }

    /// Returns the next thing to do. To be called until it returns [`Output::Timeout`], after anything that changed the peer.
    pub fn poll(&mut self, now: Instant) -> Output {
        self.advance(now);
        self.repair();
        loop {
            if let Some(event) = self.events.pop_front() {
                return Output::Event(event);
            }
            if let Some(transmit) = self.outbox.pop_front() {
                return Output::Transmit(transmit);
            }
            if self.closed {
                return Output::Timeout(self.now + LONGEST_TIMEOUT);
            }
            if self.dirty {
                (self.dirty, self.talkative) = (false, true);
                self.tell_time();
            }
            if !self.talkative {
                self.release();
                if let Some(transmit) = self.sent.pop_front() {
                    return Output::Transmit(transmit);
                }
                let repairs = self.sender.repairs_due().filter(|due| *due > self.now);
                return Output::Timeout(repairs.map_or(self.wanted, |due| due.min(self.wanted)));
            }
            match guard(|| self.rtc.poll_output().map_err(|error| error.to_string())) {
                Err(panic) => self.fail(panic.to_string()),
                Ok(Err(error)) => self.fail(error),
                Ok(Ok(str0m::Output::Transmit(transmit))) => {
                    if let Some(transmit) = self.outward(transmit) {
                        return Output::Transmit(transmit);
                    }
                }
                Ok(Ok(str0m::Output::Event(event))) => self.translate(event),
                Ok(Ok(str0m::Output::Timeout(_))) if self.dirty || !self.events.is_empty() => {}
                Ok(Ok(str0m::Output::Timeout(_))) if self.ending.is_some() => self.end(),
                Ok(Ok(str0m::Output::Timeout(wanted))) => {
                    self.talkative = false;
                    self.wanted = wanted.clamp(self.now + SHORTEST_TIMEOUT, self.now + LONGEST_TIMEOUT);
                }
            }
        }
    }

    /// Adds a candidate of the other side, as it stands in a session description or is trickled. Candidates with a host name
    /// or an unknown transport are ignored.
    ///
    /// # Errors
    /// [`PeerError::InvalidCandidate`] if it is not a candidate, [`PeerError::Closed`] if the connection has ended.
    pub fn add_remote_candidate(&mut self, candidate: &str) -> Result<(), PeerError> {
        self.check_open()?;
        let text = candidate.trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        if text.is_empty() || !text.starts_with("candidate:") {
            return Err(PeerError::InvalidCandidate(format!("it does not begin with \"candidate:\": {text:.80}")));
        }
        if self.role == Role::Server || !negotiation::is_literal_candidate(text) {
            return Ok(());
        }
        let parsed = guard(|| str0m::Candidate::from_sdp_string(text).map_err(|error| error.to_string()))?;
        self.rtc.add_remote_candidate(parsed.map_err(PeerError::InvalidCandidate)?);
        self.dirty = true;
        Ok(())
    }

    /// Adds a local candidate and returns the text to trickle, or `None` if the candidate is known already.
    ///
    /// # Errors
    /// [`PeerError::InvalidCandidate`] if the address cannot be used.
    pub fn add_local_candidate(&mut self, candidate: Candidate) -> Result<Option<String>, PeerError> {
        self.check_open()?;
        let candidate = candidate.to_library()?;
        self.dirty = true;
        Ok(self.rtc.add_local_candidate(candidate).map(str0m::Candidate::to_sdp_string))
    }

    /// Attaches a track to send, which takes effect with the next negotiation. A key that is in use is given to the new track.
    pub fn attach(&mut self, key: u64, outgoing: Outgoing) {
        self.detach(key);
        self.attached += 1;
        let track = Track {
            outgoing,
            order: self.attached,
            mid: None,
            formats: Vec::new(),
            extensions: ExtensionIds::default(),
            streams: Vec::new(),
        };
        self.tracks.insert(key, track);
        self.changed = true;
    }

    /// Detaches a track. Nothing more is sent on it from now on; the next negotiation frees its section.
    pub fn detach(&mut self, key: u64) {
        if let Some(track) = self.tracks.remove(&key) {
            self.changed |= track.mid.is_some();
            for slot in self.slots.values_mut().filter(|slot| slot.key == Some(key)) {
                slot.key = None;
            }
        }
    }

    /// Sends a packet on an attached track; it leaves with the next round of [`Peer::poll`]. Returns `false`, and drops the
    /// packet, while the track has no section or the section does not take the codec or layer, or if the stream's packet of
    /// that number was sent before.
    ///
    /// # Errors
    /// [`PeerError::UnknownKey`] if no track is attached under the key, [`PeerError::Closed`] if the connection has ended.
    pub fn send(&mut self, now: Instant, packet: OutgoingPacket) -> Result<bool, PeerError> {
        self.check_open()?;
        self.advance(now);
        let track = self.tracks.get_mut(&packet.key).ok_or(PeerError::UnknownKey(packet.key))?;
        if track.format(packet.codec).is_none() || sending::find(&mut track.streams, packet.rid).is_none() {
            return Ok(false);
        }
        self.congestion.sent(self.now, packet.payload.len());
        if !self.sender.is_open() {
            self.sender.wait(packet);
            return Ok(true);
        }
        let sent = self.sender.send(self.now, track, packet, self.congestion.rate(self.now));
        let taken = sent.is_some();
        self.sent.extend(sent);
        Ok(taken)
    }

    /// The next packet that [`Peer::send`] has written, without a look at anything else that the peer may want. Whoever does
    /// not ask gets it from [`Peer::poll`].
    pub fn next_sent(&mut self) -> Option<Transmit> {
        self.sent.pop_front()
    }

    /// Sends what has waited for the connection to come up.
    fn release(&mut self) {
        for packet in self.sender.release() {
            // What was detached meanwhile is not sent.
            let _ = self.send(self.now, packet);
        }
    }

    /// Sends again what the other side has asked for.
    fn repair(&mut self) {
        while let Some(repair) = self.sender.next_repair(self.now) {
            let Some(track) = self.tracks.get_mut(&repair.key) else { continue };
            let sent = self.sender.repair(self.now, track, repair);
            self.sent.extend(sent);
        }
    }

    /// Asks the other side for a key frame. Returns `false` if nothing has arrived on that section and layer yet.
    pub fn request_keyframe(&mut self, mid: Mid, rid: Option<Rid>) -> bool {
        let known = self.sources.iter().filter(|(_, place)| **place == (mid, rid)).map(|(ssrc, _)| *ssrc);
        let announced = self.slots.get(&mid).filter(|_| rid.is_none()).map(|slot| slot.announced.clone());
        let candidates: Vec<u32> = known.chain(announced.unwrap_or_default()).collect();
        let mut api = self.rtc.direct_api();
        for ssrc in candidates {
            if let Some(stream) = api.stream_rx(&ssrc.into()) {
                stream.request_keyframe(KeyframeRequestKind::Pli);
                self.dirty = true;
                return true;
            }
        }
        false
    }

    /// Queues a message on the data channel of that label. Messages wait for the channel to open. Returns `false`, and takes
    /// nothing, if the queue of a reliable channel is full; [`Event::DataLow`] then tells when there is room again. A lossy
    /// channel drops its oldest waiting messages instead.
    ///
    /// # Errors
    /// [`PeerError::UnknownChannel`], [`PeerError::MessageTooLarge`], [`PeerError::EmptyMessage`], or [`PeerError::Closed`] if the connection has ended.
    pub fn send_data(&mut self, label: &str, binary: bool, payload: Bytes) -> Result<bool, PeerError> {
        self.check_open()?;
        let taken = self.channels.push(label, binary, payload)?;
        self.dirty |= taken;
        Ok(taken)
    }

    /// How many bytes wait to be sent on the data channel of that label.
    pub fn buffered_data(&mut self, label: &str) -> usize {
        self.channels.buffered(&mut self.rtc, label)
    }

    /// The latest figures, at most about a second old.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let streams = self.tracks.iter().flat_map(|(key, track)| track.streams.iter().map(|stream| (*key, stream)));
        let outgoing = streams.filter_map(|(key, stream)| stream.statistics(key)).collect();
        self.statistics.statistics(outgoing, self.sender.bytes())
    }

    /// Says good-bye to the other side. Poll until [`Output::Timeout`] afterwards; [`Event::Closed`] is the last event.
    pub fn close(&mut self) {
        if !self.closed && self.ending.is_none() {
            self.ending = Some(CloseReason::Local);
            self.talkative = true;
            if let Ok(Err(error)) = guard(|| self.rtc.close()) {
                tracing::debug!(%error, "the connection could not be closed in good order");
            }
        }
    }

    pub(crate) fn key_of(&self, mid: Mid) -> Option<u64> {
        self.slots.get(&mid).and_then(|slot| slot.key)
    }

    pub(crate) fn check_open(&self) -> Result<(), PeerError> {
        if self.closed || self.ending.is_some() { Err(PeerError::Closed) } else { Ok(()) }
    }

    pub(crate) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Brings what depends on the negotiation up to date.
    pub(crate) fn refresh(&mut self, sections: Vec<Section>) {
        self.sections = sections;
        self.payloads = PayloadTable::new(&self.rtc);
        for section in &self.sections {
            if let Some(track) = section.sending.and_then(|key| self.tracks.get_mut(&key)) {
                track.formats.retain(|format| section.codecs.contains(&format.codec));
            }
        }
        self.ufrag = self.rtc.direct_api().local_ice_credentials().ufrag;
        let receiving = |mid| self.sections.iter().any(|section| section.mid == mid && section.receiving);
        self.statistics.retain(receiving);
        self.dirty = true;
    }

    /// Ends the connection because it cannot go on.
    pub(crate) fn fail(&mut self, reason: String) {
        if !self.closed {
            self.ending.get_or_insert(CloseReason::Failed(reason));
            self.end();
        }
    }

    fn end(&mut self) {
        self.closed = true;
        self.rtc.disconnect();
        if let Some(reason) = self.ending.take() {
            self.events.push_back(Event::Closed(reason));
        }
    }

    /// Makes of what the library wants to be sent what is sent. It tells by the way where it sends to.
    pub(crate) fn outward(&mut self, transmit: str0m::net::Transmit) -> Option<Transmit> {
        let mut transmit = Transmit::from_library(transmit);
        if is_stun(&transmit.data) {
            return Some(transmit);
        }
        self.sender.follow((transmit.proto, transmit.source, transmit.destination));
        if is_rtcp(&transmit.data) {
            transmit.data = self.sender.complete_rtcp(self.now, &transmit.data, self.tracks.values())?;
        }
        // Its RTP would use the numbers of ours.
        (!is_rtp(&transmit.data)).then_some(transmit)
    }

    fn tell_time(&mut self) {
        let now = self.now;
        if self.channels.has_queued() {
            let low = guard(|| self.channels.pump(&mut self.rtc));
            self.events.extend(low.unwrap_or_default());
        }
        match guard(|| self.rtc.handle_input(Input::Timeout(now)).map_err(|error| error.to_string())) {
            Err(panic) => self.fail(panic.to_string()),
            Ok(Err(error)) => self.fail(error),
            Ok(Ok(())) => {}
        }
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("role", &self.role).field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Whether a datagram is RTP, and not RTCP (RFC 7983 and RFC 5761).
fn is_rtp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..192, kind, ..] if !(64..96).contains(&(kind & 0x7f)))
}

fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [0..4, ..])
}

fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..192, kind, ..] if (64..96).contains(&(kind & 0x7f)))
}

/// Runs a piece of the library that works on input from outside. The library promises not to panic on it; should it do so
/// all the same, only this connection is lost.
pub(crate) fn guard<T>(work: impl FnOnce() -> T) -> Result<T, PeerError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        PeerError::Internal(text.unwrap_or_else(|| "panic".to_owned()))
    })
}
