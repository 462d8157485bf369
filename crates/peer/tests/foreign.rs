//! Other sides that behave unlike our own: those that take the active part in DTLS, that leave the mid out of packets,
//! that recycle sections, that offer at the same time.

mod common;

use common::*;
use greenroom_peer::{Codec, Event, MediaKind, OfferOptions};

/// The server takes the active part in DTLS, and neither tells nor heeds mids in packets: what it sends is told apart by the
/// SSRCs in its answer alone.
#[test]
fn a_server_that_is_active_and_sends_no_mid() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    net.server().attach(2, track(MediaKind::Audio, "PA_a", "TR_a"));
    net.server().attach(3, track(MediaKind::Video, "PA_a", "TR_v"));
    let now = net.now;
    let offer = net.client().create_offer(now, slots(2, 2)).unwrap().expect("an offer").sdp;
    let without_mid = |sdp: &str| -> String {
        sdp.split_inclusive('\n').filter(|line| !line.contains("sdes:mid") || !line.starts_with("a=extmap")).collect()
    };
    let offer = without_mid(&offer).replace("a=setup:actpass", "a=setup:passive");
    let answer = net.server().accept_offer(now, &offer).unwrap();
    assert!(answer.sdp.contains("a=setup:active") && !answer.sdp.contains("sdes:mid"));
    let sections = net.client().accept_answer(now, &answer.sdp).unwrap();
    net.run_ms(1000);
    assert!(net.take(CLIENT, |event| matches!(event, Event::Connected)));
    for side in [CLIENT, SERVER] {
        let opened = net.events[side].iter().filter(|event| matches!(event, Event::DataOpen { .. })).count();
        assert_eq!(opened, 3);
    }
    for (key, codec) in [(2, Codec::Opus), (3, Codec::Vp8)] {
        net.stream(SERVER, &mut Source::new(key, codec), 10);
        let packets = net.packets(CLIENT);
        assert_eq!(packets.len(), 10, "{codec:?}");
        let mid = section_of(&answer.sections, key).mid;
        assert!(packets.iter().all(|packet| packet.mid == mid));
        assert!(sections.iter().any(|section| section.mid == mid && section.receiving));
    }
    net.stream(CLIENT, &mut Source::new(1, Codec::Opus), 10);
    assert_eq!(net.packets(SERVER).len(), 10);
}

/// A browser that stops a transceiver gives its section up, and later uses the same place for another.
#[test]
fn a_recycled_section_gets_a_track_again() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_a"));
    let now = net.now;
    let offer = net.client().create_offer(now, slots(1, 1)).unwrap().expect("an offer").sdp;
    let first = net.server().accept_offer(now, &offer).unwrap();
    let audio = section_of(&first.sections, 1).mid.to_string();
    let edit = |from: &str, to: &str, mid: &str| -> String {
        let mut parts: Vec<String> = offer.split_inclusive("m=").map(str::to_owned).collect();
        for part in parts.iter_mut().filter(|part| part.contains(&format!("a=mid:{audio}\r\n"))) {
            *part = part.replace(from, to).replace(&format!("a=mid:{audio}"), &format!("a=mid:{mid}"));
        }
        parts.concat()
    };
    let stopped = edit("audio 9 ", "audio 0 ", &audio).replace(&format!("BUNDLE {audio} "), "BUNDLE ");
    let stopped = stopped.replacen("a=recvonly", "a=inactive", 1);
    let second = net.server().accept_offer(now, &stopped).expect("a stopped section is fine");
    assert!(second.sections.iter().all(|section| section.sending.is_none()));
    assert!(second.sections[0].stopped);
    assert_eq!(second.missing.audio, 1, "the track lost its section");
    let recycled = edit("", "", "new").replace(&format!("BUNDLE {audio} "), "BUNDLE new ");
    let third = net.server().accept_offer(now, &recycled).expect("a recycled section is fine");
    assert_eq!(section_of(&third.sections, 1).mid, "new");
    assert!(lines(&third.sdp, "new").contains(&"a=msid:PA_a|TR_a TR_a"));
    assert!(third.missing.is_none());
}

#[test]
fn offers_that_cross_are_settled_in_favour_of_the_other_side() {
    let mut net = Network::new();
    net.connect();
    let now = net.now;
    net.client().attach(1, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    net.server().attach(2, track(MediaKind::Audio, "PA_a", "TR_a"));
    let ours = net.server().create_offer(now, OfferOptions::default()).unwrap();
    assert!(ours.is_some());
    let negotiated = net.negotiate(OfferOptions::default());
    assert_eq!(receiving(&negotiated.sections).len(), 1, "the server's track went into a spare section");
    net.stream(SERVER, &mut Source::new(2, Codec::Opus), 5);
    assert_eq!(net.packets(CLIENT).len(), 5);
    net.stream(CLIENT, &mut Source::new(1, Codec::Opus), 5);
    assert_eq!(net.packets(SERVER).len(), 5);
}

#[test]
fn many_sections_are_negotiated_in_good_time() {
    let mut net = Network::new();
    net.negotiate(slots(50, 50));
    for key in 0..100 {
        let kind = if key % 2 == 0 { MediaKind::Audio } else { MediaKind::Video };
        net.server().attach(key, track(kind, "PA_a", &format!("TR_{key}")));
    }
    assert!(net.server().missing().is_none());
    let negotiated = net.negotiate(force());
    assert!(negotiated.missing.is_none());
    assert_eq!(receiving(&negotiated.sections).len(), 100);
    for key in [0, 1, 98, 99] {
        let codec = if key % 2 == 0 { Codec::Opus } else { Codec::Vp8 };
        net.stream(SERVER, &mut Source::new(key, codec), 3);
        assert_eq!(net.packets(CLIENT).len(), 3);
    }
}
