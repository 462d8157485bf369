//! A participant that is let in and then sends packets that no encoder makes: the server forwards or drops them, the receivers'
//! depacketizers and decoders take or refuse them, and neither panics.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use greenroom_engine::{
    AudioSink, AudioSinkOptions, ClientPeerOptions, Engine, Event, Layer, Section, TrackOptions, VideoSink,
};
use greenroom_peer::{
    Candidate, Codec, Extensions, MediaKind, OfferOptions, Outgoing, OutgoingPacket, Output, Peer, PeerConfig, Proto,
    Role,
};

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);
const ROOM: u64 = 1;
const ATTACKER: u64 = 11;
const VICTIM: u64 = 12;
const SOUND: u64 = 31;
const PICTURE: u64 = 32;

/// Events of one engine, and the next of a kind.
struct Told {
    engine: Engine,
    waiting: VecDeque<Event>,
}

impl Told {
    fn new(name: &str) -> Self {
        Self { engine: Engine::new(name).unwrap(), waiting: VecDeque::new() }
    }

    fn poll(&mut self) {
        for event in self.engine.events().drain(1024) {
            assert!(!matches!(event, Event::EngineFailed { .. }), "{event:?}");
            self.waiting.push_back(event);
        }
    }

    fn next<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>, mut meanwhile: impl FnMut()) -> T {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            meanwhile();
            self.poll();
            if let Some(place) = self.waiting.iter().position(|event| wanted(event).is_some()) {
                return self.waiting.remove(place).and_then(|event| wanted(&event)).unwrap();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("an event did not come; these did: {:?}", self.waiting);
    }
}

fn answer(event: &Event) -> Option<(String, Vec<Section>)> {
    match event {
        Event::Answer { sdp, sections, .. } => Some((sdp.clone(), sections.clone())),
        _ => None,
    }
}

/// The participant that misbehaves: a peer on a socket, without an engine.
struct Attacker {
    peer: Peer,
    socket: UdpSocket,
    local: SocketAddr,
    connected: bool,
}

impl Attacker {
    fn new() -> Self {
        let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let local = socket.local_addr().unwrap();
        let mut config = PeerConfig::new(Role::Client, "attacker", "passwordOfTheAttacker12345");
        config.candidates.push(Candidate::Udp(local));
        let mut peer = Peer::new(config, Instant::now()).unwrap();
        let mut sound = Outgoing::new(MediaKind::Audio, "-", "sound");
        sound.codecs = vec![Codec::Opus, Codec::Red];
        peer.attach(SOUND, sound);
        let mut picture = Outgoing::new(MediaKind::Video, "-", "picture");
        picture.codecs = vec![Codec::Vp8, Codec::H264, Codec::Vp9, Codec::Av1];
        peer.attach(PICTURE, picture);
        Self { peer, socket, local, connected: false }
    }

    fn drive(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
            self.peer.handle_datagram(Instant::now(), Proto::Udp, source, self.local, &buffer[..length]).unwrap();
        }
        self.peer.handle_timeout(Instant::now());
        loop {
            match self.peer.poll(Instant::now()) {
                Output::Transmit(transmit) => {
                    let _ = self.socket.send_to(&transmit.data, transmit.destination);
                }
                Output::Event(greenroom_peer::Event::Connected) => self.connected = true,
                Output::Event(_) => {}
                Output::Timeout(_) => break,
            }
        }
    }
}

