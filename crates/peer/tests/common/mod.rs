//! Two peers and a tiny network between them, all in virtual time.
#![allow(dead_code)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use greenroom_peer::{
    Candidate, Certificate, Codec, Event, Extensions, IncomingPacket, MediaKind, Mid, OfferOptions, Outgoing,
    OutgoingPacket, Output, Peer, PeerConfig, Proto, Rid, Role, Section, TcpType,
};

pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;

struct InFlight {
    due: Instant,
    to: usize,
    proto: Proto,
    source: SocketAddr,
    destination: SocketAddr,
    data: Vec<u8>,
}

/// A network of two peers with a fixed delay each way.
pub struct Network {
    pub now: Instant,
    pub peers: [Peer; 2],
    pub events: [Vec<Event>; 2],
    /// Datagrams sent by each.
    pub sent: [usize; 2],
    /// The share of datagrams from each that is lost, in percent.
    pub loss: [u32; 2],
    /// Drops everything from that side.
    pub cut: [bool; 2],
    pub delay: Duration,
    in_flight: VecDeque<InFlight>,
    seed: u64,
    /// How often the peers asked for a time-out, to show that there is no hot loop.
    pub timeouts: usize,
}

pub fn config(role: Role, proto: Proto) -> PeerConfig {
    let (name, port, tcp) = match role {
        Role::Client => ("client", 1000, TcpType::Active),
        Role::Server => ("server", 2000, TcpType::Passive),
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    static CERTIFICATE: OnceLock<Certificate> = OnceLock::new();
    let mut config = PeerConfig::new(role, format!("{name}ufrag"), format!("{name}passwordpasswordpassword"));
    config.data_channels = true;
    config.certificate = Some(CERTIFICATE.get_or_init(|| Certificate::generate().expect("a certificate")).clone());
    config.candidates.push(match proto {
        Proto::Udp => Candidate::Udp(address),
        Proto::Tcp => Candidate::Tcp(address, tcp),
    });
    config
}

impl Network {
    pub fn new() -> Self {
        Self::with(config(Role::Client, Proto::Udp), config(Role::Server, Proto::Udp))
    }

    pub fn with(client: PeerConfig, server: PeerConfig) -> Self {
        let now = Instant::now();
        let peer = |config| Peer::new(config, now).expect("the configuration is valid");
        Network {
            now,
            peers: [peer(client), peer(server)],
            events: [Vec::new(), Vec::new()],
            sent: [0, 0],
            loss: [0, 0],
            cut: [false, false],
            delay: Duration::from_millis(5),
            in_flight: VecDeque::new(),
            seed: 7,
            timeouts: 0,
        }
    }

    pub fn client(&mut self) -> &mut Peer {
        &mut self.peers[CLIENT]
    }

    pub fn server(&mut self) -> &mut Peer {
        &mut self.peers[SERVER]
    }

    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed
    }

    /// Lets both peers say all they have to say, and returns when the next of them wants to be woken.
    fn drain(&mut self) -> Instant {
        let mut wake = self.now + Duration::from_secs(3600);
        for side in [CLIENT, SERVER] {
            loop {
                match self.peers[side].poll(self.now) {
                    Output::Transmit(transmit) => {
                        self.sent[side] += 1;
                        let lost = self.cut[side] || self.random() % 100 < u64::from(self.loss[side]);
                        if !lost {
                            self.in_flight.push_back(InFlight {
                                due: self.now + self.delay,
                                to: 1 - side,
                                proto: transmit.proto,
                                source: transmit.source,
                                destination: transmit.destination,
                                data: transmit.data,
                            });
                        }
                    }
                    Output::Event(event) => self.events[side].push(event),
                    Output::Timeout(at) => {
                        assert!(at > self.now, "a time-out must lie in the future");
                        wake = wake.min(at);
                        break;
                    }
                }
            }
        }
        wake
    }

    /// Lets time pass.
    pub fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let wake = self.drain();
            let arrival = self.in_flight.front().map(|packet| packet.due);
            let next = arrival.map_or(wake, |due| due.min(wake)).min(end);
            self.now = self.now.max(next);
            while self.in_flight.front().is_some_and(|packet| packet.due <= self.now) {
                let packet = self.in_flight.pop_front().expect("it was there");
                let peer = &mut self.peers[packet.to];
                let _ = peer.handle_datagram(self.now, packet.proto, packet.source, packet.destination, &packet.data);
            }
            if wake <= self.now {
                self.timeouts += 1;
                self.peers.iter_mut().for_each(|peer| peer.handle_timeout(self.now));
            }
            if self.now >= end {
                self.drain();
                return;
            }
        }
    }

    pub fn run_ms(&mut self, milliseconds: u64) {
        self.run(Duration::from_millis(milliseconds));
    }

    /// The client offers, the server answers.
    pub fn negotiate(&mut self, options: OfferOptions) -> Negotiated {
        self.exchange(CLIENT, options).expect("there is something to offer")
    }

    /// One exchange in either direction; `None` if there is nothing to offer.
    pub fn exchange(&mut self, offerer: usize, options: OfferOptions) -> Option<Negotiated> {
        let now = self.now;
        let offer = self.peers[offerer].create_offer(now, options).expect("an offer can be made")?;
        let answer = self.peers[1 - offerer].accept_offer(now, &offer.sdp).expect("the offer is good");
        let sections = self.peers[offerer].accept_answer(now, &answer.sdp).expect("the answer is good");
        self.run_ms(50);
        Some(Negotiated {
            offer: offer.sdp,
            answer: answer.sdp,
            missing: answer.missing,
            answerer: answer.sections,
            sections,
        })
    }

    /// A connected pair: three receive-only sections of each kind, as clients of the protocol make them.
    pub fn connect(&mut self) -> Negotiated {
        let negotiated = self.negotiate(slots(3, 3));
        self.run_ms(1000);
        for side in [CLIENT, SERVER] {
            assert!(self.take(side, |event| matches!(event, Event::Connected)), "both sides connect");
        }
        negotiated
    }

    /// Removes the events up to and including the first that is wanted; false if there is none.
    pub fn take(&mut self, side: usize, wanted: impl Fn(&Event) -> bool) -> bool {
        match self.events[side].iter().position(wanted) {
            Some(index) => {
                self.events[side].drain(..=index);
                true
            }
            None => false,
        }
    }

    pub fn packets(&mut self, side: usize) -> Vec<IncomingPacket> {
        let events = std::mem::take(&mut self.events[side]);
        let packet = |event| match event {
            Event::Rtp(packet) => Some(packet),
            _ => None,
        };
        events.into_iter().filter_map(packet).collect()
    }

    pub fn messages(&mut self, side: usize) -> Vec<(String, Vec<u8>)> {
        let events = std::mem::take(&mut self.events[side]);
        let message = |event| match event {
            Event::Data { label, payload, .. } => Some((label.to_string(), payload.to_vec())),
            _ => None,
        };
        events.into_iter().filter_map(message).collect()
    }

    /// Sends packets at a steady pace; returns how many were taken.
    pub fn stream(&mut self, side: usize, source: &mut Source, count: usize) -> usize {
        let mut taken = 0;
        for _ in 0..count {
            let packet = source.next(self.now);
            taken += usize::from(self.peers[side].send(self.now, packet).expect("the track is attached"));
            self.run_ms(10);
        }
        taken
    }
}

