//! The single connection: only the client offers.

mod common;

use common::*;
use greenroom_peer::{Codec, Event, Extensions, MediaKind, Rid};

#[test]
fn a_client_connects_and_unused_sections_stay_inactive() {
    let mut net = Network::new();
    let negotiated = net.connect();
    assert_eq!(negotiated.sections.len(), 6);
    assert!(negotiated.sections.iter().all(|section| !section.receiving && section.sending.is_none()));
    assert_eq!(negotiated.answer.matches("a=inactive").count(), 6);
    assert!(!negotiated.answer.contains("a=ssrc:"), "nobody is announced");
    assert!(!negotiated.answer.contains("a=msid:"), "nobody is named");
    assert!(negotiated.answer.contains("a=ice-lite"));
    assert!(negotiated.answer.contains("a=setup:passive"));
    assert!(negotiated.answer.contains("a=ice-ufrag:serverufrag"));
    assert!(negotiated.offer.contains("a=ice-ufrag:clientufrag"));
    for label in ["_reliable", "_lossy", "_data_track"] {
        for side in [CLIENT, SERVER] {
            let open = |event: &Event| matches!(event, Event::DataOpen { label: open } if &**open == label);
            assert!(net.events[side].iter().any(open), "{label} opens on both sides");
        }
    }
}

#[test]
fn published_audio_arrives_with_its_cid() {
    let mut net = Network::new();
    net.connect();
    net.client().attach(1, local(MediaKind::Audio, "my-cid", &[Codec::Opus]));
    assert!(net.client().wants_offer());
    let negotiated = net.negotiate(force());
    let section = section_of(&negotiated.sections, 1).clone();
    let seen = negotiated.answerer.iter().find(|seen| seen.mid == section.mid).expect("the server sees the section");
    assert_eq!(seen.track_id.as_deref(), Some("my-cid"));
    assert!(seen.receiving);
    assert_eq!(seen.codecs, [Codec::Opus]);
    let answer = lines(&negotiated.answer, section.mid.as_str());
    assert!(answer.contains(&"a=recvonly"));
    assert!(answer.iter().any(|line| line.starts_with("a=fmtp:111 ") && line.contains("usedtx=1")), "{answer:?}");
    assert!(answer.contains(&"a=rtcp-fb:111 nack"), "{answer:?}");

    let mut source = Source::new(1, Codec::Opus);
    source.extensions = Extensions { audio_level: Some(37), voice_activity: Some(true), ..Extensions::default() };
    assert_eq!(net.stream(CLIENT, &mut source, 50), 50);
    let packets = net.packets(SERVER);
    assert_eq!(packets.len(), 50);
    assert!(packets.iter().all(|packet| packet.mid == section.mid && packet.codec == Codec::Opus));
    assert!(packets.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
    assert_eq!(packets[0].payload, payload(101));
    assert_eq!(packets[0].timestamp, 101 * 480);
    assert_eq!(packets[0].extensions.audio_level, Some(37));
    assert_eq!(packets[0].extensions.voice_activity, Some(true));
    assert!(packets[1].marker && !packets[0].marker);
}

#[test]
fn redundant_audio_is_negotiated_both_ways_and_handed_over_as_it_is() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Audio, "mic", &[Codec::Red, Codec::Opus]));
    net.server().attach(9, track(MediaKind::Audio, "PA_x", "TR_y"));
    let negotiated = net.connect();
    assert_eq!(section_of(&negotiated.sections, 1).codecs, [Codec::Red, Codec::Opus]);
    assert_eq!(section_of(&negotiated.answerer, 9).codecs, [Codec::Red, Codec::Opus]);
    for (from, key) in [(CLIENT, 1), (SERVER, 9)] {
        net.stream(from, &mut Source::new(key, Codec::Red), 5);
        net.stream(from, &mut Source { seq: 200, ..Source::new(key, Codec::Opus) }, 5);
        let packets = net.packets(1 - from);
        let codecs: Vec<Codec> = packets.iter().map(|packet| packet.codec).collect();
        assert_eq!(codecs, [[Codec::Red; 5], [Codec::Opus; 5]].concat());
        assert_eq!(packets[0].payload, payload(101));
    }
}