/// A small deterministic generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Beginnings that make a reader believe: the rest is noise, or nothing.
fn beginnings(codec: Codec) -> Vec<Vec<u8>> {
    match codec {
        Codec::Opus => {
            (0..=255).step_by(3).map(|toc| vec![toc]).chain([vec![], vec![0xff, 0xff], vec![3, 0xbf]]).collect()
        }
        Codec::Red => vec![
            vec![0xef],
            vec![0xef, 0xff, 0xff, 0xff],
            vec![0xef, 0, 0, 0, 0x6f],
            [0xef, 0xff, 0xff, 0xff].repeat(40),
            vec![0x6f],
            vec![],
        ],
        Codec::Vp8 => vec![
            // A key frame's beginning with sizes 16383 x 16383, and one of size 0 x 0.
            vec![0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f],
            vec![0x10, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0, 0, 0, 0],
            vec![0x90, 0xf0, 0x80],
            vec![0x90, 0xf0, 0xff, 0xff, 0xff, 0xff, 0x10, 0x02, 0, 0x9d, 0x01, 0x2a, 0x40, 1, 0xf0, 0],
            vec![0x80],
            vec![0x1f, 0xff],
            vec![],
        ],
        Codec::H264 => vec![
            vec![0x78, 0xff, 0xff],
            vec![0x78, 0, 0, 0, 0, 0, 0],
            vec![0x78, 0, 5, 0x67, 0x42, 0xe0, 0x1f, 0xff, 0, 2, 0x68, 0xce],
            vec![0x7c],
            vec![0x7c, 0x85],
            vec![0x7c, 0xc5],
            vec![0x67, 0x42, 0xe0, 0xff, 0xff],
            vec![0x65, 0x88],
            vec![0x00],
            vec![],
        ],
        _ => {
            vec![vec![], vec![0xff], vec![0x8f, 0xff], vec![0xb8, 0x80, 0xff], vec![0x10, 0xff, 0xff], vec![0x0a, 0x80]]
        }
    }
}

