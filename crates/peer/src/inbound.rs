//! What arrives: events of the library become events of the peer.

use str0m::IceConnectionState;
use str0m::rtp::{RtpPacket, Ssrc};
use str0m::stats::PeerStats;

use crate::peer::{Peer, guard};
use crate::section::{Codec, Mid, Rid};
use crate::{CloseReason, Event, IncomingPacket, Proto, Role, SenderReport, extension};

impl Peer {
    /// Takes out the packet that has just come in: the library has room for one only. Everything else can wait.
    pub(crate) fn harvest(&mut self) {
        while !self.closed {
            match guard(|| self.rtc.poll_output().map_err(|error| error.to_string())) {
                Err(panic) => self.fail(panic.to_string()),
                Ok(Err(error)) => self.fail(error),
                Ok(Ok(str0m::Output::Transmit(transmit))) => {
                    let transmit = self.outward(transmit);
                    self.outbox.extend(transmit);
                }
                Ok(Ok(str0m::Output::Timeout(_))) => return,
                Ok(Ok(str0m::Output::Event(event))) => {
                    let last = matches!(event, str0m::Event::RtpPacket(_));
                    self.translate(event);
                    if last {
                        return;
                    }
                }
            }
        }
    }

    pub(crate) fn translate(&mut self, event: str0m::Event) {
        use str0m::Event as Library;
        let event = match event {
            Library::Connected => self.connected(),
            Library::IceConnectionStateChange(state) => self.reachability(state),
            Library::RtpPacket(packet) => self.receive(packet).map(Event::Rtp),
            Library::SenderFeedback(report) => Some(Event::SenderReport(SenderReport {
                mid: Mid(report.mid),
                rid: report.rid.map(Rid),
                wallclock: report.sender_info.ntp_time,
                timestamp: report.sender_info.rtp_time.numer() as u32,
                received: report.received_at,
            })),
            Library::ChannelOpen(id, label) => {
                self.dirty = true;
                Some(self.channels.opened(&mut self.rtc, id, &label))
            }
            Library::ChannelData(data) => self.channels.label(data.id).map(|label| Event::Data {
                label,
                binary: data.binary,
                payload: data.data.into(),
            }),
            Library::ChannelBufferedAmountLow(_) => {
                self.dirty |= self.channels.has_queued();
                None
            }
            Library::ChannelClose(id) => self.channels.closed(id),
            Library::PeerStats(stats) => self.judge_loss(stats),
            Library::MediaIngressStats(stats) => {
                self.statistics.ingress(stats);
                None
            }
            Library::Closed => {
                self.ending.get_or_insert(CloseReason::Remote);
                None
            }
            _ => None,
        };
        self.events.extend(event);
    }

    fn judge_loss(&mut self, stats: PeerStats) -> Option<Event> {
        if let Some(pair) = &stats.selected_candidate_pair {
            self.sender.follow((Proto::from_library(pair.protocol), pair.local.addr, pair.remote.addr));
        }
        let streams = self.tracks.values_mut().flat_map(|track| &mut track.streams);
        let server = self.role == Role::Server;
        let loss = self.statistics.judge(streams.map(|stream| stream.figures.recent(server)));
        self.statistics.peer(stats);
        let limit = loss.and_then(|loss| self.congestion.lost(self.now, loss));
        let limit = limit.or_else(|| self.congestion.handle_timeout(self.now));
        limit.map(|bitrate| Event::Bandwidth { bitrate })
    }

    fn connected(&mut self) -> Option<Event> {
        match self.sender.connected() {
            Ok(()) => Some(Event::Connected),
            Err(error) => {
                self.fail(error.to_string());
                None
            }
        }
    }

    fn reachability(&mut self, state: IceConnectionState) -> Option<Event> {
        match state {
            IceConnectionState::Disconnected if !self.unreachable => {
                self.unreachable = true;
                Some(Event::Disconnected)
            }
            IceConnectionState::Connected | IceConnectionState::Completed if self.unreachable => {
                self.unreachable = false;
                Some(Event::Reconnected)
            }
            _ => None,
        }
    }

    fn receive(&mut self, packet: RtpPacket) -> Option<IncomingPacket> {
        let header = packet.header;
        let codec = self.payloads.codec(header.payload_type)?;
        let (mid, rid) = self.place(header.ssrc, codec)?;
        Some(IncomingPacket {
            mid,
            rid,
            codec,
            ssrc: *header.ssrc,
            seq: *packet.seq_no,
            timestamp: header.timestamp,
            marker: header.marker,
            payload: packet.payload,
            extensions: extension::from_values(&header.ext_vals),
            received: packet.timestamp,
        })
    }

    /// The section and layer that a source belongs to. Only its first packets say so themselves.
    fn place(&mut self, ssrc: Ssrc, codec: Codec) -> Option<(Mid, Option<Rid>)> {
        if let Some(place) = self.sources.get(&ssrc) {
            return Some(*place);
        }
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx(&ssrc)?;
        let place = (Mid(stream.mid()), stream.rid().map(Rid));
        if codec == Codec::Opus && self.slots.get(&place.0).is_some_and(|slot| slot.recovers_opus) {
            // For want of a retransmission stream the library asks for nothing; but lost packets come again as they were.
            stream.suppress_nack(false);
        }
        self.sources.insert(*ssrc, place);
        Some(place)
    }
}