#[test]
fn a_track_without_a_section_is_reported_missing_until_the_client_adds_one() {
    let mut net = Network::new();
    net.negotiate(slots(1, 0));
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_a"));
    net.server().attach(2, track(MediaKind::Audio, "PA_b", "TR_b"));
    net.server().attach(3, track(MediaKind::Video, "PA_b", "TR_v"));
    let missing = net.server().missing();
    assert_eq!((missing.audio, missing.video), (1, 1), "one fits the section that is free already");
    assert!(net.server().wants_offer(), "but the client has to offer again");
    let negotiated = net.negotiate(force());
    assert_eq!((negotiated.missing.audio, negotiated.missing.video), (1, 1));
    assert_eq!(section_of(&negotiated.answerer, 1).mid, negotiated.answerer[0].mid, "the first attached goes first");
    let negotiated = net.negotiate(slots(1, 1));
    assert!(negotiated.missing.is_none());
    let named: Vec<String> = receiving(&negotiated.sections).into_iter().map(|(_, stream, _)| stream).collect();
    assert_eq!(named, ["PA_a|TR_a", "PA_b|TR_b", "PA_b|TR_v"]);
}

#[test]
fn subscribing_unsubscribing_and_subscribing_again_reuses_the_section() {
    let mut net = Network::new();
    net.connect();
    net.server().attach(1, track(MediaKind::Video, "PA_abc", "TR_vid"));
    let negotiated = net.negotiate(force());
    let section = section_of(&negotiated.answerer, 1).clone();
    let answer = lines(&negotiated.answer, section.mid.as_str());
    assert!(answer.contains(&"a=msid:PA_abc|TR_vid TR_vid"), "{answer:?}");
    assert!(answer.contains(&"a=sendonly"));
    assert!(answer.iter().any(|line| line.starts_with("a=ssrc:") && line.ends_with(" cname:PA_abc")));
    assert!(answer.iter().any(|line| line.starts_with("a=ssrc:") && line.ends_with(" msid:PA_abc|TR_vid TR_vid")));
    assert!(answer.iter().any(|line| line.starts_with("a=ssrc-group:FID ")));
    assert_eq!(receiving(&negotiated.sections), [(section.mid, "PA_abc|TR_vid".into(), "TR_vid".into())]);
    net.stream(SERVER, &mut Source::new(1, Codec::Vp8), 20);
    let packets = net.packets(CLIENT);
    assert_eq!(packets.len(), 20);
    let first_ssrc = packets[0].ssrc;
    assert!(packets.iter().all(|packet| packet.mid == section.mid && packet.codec == Codec::Vp8));

    net.server().detach(1);
    let negotiated = net.negotiate(force());
    assert!(receiving(&negotiated.sections).is_empty());
    assert!(lines(&negotiated.answer, section.mid.as_str()).contains(&"a=inactive"));

    net.server().attach(2, track(MediaKind::Video, "PA_abc", "TR_two"));
    let negotiated = net.negotiate(force());
    assert_eq!(receiving(&negotiated.sections).len(), 1);
    net.stream(SERVER, &mut Source::new(2, Codec::H264), 20);
    let packets = net.packets(CLIENT);
    assert_eq!(packets.len(), 20);
    assert_ne!(packets[0].ssrc, first_ssrc, "a new track is a new stream");
    assert_eq!(net.peers[CLIENT].sections().len(), 6, "no section was added");
}

#[test]
fn a_section_changes_hands_directly_when_no_other_is_free() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_a"));
    let negotiated = net.negotiate(slots(1, 0));
    net.run_ms(500);
    let mid = section_of(&negotiated.answerer, 1).mid;
    net.stream(SERVER, &mut Source::new(1, Codec::Opus), 5);
    assert_eq!(net.packets(CLIENT).len(), 5);
    net.server().detach(1);
    net.server().attach(2, track(MediaKind::Audio, "PA_b", "TR_b"));
    let negotiated = net.negotiate(force());
    assert_eq!(receiving(&negotiated.sections), [(mid, "PA_b|TR_b".into(), "TR_b".into())]);
    net.stream(SERVER, &mut Source::new(2, Codec::Opus), 5);
    assert_eq!(net.packets(CLIENT).len(), 5);
}

#[test]
fn publishing_again_reuses_the_clients_own_section() {
    let mut net = Network::new();
    net.connect();
    let mut count = 0;
    for round in 0..5 {
        let cid = format!("cid-{round}");
        net.client().attach(round, local(MediaKind::Video, &cid, &[Codec::Vp8]));
        let negotiated = net.negotiate(force());
        let named = receiving(&negotiated.answerer);
        assert_eq!(named.len(), 1);
        assert_eq!(named[0].2, cid);
        count = negotiated.sections.len();
        net.stream(CLIENT, &mut Source::new(round, Codec::Vp8), 10);
        let packets = net.packets(SERVER);
        assert_eq!(packets.len(), 10, "round {round}");
        assert!(packets.iter().all(|packet| packet.mid == named[0].0));
        net.client().detach(round);
        let negotiated = net.negotiate(force());
        assert!(receiving(&negotiated.answerer).is_empty());
    }
    assert_eq!(count, 7, "six spare sections and one of the client's own");
}