/// What an exchange of descriptions came to.
pub struct Negotiated {
    pub offer: String,
    pub answer: String,
    pub missing: greenroom_peer::Missing,
    /// The sections as the answering side sees them.
    pub answerer: Vec<Section>,
    /// The sections as the offering side sees them.
    pub sections: Vec<Section>,
}

pub fn slots(audio: usize, video: usize) -> OfferOptions {
    OfferOptions { audio, video, ..OfferOptions::default() }
}

pub fn force() -> OfferOptions {
    OfferOptions { force: true, ..OfferOptions::default() }
}

pub fn track(kind: MediaKind, participant: &str, sid: &str) -> Outgoing {
    let mut outgoing = Outgoing::new(kind, format!("{participant}|{sid}"), sid);
    outgoing.cname = participant.to_owned();
    outgoing
}

/// A client's own track, named by its cid.
pub fn local(kind: MediaKind, cid: &str, codecs: &[Codec]) -> Outgoing {
    let mut outgoing = Outgoing::new(kind, "-", cid);
    outgoing.codecs = codecs.to_vec();
    outgoing
}

/// Makes packets whose content names their number.
pub struct Source {
    pub key: u64,
    pub rid: Option<Rid>,
    pub codec: Codec,
    pub seq: u64,
    pub extensions: Extensions,
}

impl Source {
    pub fn new(key: u64, codec: Codec) -> Self {
        Source { key, rid: None, codec, seq: 100, extensions: Extensions::default() }
    }

    pub fn next(&mut self, now: Instant) -> OutgoingPacket {
        self.seq += 1;
        OutgoingPacket {
            key: self.key,
            rid: self.rid,
            codec: self.codec,
            seq: self.seq,
            timestamp: (self.seq as u32).wrapping_mul(self.codec.clock_rate() / 100),
            wallclock: now,
            marker: self.seq.is_multiple_of(2),
            payload: payload(self.seq),
            nackable: self.codec.kind() == MediaKind::Video,
            extensions: self.extensions.clone(),
            vp8: None,
        }
    }
}

pub fn payload(seq: u64) -> Arc<[u8]> {
    format!("packet {seq} {}", "x".repeat(200)).into_bytes().into()
}

pub fn section_of(sections: &[Section], key: u64) -> &Section {
    sections.iter().find(|section| section.sending == Some(key)).expect("the track has a section")
}

pub fn receiving(sections: &[Section]) -> Vec<(Mid, String, String)> {
    let named = |section: &Section| {
        section.receiving.then(|| {
            (section.mid, section.stream_id.clone().unwrap_or_default(), section.track_id.clone().unwrap_or_default())
        })
    };
    sections.iter().filter_map(named).collect()
}

/// The lines of the section with that mid.
pub fn lines<'a>(sdp: &'a str, mid: &str) -> Vec<&'a str> {
    let wanted = format!("a=mid:{mid}");
    let section = sdp.split("m=").skip(1).find(|section| section.lines().any(|line| line == wanted));
    section.unwrap_or_else(|| panic!("no section {mid}")).lines().collect()
}
