//! Input from outside that is wrong in every way: it must be refused or dropped, and must never panic.

mod common;

use std::net::SocketAddr;

use common::*;
use greenroom_peer::{Codec, MediaKind, OfferOptions, Peer, PeerError, Proto, Rid, Role, stun_ufrag};

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
}

fn addresses() -> (SocketAddr, SocketAddr) {
    (SocketAddr::from(([127, 0, 0, 1], 1000)), SocketAddr::from(([127, 0, 0, 1], 2000)))
}

#[test]
fn datagrams_of_all_lengths_and_kinds_are_dropped_and_media_goes_on() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Video, "camera", &[Codec::Vp8]));
    net.connect();
    let (client, server) = addresses();
    let mut random = Random(42);
    let now = net.now;
    for length in 0..2100 {
        for first in [0x00, 0x01, 0x02, 0x14, 0x16, 0x17, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0x90, 0xb0, 0xbf, 0xc0, 0xff] {
            let mut data: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
            data.iter_mut().take(1).for_each(|byte| *byte = first);
            assert_eq!(net.server().handle_datagram(now, Proto::Udp, client, server, &data), Ok(()));
            let _ = stun_ufrag(&data);
        }
    }
    net.run_ms(500);
    assert!(!net.server().is_closed());
    net.packets(SERVER);
    net.stream(CLIENT, &mut Source::new(1, Codec::Vp8), 20);
    assert_eq!(net.packets(SERVER).len(), 20);
}

#[test]
fn changed_datagrams_of_the_real_connection_do_not_panic() {
    // Every datagram of a handshake and some media is also delivered truncated and with flipped bits, before the real one.
    let mut random = Random(7);
    let now = std::time::Instant::now();
    let mut peers = [Role::Client, Role::Server].map(|role| Peer::new(config(role, Proto::Udp), now).unwrap());
    peers[CLIENT].attach(1, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    let offer = peers[CLIENT].create_offer(now, slots(1, 1)).unwrap().unwrap();
    let answer = peers[SERVER].accept_offer(now, &offer.sdp).unwrap();
    peers[CLIENT].accept_answer(now, &answer.sdp).unwrap();
    let mut now = now;
    let mut source = Source::new(1, Codec::Opus);
    for _ in 0..300 {
        now += std::time::Duration::from_millis(10);
        let _ = peers[CLIENT].send(now, source.next(now));
        for side in [CLIENT, SERVER] {
            peers[side].handle_timeout(now);
            loop {
                let transmit = match peers[side].poll(now) {
                    greenroom_peer::Output::Transmit(transmit) => transmit,
                    greenroom_peer::Output::Event(_) => continue,
                    greenroom_peer::Output::Timeout(_) => break,
                };
                let other = &mut peers[1 - side];
                // DTLS is not authenticated before it is complete, and a forged handshake may well end it.
                let handshake = (20..64).contains(&transmit.data[0]);
                let mut deliver = |data: &[u8]| {
                    let _ = other.handle_datagram(now, transmit.proto, transmit.source, transmit.destination, data);
                };
                if !handshake {
                    let end = random.below(transmit.data.len());
                    deliver(&transmit.data[..end]);
                    let mut flipped = transmit.data.clone();
                    let place = random.below(flipped.len());
                    flipped[place] ^= 1 << random.below(8);
                    deliver(&flipped);
                }
                deliver(&transmit.data);
            }
        }
    }
    assert!(!peers[SERVER].is_closed() && !peers[CLIENT].is_closed());
}

#[test]
fn forged_handshakes_do_not_panic() {
    let mut random = Random(99);
    let (client, server) = addresses();
    for _ in 0..20 {
        let mut net = Network::new();
        net.negotiate(slots(1, 0));
        for _ in 0..50 {
            let length = random.below(400);
            let mut data: Vec<u8> = (0..length + 13).map(|_| random.next() as u8).collect();
            let body = (length as u16).to_be_bytes();
            data[..13].copy_from_slice(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, random.next() as u8, body[0], body[1]]);
            let now = net.now;
            let _ = net.server().handle_datagram(now, Proto::Udp, client, server, &data);
            net.run_ms(1);
        }
    }
}

