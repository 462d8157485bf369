//! Figures of a connection, refreshed about once a second.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use str0m::stats::{MediaIngressStats, PeerStats};

use crate::{Mid, Proto, Rid};

/// Figures of the whole connection and of each stream.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    /// The round-trip time to the other side.
    pub rtt: Option<Duration>,
    /// Bytes sent, headers of the transport excluded.
    pub bytes_sent: u64,
    /// Bytes received, headers of the transport excluded.
    pub bytes_received: u64,
    /// The fraction of our packets that the other side misses, 0 to 1.
    pub loss_sent: Option<f32>,
    /// The fraction of the other side's packets that we miss, 0 to 1.
    pub loss_received: Option<f32>,
    /// The transport in use, with the local and the remote address.
    pub route: Option<(Proto, SocketAddr, SocketAddr)>,
    /// The streams we send.
    pub outgoing: Vec<OutgoingStatistics>,
    /// The streams we receive.
    pub incoming: Vec<IncomingStatistics>,
}

/// Figures of a stream that is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingStatistics {
    /// The key of its track.
    pub key: u64,
    /// Its simulcast layer.
    pub rid: Option<Rid>,
    /// Packets sent, retransmissions included.
    pub packets: u64,
    /// Payload bytes sent, retransmissions included.
    pub bytes: u64,
    /// Requests for retransmission received.
    pub nacks: u64,
    /// Key frame requests received.
    pub keyframe_requests: u64,
    /// The round-trip time, from the other side's reports.
    pub rtt: Option<Duration>,
    /// The fraction of packets that the other side misses, 0 to 1.
    pub loss: Option<f32>,
    /// How many packets the other side misses in all.
    pub packets_lost: Option<u64>,
    /// The jitter that the other side sees, in units of the RTP clock.
    pub jitter: Option<u32>,
}

/// Figures of a stream that is received.
#[derive(Debug, Clone, PartialEq)]
pub struct IncomingStatistics {
    /// Its section.
    pub mid: Mid,
    /// Its simulcast layer.
    pub rid: Option<Rid>,
    /// Packets received.
    pub packets: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// Requests for retransmission sent.
    pub nacks: u64,
    /// Key frame requests sent.
    pub keyframe_requests: u64,
    /// The fraction of packets that are missing, 0 to 1.
    pub loss: Option<f32>,
    /// The jitter, in units of the RTP clock.
    pub jitter: u32,
}

/// Fewer packets in a second tell nothing about loss.
const ENOUGH_PACKETS: u64 = 20;

/// The latest figures that the library reported.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    peer: Option<PeerStats>,
    /// The share of our packets that the other side missed lately, if enough were sent to tell.
    outgoing_loss: Option<f32>,
    ingress: HashMap<(Mid, Option<Rid>), MediaIngressStats>,
}

impl Collector {
    pub(crate) fn peer(&mut self, stats: PeerStats) {
        self.peer = Some(stats);
    }

    /// Takes the loss of each of our streams, with how many packets were sent meanwhile; returns the share that the other side
    /// missed, if enough were sent to tell.
    pub(crate) fn judge(&mut self, streams: impl Iterator<Item = (Option<f32>, u64)>) -> Option<f32> {
        let reported = streams.filter_map(|(loss, sent)| Some((loss?, sent)));
        let (lost, sent) = reported.fold((0.0, 0), |(lost, all), (loss, sent)| (lost + loss * sent as f32, all + sent));
        self.outgoing_loss = (sent >= ENOUGH_PACKETS).then(|| lost / sent as f32);
        self.outgoing_loss
    }

    pub(crate) fn ingress(&mut self, stats: MediaIngressStats) {
        self.ingress.insert((Mid(stats.mid), stats.rid.map(Rid)), stats);
    }

    /// Forgets the streams of sections that are not in use any more.
    pub(crate) fn retain(&mut self, receives: impl Fn(Mid) -> bool) {
        self.ingress.retain(|(mid, _), _| receives(*mid));
    }

    /// The round-trip time by the reports on streams. An ICE-lite side makes no checks that would tell.
    fn reported_rtt(&self, outgoing: &[OutgoingStatistics]) -> Option<Duration> {
        let sent = outgoing.iter().filter_map(|stats| stats.rtt);
        let received = self.ingress.values().filter_map(|stats| stats.rtt);
        sent.chain(received).min().or_else(|| self.peer.as_ref()?.rtt)
    }

    /// The figures, with those of the streams that we send and the bytes of their datagrams.
    pub(crate) fn statistics(&self, outgoing: Vec<OutgoingStatistics>, bytes: u64) -> Statistics {
        let mut statistics = self.peer.as_ref().map(connection).unwrap_or_default();
        statistics.rtt = statistics.rtt.or_else(|| self.reported_rtt(&outgoing));
        statistics.loss_sent = self.outgoing_loss;
        statistics.bytes_sent += bytes;
        statistics.outgoing = outgoing;
        statistics.incoming = self.ingress.iter().map(|((mid, rid), stats)| received(*mid, *rid, stats)).collect();
        statistics
    }
}

fn connection(stats: &PeerStats) -> Statistics {
    let pair = stats.selected_candidate_pair.as_ref();
    Statistics {
        rtt: pair.and_then(|pair| pair.current_round_trip_time),
        bytes_sent: stats.peer_bytes_tx,
        bytes_received: stats.peer_bytes_rx,
        loss_received: stats.ingress_loss_fraction,
        route: pair.map(|pair| (Proto::from_library(pair.protocol), pair.local.addr, pair.remote.addr)),
        ..Statistics::default()
    }
}

fn received(mid: Mid, rid: Option<Rid>, stats: &MediaIngressStats) -> IncomingStatistics {
    IncomingStatistics {
        mid,
        rid,
        packets: stats.packets,
        bytes: stats.bytes,
        nacks: stats.nacks,
        keyframe_requests: stats.plis + stats.firs,
        loss: stats.loss,
        jitter: stats.jitter,
    }
}
