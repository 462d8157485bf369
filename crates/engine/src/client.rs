//! Client peers: what a program sends and receives through one connection.

use std::collections::HashSet;
use std::sync::Arc;

use greenroom_peer::{
    self as peer, Candidate, Codec, IncomingPacket, MediaKind, Outgoing, Peer, PeerConfig, Rid, Role,
};

use crate::audio_source::AudioSource;
use crate::error::EngineError;
use crate::events::{Event, Handle};
use crate::server::random_text;
use crate::video_source::VideoSource;
use crate::world::{Side, World};

/// What to open for a client peer.
#[derive(Debug)]
pub struct ClientPeerOptions {
    /// A bound socket per local address.
    pub sockets: Vec<std::net::UdpSocket>,
    /// Whether to create the three data channels.
    pub data_channels: bool,
}

/// A program's own connection to a room.
#[derive(Debug, Default)]
pub(crate) struct ClientPeer {
    senders: HashSet<Handle>,
    /// Those that have a section: the others have nobody to send to yet.
    bound: HashSet<Handle>,
}

/// One encoding of a video sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerOptions {
    /// RTP stream id, "" for the only encoding.
    pub rid: String,
    /// Largest width in pixels; 0 = as captured.
    pub width: u32,
    /// Largest height in pixels; 0 = as captured.
    pub height: u32,
    /// bit/s
    pub bitrate: u32,
    /// Frames per second that the bit rate is meant for.
    pub fps: u32,
}

/// How to send a source.
#[derive(Debug, Clone)]
pub struct SenderOptions {
    /// msid track id.
    pub cid: String,
    /// msid stream id.
    pub stream_id: String,
    /// Opus, VP8 or H.264.
    pub codec: Codec,
    /// bit/s; 0 lets the audio encoder choose.
    pub bitrate: u32,
    /// Frames per second.
    pub fps: u32,
    /// Simulcast, low to high; empty = one encoding.
    pub layers: Vec<LayerOptions>,
    /// Send next to nothing while the audio is silent.
    pub dtx: bool,
    /// Send each audio packet twice (RFC 2198).
    pub red: bool,
}

/// What to send.
#[derive(Debug, Clone)]
pub enum SenderSource {
    /// A queue of PCM, by its handle.
    Audio(Handle, Arc<AudioSource>),
    /// Pictures, by their source's handle.
    Video(Handle, Arc<VideoSource>),
}

impl World {
    /// Make a connection of a client; negotiation starts with the first offer.
    pub fn open_client_peer(&mut self, handle: Handle, options: ClientPeerOptions) {
        if self.peers.contains_key(&handle) {
            return tracing::warn!(peer = handle, "this peer is open already");
        }
        if let Err(error) = self.try_open_client_peer(handle, options) {
            self.emit(Event::PeerState { peer: handle, state: "failed", detail: error.to_string() });
        }
    }

    fn try_open_client_peer(&mut self, handle: Handle, options: ClientPeerOptions) -> Result<(), EngineError> {
        let mut config = PeerConfig::new(Role::Client, random_text(8), random_text(24));
        config.certificate = self.media.certificate();
        config.data_channels = options.data_channels;
        for socket in options.sockets {
            let local = self.sockets.open_client_port(handle, socket)?;
            config.candidates.push(Candidate::Udp(local));
        }
        let peer = Peer::new(config, self.now).map_err(|error| EngineError::Invalid(error.to_string()))?;
        self.insert_peer(handle, peer, Side::Client(ClientPeer::default()));
        Ok(())
    }

    pub(crate) fn client_peer_ended(&mut self, handle: Handle, side: ClientPeer) {
        for sender in side.senders {
            self.drop_sender(sender);
        }
        self.end_receivers(handle);
    }