#[test]
fn broken_descriptions_are_refused() {
    let mut net = Network::new();
    let now = net.now;
    for text in [
        "",
        "\r\n",
        "v=0",
        "v=0\r\n",
        "m=",
        "m=audio",
        "a=mid:0",
        "nonsense\r\nm=audio 9 x\r\na=mid:0\r\n",
        "\0\u{1F600}",
    ] {
        let outcome = net.server().accept_offer(now, text);
        assert!(matches!(outcome, Err(PeerError::InvalidSdp(_))), "{text:?}: {outcome:?}");
    }
    let long = format!("v=0\r\n{}", "a=x\r\n".repeat(2_000_000));
    assert!(matches!(net.server().accept_offer(now, &long), Err(PeerError::InvalidSdp(_))));
    let many = format!("v=0\r\n{}", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n".repeat(3000));
    assert!(matches!(net.server().accept_offer(now, &many), Err(PeerError::InvalidSdp(_))));
    assert!(matches!(net.client().accept_answer(now, "nonsense"), Err(PeerError::NoOffer)));
    net.connect();
}

fn rich_offer(net: &mut Network) -> String {
    let mut camera = local(MediaKind::Video, "camera", &[]);
    camera.rids = ["q", "h", "f"].map(Rid::from).to_vec();
    net.client().attach(1, camera);
    net.client().attach(2, local(MediaKind::Audio, "mic", &[]));
    let now = net.now;
    net.client().create_offer(now, slots(1, 1)).unwrap().expect("an offer").sdp
}

/// Lines dropped, doubled, swapped, cut and scrambled. The last resort against a panic in the library closes the peer; what
/// matters is that it never gets out.
#[test]
fn changed_descriptions_do_not_panic() {
    let mut random = Random(3);
    let mut net = Network::new();
    let offer = rich_offer(&mut net);
    let lines: Vec<&str> = offer.lines().collect();
    let mut refused = 0;
    for round in 0..400 {
        let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        for _ in 0..=random.below(3) {
            let place = random.below(changed.len());
            match random.below(6) {
                0 => drop(changed.remove(place)),
                1 => changed.insert(place, changed[random.below(changed.len())].clone()),
                2 => {
                    let other = random.below(changed.len());
                    changed.swap(place, other);
                }
                3 => {
                    let end = random.below(changed[place].len());
                    changed[place].truncate(end);
                }
                4 => {
                    let digits = random.next().to_string();
                    changed[place] =
                        changed[place].replace(|c: char| c.is_ascii_digit(), &digits[..1 + random.below(9)]);
                }
                _ => changed[place].push_str(" \u{0}\u{FFFD};x=1"),
            }
        }
        let mut server = Peer::new(config(Role::Server, Proto::Udp), net.now).unwrap();
        server.attach(1, track(MediaKind::Audio, "PA_a", "TR_a"));
        let text = changed.join("\r\n") + "\r\n";
        match server.accept_offer(net.now, &text) {
            Ok(answer) => assert!(answer.sdp.starts_with("v=0"), "round {round}"),
            Err(_) => refused += 1,
        }
        // Whatever was taken or refused, the good offer is answered or the peer is closed, and nothing panics.
        let _ = server.accept_offer(net.now, &offer);
        let _ = server.poll(net.now);
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn changed_answers_do_not_panic() {
    let mut random = Random(5);
    for _ in 0..300 {
        let mut net = Network::new();
        let offer = rich_offer(&mut net);
        let now = net.now;
        let answer = net.server().accept_offer(now, &offer).unwrap().sdp;
        let mut lines: Vec<String> = answer.lines().map(str::to_owned).collect();
        let place = random.below(lines.len());
        match random.below(3) {
            0 => drop(lines.remove(place)),
            1 => lines.insert(place, lines[random.below(lines.len())].clone()),
            _ => {
                let end = random.below(lines[place].len());
                lines[place].truncate(end);
            }
        }
        let _ = net.client().accept_answer(now, &(lines.join("\r\n") + "\r\n"));
        let _ = net.client().create_offer(now, OfferOptions { force: true, ..OfferOptions::default() });
        let _ = net.client().poll(now);
    }
}

#[test]
fn a_refused_offer_leaves_the_connection_as_it_was() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_a"));
    net.connect();
    let now = net.now;
    assert!(net.server().accept_offer(now, "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:zz\r\n").is_err());
    net.stream(SERVER, &mut Source::new(1, Codec::Opus), 10);
    assert_eq!(net.packets(CLIENT).len(), 10);
}

#[test]
fn ufrags_are_read_only_from_binding_requests() {
    let request = |name: &[u8]| {
        let mut datagram = vec![0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42];
        datagram.extend([7; 12]);
        datagram.extend([0x80, 0x22, 0x00, 0x03, b'a', b'b', b'c', 0]);
        datagram.extend([0x00, 0x06]);
        datagram.extend((name.len() as u16).to_be_bytes());
        datagram.extend(name);
        datagram
    };
    let good = request(b"ours:theirs");
    assert_eq!(stun_ufrag(&good), Some("ours"));
    assert_eq!(stun_ufrag(&request(b"nocolon")), None);
    assert_eq!(stun_ufrag(&request(&[0xff, b':'])), None);
    for end in 0..good.len() {
        assert_eq!(stun_ufrag(&good[..end]), None, "cut at {end}");
    }
    let mut response = good.clone();
    response[0] = 0x01;
    assert_eq!(stun_ufrag(&response), None);
    let mut no_cookie = good;
    no_cookie[4] = 0;
    assert_eq!(stun_ufrag(&no_cookie), None);
}
