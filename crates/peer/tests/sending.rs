//! What leaves the peer that is written here and not by the library.

mod common;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::*;
use greenroom_peer::{Codec, Event, MediaKind, Output, Transmit};

fn is_rtcp(datagram: &[u8]) -> bool {
    (192..224).contains(&datagram[1])
}

fn word(datagram: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap())
}

/// Every index that was used, by its SSRC.
#[derive(Default)]
struct Indices {
    packets: HashSet<(u32, u64)>,
    highest: HashMap<u32, u64>,
    reports: HashSet<(u32, u32)>,
}

impl Indices {
    fn note(&mut self, transmit: &Transmit) {
        let data = &transmit.data;
        match data[0] {
            128..192 if is_rtcp(data) => {
                let index = word(data, data.len() - 4);
                assert!(self.reports.insert((word(data, 4), index)), "a report's index {index:x} twice");
            }
            128..192 => {
                let (ssrc, seq) = (word(data, 8), u64::from(u16::from_be_bytes([data[2], data[3]])));
                let highest = self.highest.entry(ssrc).or_insert(seq);
                // The nearest number that ends with these 16 bits.
                let round = highest.wrapping_sub(seq).wrapping_add(0x8000) & !0xffff;
                let index = seq.wrapping_add(round);
                *highest = index.max(*highest);
                assert!(self.packets.insert((ssrc, index)), "index {index} of {ssrc} twice");
            }
            _ => {}
        }
    }
}

#[test]
fn no_index_is_used_twice_in_200_000_packets_with_repeats_reordering_and_wraps() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Video, "PA_a", "TR_a"));
    net.server().attach(2, track(MediaKind::Audio, "PA_a", "TR_b"));
    net.connect();
    let mut indices = Indices::default();
    let mut sources = [Source::new(1, Codec::Vp8), Source::new(2, Codec::Opus)];
    sources.iter_mut().for_each(|source| source.seq = 60_000);
    let mut refused = 0;
    for step in 0..100_000_u64 {
        net.now += Duration::from_micros(200);
        let now = net.now;
        for source in &mut sources {
            let packet = source.next(now);
            let mut late = packet.clone();
            let taken = net.server().send(now, packet);
            assert_eq!(taken, Ok(true));
            if step % 7 == 0 {
                late.seq -= step % 50;
                late.marker = !late.marker;
                refused += u64::from(net.server().send(now, late) == Ok(false));
            }
        }
        let server = net.server();
        std::iter::from_fn(|| server.next_sent()).for_each(|transmit| indices.note(&transmit));
        if step % 500 == 0 {
            server.handle_timeout(now);
            while let output @ (Output::Transmit(_) | Output::Event(_)) = server.poll(now) {
                if let Output::Transmit(transmit) = output {
                    indices.note(&transmit);
                }
            }
        }
    }
    assert_eq!(indices.packets.len(), 200_000);
    assert_eq!(refused, 2 * 100_000_u64.div_ceil(7), "what was sent before is not sent again");
    assert!(indices.highest.values().all(|highest| *highest >= 160_000), "{:?}", indices.highest);
    assert!(indices.reports.len() > 10, "{} reports", indices.reports.len());
}

#[test]
fn packets_sent_before_the_connection_is_up_arrive() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Video, "PA_a", "TR_a"));
    let now = net.now;
    let offer = net.client().create_offer(now, slots(1, 1)).unwrap().unwrap();
    let answer = net.server().accept_offer(now, &offer.sdp).unwrap();
    let mut source = Source::new(1, Codec::Vp8);
    for _ in 0..20 {
        let packet = source.next(now);
        assert_eq!(net.server().send(now, packet), Ok(true));
    }
    assert!(net.server().next_sent().is_none(), "there are no keys yet");
    net.client().accept_answer(now, &answer.sdp).unwrap();
    net.run_ms(1000);
    // The first comes with the end of the handshake, which the client has not looked at yet.
    let arrived = net.packets(CLIENT).len();
    assert!(arrived >= 19, "{arrived}");
}

#[test]
fn repairs_stay_within_their_share_however_much_is_asked_for() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Video, "PA_a", "TR_a"));
    net.connect();
    // The client misses half of everything and asks for it again and again.
    net.loss[SERVER] = 50;
    let mut source = Source::new(1, Codec::Vp8);
    net.stream(SERVER, &mut source, 1500);
    let statistics = net.server().statistics();
    let own = &statistics.outgoing[0];
    let repaired = own.packets - 1500;
    assert!(own.nacks > 100, "{own:?}");
    assert!(repaired > 100 && repaired < 1500 / 5 + 100, "{repaired} repairs");
}

#[test]
fn the_round_trip_is_told_by_the_reports() {
    let mut net = Network::new();
    net.delay = Duration::from_millis(40);
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_a"));
    net.connect();
    let mut source = Source::new(1, Codec::Opus);
    net.stream(SERVER, &mut source, 500);
    let statistics = net.server().statistics();
    let rtt = statistics.outgoing[0].rtt.expect("a report has come back");
    assert!((75..95).contains(&rtt.as_millis()), "{rtt:?}");
}

#[test]
fn a_request_for_a_key_frame_names_the_track_and_layer() {
    let mut net = Network::new();
    net.server().attach(7, track(MediaKind::Video, "PA_a", "TR_a"));
    net.connect();
    let mut source = Source::new(7, Codec::Vp8);
    net.stream(SERVER, &mut source, 10);
    let mid = net.packets(CLIENT)[0].mid;
    assert!(net.client().request_keyframe(mid, None));
    net.run_ms(50);
    let wanted = |event: &Event| matches!(event, Event::KeyframeRequest { key: 7, rid: None });
    assert!(net.take(SERVER, wanted));
    assert!(!net.take(SERVER, wanted), "once");
    assert_eq!(net.server().statistics().outgoing[0].keyframe_requests, 1);
}
