//! Sending media. A packet is written, encrypted and ready to go the moment that [`Peer::send`](crate::Peer::send) is called;
//! the WebRTC library, which looks at all of its parts for each packet, has no part in it.
//!
//! * `keys` and `srtp`: the keys of the connection, and encryption with them;
//! * `header`: how a packet begins;
//! * `stream`, `window`, `history`: what is remembered of one SSRC;
//! * `rtcp`, `repairs`: reports of both sides, and what is sent again.
//!
//! The library still makes up the SSRCs and writes RTCP. Of the latter it knows no figures: each packet is opened on its way
//! out, completed, and encrypted again under a count of our own, so that each index of a key is used once.

pub(crate) mod header;
mod history;
pub(crate) mod keys;
mod repairs;
pub(crate) mod rtcp;
mod srtp;
mod stream;
mod window;

use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::peer::Track;
use crate::{Codec, OutgoingPacket, PeerError, Proto, Role, Transmit, payload};

use header::{Header, Place};
use keys::KeySlot;
use repairs::{Repair, Repairs};
use rtcp::Feedback;
use srtp::{LONGEST_TAG, Srtp};
pub(crate) use stream::Stream;

/// Packets that wait for the connection to come up.
const MOST_WAITING: usize = 1024;
/// What a header takes, unless a long dependency descriptor comes with it.
const USUAL_HEADER: usize = 64;
/// Repairs carry the original sequence number in front.
const ORIGINAL_NUMBER: usize = 2;
/// SRTP counts packets in 48 bits.
const INDEX_BITS: u32 = 48;
/// A packet is not sent again sooner than this, nor sooner than a round trip.
const LEAST_REST: Duration = Duration::from_millis(10);

/// How packets of one codec are numbered in a section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    /// The payload type of retransmissions.
    pub(crate) repair: Option<u8>,
}

/// The sending half of a connection.
pub(crate) struct Sender {
    role: Role,
    slot: KeySlot,
    /// The ciphers of our packets and of the other side's.
    ciphers: Option<(Srtp, Srtp)>,
    route: Option<(Proto, SocketAddr, SocketAddr)>,
    open: bool,
    waiting: VecDeque<OutgoingPacket>,
    repairs: Repairs,
    /// The SSRCs that there ever were.
    ssrcs: HashSet<u32>,
    /// The middle of an NTP time that the library has put into a report, and when.
    clock: Option<(u32, Instant)>,
    started: Instant,
    bytes: u64,
}

impl Sender {
    pub(crate) fn new(role: Role, slot: KeySlot, now: Instant) -> Self {
        Sender {
            role,
            slot,
            ciphers: None,
            route: None,
            open: false,
            waiting: VecDeque::new(),
            repairs: Repairs::new(role, now),
            ssrcs: HashSet::new(),
            clock: None,
            started: now,
            bytes: 0,
        }
    }

    /// The handshake is over.
    pub(crate) fn connected(&mut self) -> Result<(), PeerError> {
        if let Some(keys) = self.slot.take() {
            self.ciphers = Some(srtp::both_directions(&keys)?);
        }
        Ok(())
    }

    /// Whether packets are sent and need not wait any more.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// The packets that have waited, as soon as the other side can read them: it needs the end of the handshake, which the
    /// library must have sent before this is called.
    pub(crate) fn release(&mut self) -> VecDeque<OutgoingPacket> {
        if self.open || self.ciphers.is_none() || self.route.is_none() {
            return VecDeque::new();
        }
        self.open = true;
        std::mem::take(&mut self.waiting)
    }

    /// Keeps a packet until the connection is up.
    pub(crate) fn wait(&mut self, packet: OutgoingPacket) {
        if self.waiting.len() == MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(packet);
    }

    /// Where ICE sends to, as far as it can be told.
    pub(crate) fn follow(&mut self, route: (Proto, SocketAddr, SocketAddr)) {
        self.route = Some(route);
    }