    /// Send a source on a new section of the next offer.
    ///
    /// # Errors
    /// The source is closed or cannot be sent with this codec.
    pub fn add_sender(&mut self, peer: Handle, sender: Handle, source: &SenderSource, options: SenderOptions) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        self.remove_sender(sender);
        let made = match source {
            SenderSource::Audio(source, _) => self.make_audio_sender(sender, peer, *source, &options),
            SenderSource::Video(source, _) => self.make_video_sender(sender, peer, *source, options.codec, &options),
        };
        if let Err(error) = made {
            let message = error.to_string();
            return self.emit(Event::NegotiationFailed { peer, offer_id: 0, message });
        }
        let (kind, codecs, stereo) = match source {
            SenderSource::Audio(_, audio) => {
                let codecs = if options.red { vec![Codec::Red, Codec::Opus] } else { vec![Codec::Opus] };
                (MediaKind::Audio, codecs, audio.num_channels() > 1)
            }
            SenderSource::Video(..) => (MediaKind::Video, vec![options.codec], false),
        };
        let mut outgoing = Outgoing::new(kind, options.stream_id, options.cid);
        outgoing.codecs = codecs;
        outgoing.stereo = stereo;
        outgoing.rids = options.layers.iter().map(|layer| Rid::from(layer.rid.as_str())).collect();
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        entry.peer.attach(sender, outgoing);
        if let Side::Client(side) = &mut entry.side {
            side.senders.insert(sender);
        }
    }

    /// Stop a sender; its section is freed by the next offer. Unknown handles are ignored.
    pub fn remove_sender(&mut self, sender: Handle) {
        let Some(peer) = self.drop_sender(sender) else {
            return;
        };
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.peer.detach(sender);
            if let Side::Client(side) = &mut entry.side {
                side.senders.remove(&sender);
            }
        }
    }

    pub(crate) fn sender_failed(&mut self, sender: Handle, message: String) {
        if let Some(peer) = self.sender_peer(sender) {
            self.fail(peer, message);
        }
    }

    // -- what the other side sends, by which end we are --------------------------------------------------------------

    pub(crate) fn packet_arrived(&mut self, handle: Handle, packet: IncomingPacket) {
        match self.peers.get(&handle).map(|entry| &entry.side) {
            Some(Side::Server(_)) => self.forward_packet(handle, packet),
            Some(Side::Client(_)) => self.receive_packet(handle, packet),
            None => {}
        }
    }

    pub(crate) fn keyframe_requested(&mut self, handle: Handle, key: Handle, rid: Option<Rid>) {
        match self.peers.get(&handle).map(|entry| &entry.side) {
            Some(Side::Server(_)) => self.server_keyframe_requested(handle, key),
            Some(Side::Client(_)) => self.sender_keyframe_requested(key, rid),
            None => {}
        }
    }

    pub(crate) fn sections_changed(&mut self, handle: Handle, sections: &[peer::Section]) {
        match self.peers.get(&handle).map(|entry| &entry.side) {
            Some(Side::Server(side)) => {
                let room = side.room;
                self.server_sections_changed(handle, room, sections);
            }
            Some(Side::Client(_)) => self.client_sections_changed(handle, sections),
            None => {}
        }
    }

    fn client_sections_changed(&mut self, handle: Handle, sections: &[peer::Section]) {
        let Some(Side::Client(side)) = self.peers.get_mut(&handle).map(|entry| &mut entry.side) else { return };
        let now: HashSet<Handle> = sections.iter().filter_map(|section| section.sending).collect();
        let started: Vec<Handle> = now.difference(&side.bound).copied().collect();
        side.bound = now;
        // What was encoded before went nowhere: the other side cannot start without a key frame.
        started.into_iter().for_each(|sender| self.sender_keyframe_requested(sender, None));
    }

    pub(crate) fn sender_report_arrived(&mut self, handle: Handle, report: &peer::SenderReport) {
        if let Some(Side::Server(_)) = self.peers.get(&handle).map(|entry| &entry.side) {
            self.server_report_arrived(handle, report);
        }
    }

    pub(crate) fn bandwidth_changed(&mut self, handle: Handle, bitrate: u64) {
        match self.peers.get(&handle).map(|entry| &entry.side) {
            Some(Side::Server(side)) => {
                let room = side.room;
                self.server_bandwidth_changed(handle, room, bitrate);
            }
            Some(Side::Client(_)) => self.limit_senders(handle, bitrate),
            None => {}
        }
    }
}
