//! The dual mode's second connection: the server offers, the client answers.

mod common;

use common::*;
use greenroom_peer::{Codec, Event, MediaKind, OfferOptions, Peer, Proto, Role};

/// A pair in which the server has made the first offer, which holds nothing but the data channels.
fn connected() -> Network {
    let mut net = Network::new();
    net.exchange(SERVER, OfferOptions::default()).expect("the data channels are offered");
    net.run_ms(1000);
    for side in [CLIENT, SERVER] {
        assert!(net.events[side].iter().any(|event| matches!(event, Event::Connected)));
    }
    net
}

#[test]
fn the_server_opens_the_data_channels() {
    let mut net = connected();
    for label in ["_reliable", "_lossy", "_data_track"] {
        let open = |event: &Event| matches!(event, Event::DataOpen { label: open } if &**open == label);
        assert!(net.events[CLIENT].iter().any(open), "{label}");
    }
    let now = net.now;
    assert!(!net.server().wants_offer());
    assert_eq!(net.server().create_offer(now, OfferOptions::default()), Ok(None), "nothing to say");
}

#[test]
fn tracks_are_offered_with_their_names_and_sources() {
    let mut net = connected();
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_mic"));
    net.server().attach(2, track(MediaKind::Video, "PA_a", "TR_cam"));
    assert!(net.server().wants_offer());
    let negotiated = net.exchange(SERVER, OfferOptions::default()).expect("two tracks are new");
    assert!(!net.server().wants_offer());
    let video = section_of(&negotiated.sections, 2).mid;
    let offer = lines(&negotiated.offer, video.as_str());
    assert!(offer.contains(&"a=msid:PA_a|TR_cam TR_cam"), "{offer:?}");
    assert!(offer.contains(&"a=sendonly"));
    assert!(offer.iter().any(|line| line.starts_with("a=ssrc:") && line.ends_with(" cname:PA_a")));
    assert!(offer.iter().any(|line| line.starts_with("a=ssrc-group:FID ")));
    let seen = receiving(&negotiated.answerer);
    assert_eq!(seen.len(), 2);
    assert!(seen.contains(&(video, "PA_a|TR_cam".into(), "TR_cam".into())));
    assert!(lines(&negotiated.answer, video.as_str()).contains(&"a=recvonly"));
    for (key, codec) in [(1, Codec::Opus), (2, Codec::Vp8)] {
        net.stream(SERVER, &mut Source::new(key, codec), 10);
        let packets = net.packets(CLIENT);
        assert_eq!(packets.len(), 10);
        assert_eq!(packets[0].mid, section_of(&negotiated.sections, key).mid);
    }
}

#[test]
fn a_section_is_reused_by_the_next_track_of_its_kind() {
    let mut net = connected();
    let mut ssrcs = Vec::new();
    for round in 0..4 {
        let sid = format!("TR_{round}");
        net.server().attach(round, track(MediaKind::Video, "PA_a", &sid));
        let negotiated = net.exchange(SERVER, OfferOptions::default()).expect("a track is new");
        let seen = receiving(&negotiated.answerer);
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].2, sid);
        net.stream(SERVER, &mut Source::new(round, Codec::Vp8), 10);
        let packets = net.packets(CLIENT);
        assert_eq!(packets.len(), 10, "round {round}");
        ssrcs.push(packets[0].ssrc);
        net.server().detach(round);
        let negotiated = net.exchange(SERVER, OfferOptions::default()).expect("a track is gone");
        assert!(receiving(&negotiated.answerer).is_empty());
        assert_eq!(negotiated.sections.len(), 1, "one section is enough");
    }
    ssrcs.sort_unstable();
    ssrcs.dedup();
    assert_eq!(ssrcs.len(), 4, "each track has a stream of its own");
}

#[test]
fn a_track_that_comes_back_gets_another_section_than_before() {
    let mut net = connected();
    let mut mids = Vec::new();
    for key in 0..2 {
        net.server().attach(key, track(MediaKind::Audio, "PA_a", "TR_same"));
        let negotiated = net.exchange(SERVER, OfferOptions::default()).expect("the track is new again");
        mids.push(section_of(&negotiated.sections, key).mid);
        net.stream(SERVER, &mut Source::new(key, Codec::Opus), 5);
        assert_eq!(net.packets(CLIENT).len(), 5);
        net.server().detach(key);
        net.exchange(SERVER, OfferOptions::default()).expect("the track is gone");
    }
    assert_ne!(mids[0], mids[1]);
    net.server().attach(9, track(MediaKind::Audio, "PA_b", "TR_other"));
    let negotiated = net.exchange(SERVER, OfferOptions::default()).expect("another track");
    assert_eq!(section_of(&negotiated.sections, 9).mid, mids[0], "another track may use it");
    assert_eq!(negotiated.sections.len(), 2);
}