#[test]
fn simulcast_arrives_by_layers() {
    let mut net = Network::new();
    net.connect();
    let mut camera = local(MediaKind::Video, "camera", &[Codec::Vp8]);
    camera.rids = ["q", "h", "f"].map(Rid::from).to_vec();
    net.client().attach(1, camera);
    let negotiated = net.negotiate(force());
    let section = section_of(&negotiated.sections, 1).clone();
    let offer = lines(&negotiated.offer, section.mid.as_str());
    assert!(offer.contains(&"a=simulcast:send q;h;f"), "{offer:?}");
    assert!(!offer.iter().any(|line| line.starts_with("a=ssrc")), "layers are told apart by rid: {offer:?}");
    assert!(offer.contains(&"a=msid:- camera"));
    let answer = lines(&negotiated.answer, section.mid.as_str());
    for line in ["a=rid:q recv", "a=rid:h recv", "a=rid:f recv", "a=simulcast:recv q;h;f"] {
        assert!(answer.contains(&line), "{line} in {answer:?}");
    }
    let seen = negotiated.answerer.iter().find(|seen| seen.mid == section.mid).expect("seen by the server");
    assert_eq!(seen.rids, ["q", "h", "f"].map(Rid::from));

    let mut layers: Vec<Source> =
        ["q", "h", "f"].iter().map(|rid| Source { rid: Some(Rid::from(*rid)), ..Source::new(1, Codec::Vp8) }).collect();
    for _ in 0..30 {
        for layer in &mut layers {
            let packet = layer.next(net.now);
            let now = net.now;
            assert!(net.client().send(now, packet).expect("the track is attached"));
        }
        net.run_ms(33);
    }
    let packets = net.packets(SERVER);
    for layer in &layers {
        let own: Vec<_> = packets.iter().filter(|packet| packet.rid == layer.rid).collect();
        assert_eq!(own.len(), 30, "{:?}", layer.rid);
        assert!(own.iter().all(|packet| packet.mid == section.mid && packet.ssrc == own[0].ssrc));
    }
    assert!(net.server().request_keyframe(section.mid, Some(Rid::from("h"))));
    net.run_ms(50);
    let wanted =
        |event: &Event| matches!(event, Event::KeyframeRequest { key: 1, rid } if *rid == Some(Rid::from("h")));
    assert!(net.take(CLIENT, wanted), "the request names the layer");
    let negotiated = net.negotiate(force());
    assert!(lines(&negotiated.answer, section.mid.as_str()).contains(&"a=simulcast:recv q;h;f"), "still there");
}

#[test]
fn keyframe_requests_travel_both_ways() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Video, "camera", &[Codec::H264]));
    net.server().attach(5, track(MediaKind::Video, "PA_x", "TR_x"));
    let negotiated = net.connect();
    let up = section_of(&negotiated.sections, 1).mid;
    let down = section_of(&negotiated.answerer, 5).mid;
    net.stream(CLIENT, &mut Source::new(1, Codec::H264), 3);
    net.stream(SERVER, &mut Source::new(5, Codec::Vp8), 3);
    assert!(net.server().request_keyframe(up, None));
    assert!(net.client().request_keyframe(down, None));
    net.run_ms(50);
    assert!(net.take(CLIENT, |event| matches!(event, Event::KeyframeRequest { key: 1, rid: None })));
    assert!(net.take(SERVER, |event| matches!(event, Event::KeyframeRequest { key: 5, rid: None })));
}

#[test]
fn a_track_is_given_only_to_a_section_that_takes_its_codec() {
    for av1_offered in [true, false] {
        let mut net = Network::new();
        let mut screen = track(MediaKind::Video, "PA_a", "TR_a");
        screen.codecs = vec![Codec::Av1];
        net.server().attach(1, screen);
        let now = net.now;
        let offer = net.client().create_offer(now, slots(0, 1)).unwrap().expect("an offer").sdp;
        assert!(offer.contains("a=rtpmap:45 AV1/90000"));
        let av1 = ["a=rtpmap:45 ", "a=rtcp-fb:45 ", "a=rtpmap:46 ", "a=fmtp:46 "];
        let kept = |line: &&str| av1_offered || !av1.iter().any(|start| line.starts_with(start));
        let mut offer: String = offer.split_inclusive('\n').filter(kept).collect();
        if !av1_offered {
            offer = offer.replace(" 45 46", "");
        }
        let answer = net.server().accept_offer(now, &offer).expect("the offer is good");
        assert_eq!(answer.missing.video, usize::from(!av1_offered));
    }
}