fn connect(server: &mut Told, attacker: &mut Attacker) -> Vec<Section> {
    let offer = attacker.peer.create_offer(Instant::now(), OfferOptions::default()).unwrap().unwrap();
    server.engine.run(ROOM, |world| world.open_room(ROOM)).unwrap();
    server.engine.run(ATTACKER, |world| world.open_server_peer(ROOM, ATTACKER, false)).unwrap();
    server.engine.run(ATTACKER, move |world| world.accept_offer(ATTACKER, 1, &offer.sdp)).unwrap();
    let (sdp, sections) = server.next(answer, || ());
    attacker.peer.accept_answer(Instant::now(), &sdp).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !attacker.connected && Instant::now() < deadline {
        attacker.drive();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(attacker.connected);
    sections
}

fn negotiate(server: &mut Told, victim: &mut Told, options: OfferOptions, attacker: &mut Attacker) -> Vec<Section> {
    victim.engine.run(VICTIM, move |world| world.create_offer(VICTIM, options)).unwrap();
    let offered = |event: &Event| match event {
        Event::Offer { offer_id, sdp, .. } => Some((*offer_id, sdp.clone())),
        _ => None,
    };
    let (id, sdp) = victim.next(offered, || attacker.drive());
    server.engine.run(VICTIM, move |world| world.accept_offer(VICTIM, id, &sdp)).unwrap();
    let (sdp, _) = server.next(answer, || attacker.drive());
    victim.engine.run(VICTIM, move |world| world.accept_answer(VICTIM, id, &sdp)).unwrap();
    let negotiated = |event: &Event| match event {
        Event::Negotiated { sections, .. } => Some(sections.clone()),
        _ => None,
    };
    victim.next(negotiated, || attacker.drive())
}

/// The victim receives both tracks and decodes them.
fn subscribe(server: &mut Told, victim: &mut Told, attacker: &mut Attacker, published: &[Section]) {
    let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    let options = ClientPeerOptions { sockets: vec![socket], data_channels: false };
    victim.engine.run(VICTIM, move |world| world.open_client_peer(VICTIM, options)).unwrap();
    server.engine.run(VICTIM, |world| world.open_server_peer(ROOM, VICTIM, false)).unwrap();
    for section in published.iter().filter(|section| section.receiving) {
        let (audio, mid) = (section.kind == "audio", section.mid.clone());
        let track = if audio { SOUND } else { PICTURE };
        let layers = vec![Layer { rid: String::new(), quality: 2, width: 640, height: 480 }];
        let options = TrackOptions {
            audio,
            layers: if audio { vec![] } else { layers },
            detect_speaker: audio,
            encrypted: false,
            priority: 0,
        };
        server.engine.run(ROOM, move |world| world.add_track(ROOM, track, ATTACKER, &mid, options)).unwrap();
        server.engine.run(VICTIM, move |world| world.subscribe(track, VICTIM, "s", &track.to_string(), "c")).unwrap();
    }
    let room_for = OfferOptions { audio: 2, video: 2, force: true, ..OfferOptions::default() };
    let sections = negotiate(server, victim, room_for, attacker);
    let events = Arc::clone(victim.engine.events());
    let sounds = AudioSinkOptions { sample_rate: 16_000, num_channels: 1, frame_samples: 160, capacity: 0 };
    let mut attached = 0;
    for section in sections.iter().filter(|section| section.receiving) {
        let mid = section.mid.clone();
        if section.kind == "audio" {
            let sink = Arc::new(AudioSink::new(41, sounds, Arc::clone(&events)).unwrap());
            victim.engine.run(VICTIM, move |world| world.attach_audio_receiver(VICTIM, &mid, sink)).unwrap();
        } else {
            let sink = Arc::new(VideoSink::new(42, None, 0, Arc::clone(&events)));
            victim.engine.run(VICTIM, move |world| world.attach_video_receiver(VICTIM, &mid, sink)).unwrap();
        }
        attached += 1;
    }
    assert!(attached >= 2, "{sections:?}");
    let connected = |event: &Event| matches!(event, Event::PeerState { state: "connected", .. }).then_some(());
    victim.next(connected, || attacker.drive());
}

#[test]
fn packets_that_no_encoder_makes_hurt_nobody() {
    let mut server = Told::new("server");
    server.engine.listen(LOCALHOST, 0, 0, vec![]).unwrap();
    let mut victim = Told::new("victim");
    let mut attacker = Attacker::new();
    let published = connect(&mut server, &mut attacker);
    subscribe(&mut server, &mut victim, &mut attacker, &published);
    let forwarded = server.engine.counters().packets_out.load(Ordering::Relaxed);
    let mut random = Random(99);
    let mut seqs = [100_u64, 100];
    for (key, codec) in [
        (SOUND, Codec::Opus),
        (SOUND, Codec::Red),
        (PICTURE, Codec::Vp8),
        (PICTURE, Codec::H264),
        (PICTURE, Codec::Vp9),
        (PICTURE, Codec::Av1),
        (PICTURE, Codec::Vp8),
    ] {
        for _ in 0..12 {
            for beginning in beginnings(codec) {
                let seq = &mut seqs[usize::from(key == PICTURE)];
                // Mostly the next one; sometimes a leap, in time as well.
                *seq += if random.below(40) == 0 { random.below(3000) as u64 } else { 1 };
                let length = if random.below(4) == 0 { 0 } else { random.below(900) };
                let payload = [beginning, random.bytes(length)].concat();
                let timestamp = if random.below(40) == 0 { random.next() as u32 } else { *seq as u32 * 960 };
                let marker = random.below(3) == 0;
                let dependency_descriptor = (random.below(2) == 0).then(|| random.bytes(20).into());
                let color_space = (random.below(4) == 0).then(|| random.bytes(4).into());
                let _ = attacker.peer.send(
                    Instant::now(),
                    OutgoingPacket {
                        key,
                        rid: None,
                        codec,
                        seq: *seq,
                        timestamp,
                        wallclock: Instant::now(),
                        marker,
                        payload: payload.into(),
                        nackable: false,
                        extensions: Extensions { dependency_descriptor, color_space, ..Extensions::default() },
                        vp8: None,
                    },
                );
                attacker.drive();
            }
            server.poll();
            victim.poll();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    // Both engines have taken everything, say so, and the connections are still there.
    assert!(server.engine.ask(|world| world.peer_statistics(VICTIM)).unwrap().is_some());
    assert!(victim.engine.ask(|world| world.peer_statistics(VICTIM)).unwrap().is_some());
    assert!(server.engine.counters().packets_out.load(Ordering::Relaxed) > forwarded + 100, "nothing was forwarded");
    server.poll();
    victim.poll();
}