#[test]
fn every_description_has_a_higher_version() {
    let mut net = Network::new();
    let version = |sdp: &str| -> (String, u64) {
        let origin = sdp.lines().find_map(|line| line.strip_prefix("o=- ")).expect("an origin");
        let mut words = origin.split(' ');
        (
            words.next().expect("a session").to_owned(),
            words.next().and_then(|word| word.parse().ok()).expect("a version"),
        )
    };
    let first = net.negotiate(slots(1, 1));
    let second = net.negotiate(force());
    for (earlier, later) in [(&first.offer, &second.offer), (&first.answer, &second.answer)] {
        let (earlier, later) = (version(earlier), version(later));
        assert_eq!(earlier.0, later.0, "the same session");
        assert!(earlier.1 < later.1);
    }
}

#[test]
fn one_offer_is_outstanding_at_a_time() {
    let mut net = connected();
    let now = net.now;
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_1"));
    let first = net.server().create_offer(now, OfferOptions::default()).unwrap().expect("an offer");
    net.server().attach(2, track(MediaKind::Audio, "PA_a", "TR_2"));
    assert_eq!(net.server().create_offer(now, OfferOptions::default()), Ok(None));
    assert!(!net.server().wants_offer(), "one is outstanding");
    let answer = net.client().accept_offer(now, &first.sdp).unwrap();
    net.server().accept_answer(now, &answer.sdp).unwrap();
    assert!(net.server().wants_offer(), "the second track waits");
    let negotiated = net.exchange(SERVER, OfferOptions::default()).expect("the second track");
    assert_eq!(receiving(&negotiated.answerer).len(), 2);
    assert!(!net.server().wants_offer());
    assert!(net.server().accept_answer(now, &answer.sdp).is_err(), "no offer is outstanding");
}

#[test]
fn a_discarded_offer_is_made_again() {
    let mut net = connected();
    let now = net.now;
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_1"));
    net.server().create_offer(now, OfferOptions::default()).unwrap().expect("an offer");
    net.server().discard_offer();
    assert!(net.server().wants_offer());
    let negotiated = net.exchange(SERVER, OfferOptions::default()).expect("the same track again");
    assert_eq!(receiving(&negotiated.answerer).len(), 1);
    net.stream(SERVER, &mut Source::new(1, Codec::Opus), 5);
    assert_eq!(net.packets(CLIENT).len(), 5);
}

#[test]
fn a_discarded_first_offer_still_opens_the_channels() {
    let mut net = Network::new();
    let now = net.now;
    net.server().create_offer(now, OfferOptions::default()).unwrap().expect("an offer");
    net.server().discard_offer();
    net.exchange(SERVER, OfferOptions::default()).expect("the channels again");
    net.run_ms(1000);
    let opened = net.events[CLIENT].iter().filter(|event| matches!(event, Event::DataOpen { .. })).count();
    assert_eq!(opened, 3);
}

#[test]
fn detaching_while_the_offer_is_out_leaves_no_section_behind() {
    let mut net = connected();
    let now = net.now;
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_1"));
    let offer = net.server().create_offer(now, OfferOptions::default()).unwrap().expect("an offer");
    net.server().detach(1);
    let answer = net.client().accept_offer(now, &offer.sdp).unwrap();
    let sections = net.server().accept_answer(now, &answer.sdp).unwrap();
    assert_eq!(sections[0].sending, None);
    assert!(net.server().wants_offer());
    let negotiated = net.exchange(SERVER, OfferOptions::default()).expect("the section is switched off");
    assert!(receiving(&negotiated.answerer).is_empty());
    net.server().attach(2, track(MediaKind::Audio, "PA_a", "TR_2"));
    let negotiated = net.exchange(SERVER, OfferOptions::default()).expect("and used again");
    assert_eq!(negotiated.sections.len(), 1);
    net.stream(SERVER, &mut Source::new(2, Codec::Opus), 5);
    assert_eq!(net.packets(CLIENT).len(), 5);
}

#[test]
fn the_publisher_side_answers_a_client_that_only_sends() {
    let mut net = Network::with(config(Role::Client, Proto::Udp), config(Role::Server, Proto::Udp));
    net.negotiate(OfferOptions::default());
    net.run_ms(1000);
    net.client().attach(1, local(MediaKind::Audio, "mic", &[]));
    let negotiated = net.negotiate(OfferOptions::default());
    assert_eq!(negotiated.sections.len(), 1);
    assert!(negotiated.missing.is_none());
    net.stream(CLIENT, &mut Source::new(1, Codec::Red), 10);
    assert_eq!(net.packets(SERVER).len(), 10);
    let peer: &Peer = net.server();
    assert_eq!(peer.sections()[0].track_id.as_deref(), Some("mic"));
}