    /// A stream for an SSRC; `None` if there was one before, whose indices must not be used again.
    pub(crate) fn open(&mut self, rid: Option<crate::Rid>, ssrc: u32, repair: Option<u32>) -> Option<Stream> {
        let fresh = self.ssrcs.insert(ssrc) && repair.is_none_or(|repair| self.ssrcs.insert(repair));
        if !fresh {
            tracing::error!(ssrc, "an SSRC comes again, nothing is sent with it");
        }
        fresh.then(|| Stream::new(self.role, rid, ssrc, repair))
    }

    /// Bytes of datagrams written here.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a packet of a track; `None` if it cannot be sent there, or its number was sent before.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        track: &mut Track,
        packet: OutgoingPacket,
        bitrate: f64,
    ) -> Option<Transmit> {
        let (ciphers, route) = (self.ciphers.as_ref()?, self.route?);
        let format = track.format(packet.codec)?;
        let (mid, ids) = (track.mid, &track.extensions);
        let stream = find(&mut track.streams, packet.rid)?;
        if packet.seq >> INDEX_BITS != 0 || !stream.used.claim(packet.seq) {
            return None;
        }
        let header = Header {
            payload_type: format.payload_type,
            marker: packet.marker,
            seq: packet.seq as u16,
            timestamp: packet.timestamp,
            ssrc: stream.ssrc,
        };
        let place = if stream.known { Place::default() } else { Place { mid, rid: stream.rid, repaired_rid: None } };
        let mut data = Vec::with_capacity(USUAL_HEADER + packet.payload.len() + LONGEST_TAG);
        header.write(&mut data, ids, &packet.extensions, &place, now.saturating_duration_since(self.started));
        let start = data.len();
        write_payload(&mut data, &packet);
        ciphers.0.protect_rtp(&mut data, start, stream.ssrc, packet.seq).ok()?;
        let size = packet.payload.len();
        // A report made from an instant in the future would tell of a time that has not come.
        stream.clock = Some((packet.timestamp, packet.wallclock.min(now), packet.codec.clock_rate()));
        stream.figures.packets += 1;
        stream.figures.bytes += size as u64;
        self.bytes += data.len() as u64;
        self.repairs.earn(size, bitrate);
        if packet.nackable && format.repair.is_some() && stream.repair.is_some() {
            stream.history.keep(now, packet);
        }
        Some(transmit(route, data))
    }

    /// Packets were asked for again, see [`Feedback::Missing`].
    pub(crate) fn missing(&mut self, now: Instant, key: u64, stream: &mut Stream, packets: &[(u16, u16)]) {
        stream.figures.nacks += 1;
        let rest = stream.figures.rtt.unwrap_or_default().max(LEAST_REST);
        let numbers = packets.iter().flat_map(|&(first, mask)| {
            let others =
                (0..16).filter(move |bit| mask >> bit & 1 == 1).map(move |bit: u16| first.wrapping_add(bit + 1));
            std::iter::once(first).chain(others)
        });
        for seq in numbers {
            let Some(asked) = stream.history.ask(now, seq, rest) else { continue };
            stream.figures.missed += u64::from(asked.first);
            if let Some(seq) = asked.seq {
                self.repairs.ask(Repair { key, ssrc: stream.ssrc, seq });
            }
        }
    }

    pub(crate) fn next_repair(&mut self, now: Instant) -> Option<Repair> {
        self.repairs.next(now)
    }

    /// When more repairs may go out.
    pub(crate) fn repairs_due(&self) -> Option<Instant> {
        self.repairs.due()
    }

    /// Writes a packet again, on the stream of retransmissions (RFC 4588).
    pub(crate) fn repair(&mut self, now: Instant, track: &mut Track, repair: Repair) -> Option<Transmit> {
        let (ciphers, route) = (self.ciphers.as_ref()?, self.route?);
        let index = track.streams.iter().position(|stream| stream.ssrc == repair.ssrc)?;
        let (mid, ids, formats) = (track.mid, &track.extensions, &track.formats);
        let stream = track.streams.get_mut(index)?;
        let ssrc = stream.repair?;
        let packet = stream.history.get(repair.seq)?;
        let format = formats.iter().find(|format| format.codec == packet.codec)?;
        let number = stream.next_repair;
        let header = Header {
            payload_type: format.repair?,
            marker: packet.marker,
            seq: number as u16,
            timestamp: packet.timestamp,
            ssrc,
        };
        let mid = mid.filter(|_| !stream.repair_known);
        let place = Place { mid, rid: None, repaired_rid: stream.rid.filter(|_| !stream.repair_known) };
        let mut data = Vec::with_capacity(USUAL_HEADER + ORIGINAL_NUMBER + packet.payload.len() + LONGEST_TAG);
        header.write(&mut data, ids, &packet.extensions, &place, now.saturating_duration_since(self.started));
        let start = data.len();
        data.extend_from_slice(&(packet.seq as u16).to_be_bytes());
        write_payload(&mut data, packet);
        stream.next_repair += 1;
        ciphers.0.protect_rtp(&mut data, start, ssrc, number).ok()?;
        let size = packet.payload.len();
        stream.figures.packets += 1;
        stream.figures.bytes += size as u64;
        self.bytes += data.len() as u64;
        self.repairs.spend(size);
        Some(transmit(route, data))
    }

    /// What the other side says in an RTCP packet about what we send, and whether it also says something else; `None` if the
    /// packet cannot be understood here.
    pub(crate) fn read_rtcp(&self, datagram: &[u8]) -> Option<(Vec<Feedback>, bool)> {
        let compound = self.ciphers.as_ref()?.1.open_rtcp(datagram)?;
        let mut feedback = Vec::new();
        let more = rtcp::read(&compound, |each| feedback.push(each));
        Some((feedback, more))
    }

    /// The round trip that a reception report shows: it names a report of ours and says how long ago that arrived.
    pub(crate) fn round_trip(&self, now: Instant, report: u32, since_report: u32) -> Option<Duration> {
        let (middle, at) = self.clock.filter(|_| report != 0)?;
        let since = now.saturating_duration_since(at).as_nanos() * 65_536 / 1_000_000_000;
        let elapsed = middle.wrapping_add(since as u32).wrapping_sub(report).wrapping_sub(since_report);
        // Clocks that differ a little make a short way look shorter than nothing.
        (elapsed < 1 << 31).then(|| Duration::from_nanos(u64::from(elapsed) * 1_000_000_000 / 65_536))
    }

    /// Completes an RTCP packet of the library's, see [`rtcp::complete`]; `None` if nothing is left of it.
    pub(crate) fn complete_rtcp<'t>(
        &mut self,
        now: Instant,
        datagram: &[u8],
        tracks: impl Iterator<Item = &'t Track> + Clone,
    ) -> Option<Vec<u8>> {
        let compound = self.ciphers.as_ref()?.0.open_rtcp(datagram)?;
        let clock = &mut self.clock;
        let complete = rtcp::complete(&compound, |ssrc, middle| {
            *clock = Some((middle, now));
            tracks.clone().find_map(|track| {
                let stream = track.streams.iter().find(|stream| stream.ssrc == ssrc)?;
                stream.report(now, &track.outgoing.cname)
            })
        });
        if complete.is_empty() {
            return None;
        }
        let own = &mut self.ciphers.as_mut()?.0;
        own.protect_rtcp(&complete).inspect_err(|error| tracing::error!(%error, "a report is not sent")).ok()
    }
}

/// The stream of a layer; whoever has one stream only needs not name it.
pub(crate) fn find(streams: &mut [Stream], rid: Option<crate::Rid>) -> Option<&mut Stream> {
    let only = streams.len() == 1;
    streams.iter_mut().find(|stream| stream.rid == rid || only && stream.rid.is_none())
}

fn write_payload(data: &mut Vec<u8>, packet: &OutgoingPacket) {
    let start = data.len();
    data.extend_from_slice(&packet.payload);
    if let (Some(rewrite), Some(payload)) = (packet.vp8, data.get_mut(start..)) {
        payload::rewrite_vp8(payload, rewrite);
    }
}

fn transmit((proto, source, destination): (Proto, SocketAddr, SocketAddr), data: Vec<u8>) -> Transmit {
    Transmit { proto, source, destination, data }
}
