//! ICE, TCP, loss, closing and time.

mod common;

use std::time::Duration;

use common::*;
use greenroom_peer::{
    CloseReason, Codec, Event, MediaKind, NO_LIMIT, OfferOptions, Output, PeerError, Proto, Role, stun_ufrag,
};

#[test]
fn the_first_datagram_names_the_server_by_its_ufrag() {
    let mut net = Network::new();
    let now = net.now;
    let offer = net.client().create_offer(now, slots(1, 0)).unwrap().expect("an offer");
    let answer = net.server().accept_offer(now, &offer.sdp).unwrap();
    net.client().accept_answer(now, &answer.sdp).unwrap();
    let mut later = now;
    let first = loop {
        match net.client().poll(later) {
            Output::Transmit(transmit) => break transmit,
            Output::Timeout(at) => {
                later = at;
                net.client().handle_timeout(at);
            }
            Output::Event(_) => {}
        }
    };
    assert_eq!(stun_ufrag(&first.data), Some("serverufrag"));
    assert_eq!(net.server().local_ufrag(), "serverufrag");
}

#[test]
fn it_works_over_tcp() {
    let mut net = Network::with(config(Role::Client, Proto::Tcp), config(Role::Server, Proto::Tcp));
    net.client().attach(1, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    let negotiated = net.connect();
    assert!(negotiated.answer.contains(" tcp ") && negotiated.answer.contains("tcptype passive"));
    net.stream(CLIENT, &mut Source::new(1, Codec::Opus), 20);
    assert_eq!(net.packets(SERVER).len(), 20);
    net.run_ms(1500);
    let (proto, ..) = net.client().statistics().route.expect("there is a route");
    assert_eq!(proto, Proto::Tcp);
}

#[test]
fn an_ice_restart_by_the_client_changes_both_ufrags_and_media_goes_on() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    net.connect();
    let mut source = Source::new(1, Codec::Opus);
    net.stream(CLIENT, &mut source, 10);
    let negotiated = net.negotiate(OfferOptions { ice_restart: true, ..OfferOptions::default() });
    let client = net.client().local_ufrag().to_owned();
    let server = net.server().local_ufrag().to_owned();
    assert_ne!(client, "clientufrag");
    assert_ne!(server, "serverufrag");
    assert!(negotiated.offer.contains(&format!("a=ice-ufrag:{client}")));
    assert!(negotiated.answer.contains(&format!("a=ice-ufrag:{server}")));
    net.run_ms(1000);
    net.packets(SERVER);
    net.stream(CLIENT, &mut source, 10);
    assert_eq!(net.packets(SERVER).len(), 10);
    assert!(!net.take(SERVER, |event| matches!(event, Event::Disconnected)));
    net.run_ms(30_000);
    assert!(!net.take(SERVER, |event| matches!(event, Event::Disconnected)), "the new pair is kept alive");
}

#[test]
fn an_ice_restart_by_the_server_announces_its_new_ufrag_at_once() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Audio, "PA_a", "TR_a"));
    net.exchange(SERVER, OfferOptions::default());
    net.run_ms(1000);
    let now = net.now;
    let offer = net.server().create_offer(now, OfferOptions { ice_restart: true, ..Default::default() });
    let offer = offer.unwrap().expect("a restart is offered");
    let announced = net.server().local_ufrag().to_owned();
    assert_ne!(announced, "serverufrag");
    assert!(offer.sdp.contains(&format!("a=ice-ufrag:{announced}")));
    let answer = net.client().accept_offer(now, &offer.sdp).unwrap();
    net.server().accept_answer(now, &answer.sdp).unwrap();
    assert_eq!(net.server().local_ufrag(), announced);
    net.run_ms(1000);
    net.stream(SERVER, &mut Source::new(1, Codec::Opus), 10);
    assert_eq!(net.packets(CLIENT).len(), 10);
}

#[test]
fn silence_disconnects_and_a_restart_reconnects() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    net.connect();
    net.cut = [true, true];
    net.run_ms(40_000);
    for side in [CLIENT, SERVER] {
        assert!(net.take(side, |event| matches!(event, Event::Disconnected)), "side {side}");
    }
    net.cut = [false, false];
    net.negotiate(OfferOptions { ice_restart: true, ..OfferOptions::default() });
    net.run_ms(2000);
    for side in [CLIENT, SERVER] {
        assert!(net.take(side, |event| matches!(event, Event::Reconnected)), "side {side}");
    }
    net.stream(CLIENT, &mut Source::new(1, Codec::Opus), 10);
    assert_eq!(net.packets(SERVER).len(), 10);
}

#[test]
fn lost_video_is_sent_again() {
    for (from, kind) in [(CLIENT, "up"), (SERVER, "down")] {
        let mut net = Network::new();
        net.client().attach(1, local(MediaKind::Video, "camera", &[Codec::Vp8]));
        net.server().attach(2, track(MediaKind::Video, "PA_a", "TR_a"));
        net.connect();
        net.loss = [5, 5];
        let mut source = Source::new(if from == CLIENT { 1 } else { 2 }, Codec::Vp8);
        net.stream(from, &mut source, 1000);
        net.loss = [0, 0];
        net.stream(from, &mut source, 20);
        net.run_ms(1500);
        let mut seqs: Vec<u64> = net.packets(1 - from).iter().map(|packet| packet.seq).collect();
        let arrived = seqs.len();
        seqs.sort_unstable();
        seqs.dedup();
        assert_eq!(arrived, seqs.len(), "nothing arrives twice");
        assert!(arrived >= 1015, "{kind}: of 1020 packets {arrived} arrived");
        let statistics = net.peers[from].statistics();
        let own = statistics.outgoing.iter().find(|own| own.key == source.key).expect("figures of the stream");
        assert!(own.nacks > 10, "{kind}: {own:?}");
        assert!(own.packets > 1020, "retransmissions count: {own:?}");
    }
}

#[test]
fn a_batch_leaves_with_one_round_of_polling() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Video, "camera", &[Codec::Vp8]));
    net.connect();
    let now = net.now;
    let mut source = Source::new(1, Codec::Vp8);
    for _ in 0..100 {
        let packet = source.next(now);
        assert_eq!(net.client().send(now, packet), Ok(true));
    }
    let mut sent = 0;
    while let Output::Transmit(_) | Output::Event(_) = net.client().poll(now) {
        sent += 1;
    }
    assert!(sent >= 100, "{sent}");
}

#[test]
fn sender_reports_follow_the_wallclock_even_if_it_lies_in_the_future() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    net.connect();
    let mut source = Source::new(1, Codec::Opus);
    for _ in 0..300 {
        let mut packet = source.next(net.now);
        packet.wallclock += Duration::from_secs(60);
        let now = net.now;
        net.client().send(now, packet).unwrap();
        net.run_ms(10);
    }
    let reports: Vec<_> = net.events[SERVER]
        .iter()
        .filter_map(|event| match event {
            Event::SenderReport(report) => Some(*report),
            _ => None,
        })
        .collect();
    assert!(reports.len() >= 2);
    // The timestamps run at 480 for 10 ms, like the clock. The first report may come before the first packet.
    let (first, last) = (reports[1], reports[reports.len() - 1]);
    let ticks = f64::from(last.timestamp.wrapping_sub(first.timestamp));
    let seconds = last.wallclock.duration_since(first.wallclock).unwrap().as_secs_f64();
    assert!((ticks / seconds - 48_000.0).abs() < 2_000.0, "{ticks} ticks in {seconds} s");
}

#[test]
fn an_idle_connection_is_woken_rarely() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Video, "PA_a", "TR_a"));
    net.connect();
    net.timeouts = 0;
    net.run_ms(10_000);
    assert!(net.timeouts < 10 * 60, "{} time-outs in 10 s", net.timeouts);
}

#[test]
fn no_delay_makes_no_hot_loop() {
    let mut net = Network::new();
    net.delay = Duration::ZERO;
    net.client().attach(1, local(MediaKind::Video, "camera", &[Codec::Vp8]));
    net.connect();
    net.timeouts = 0;
    let mut source = Source::new(1, Codec::Vp8);
    net.stream(CLIENT, &mut source, 300);
    assert!(net.timeouts <= 3 * 1000 + 50, "{} time-outs in 3 s", net.timeouts);
    assert_eq!(net.packets(SERVER).len(), 300);
}

#[test]
fn closing_tells_the_other_side() {
    let mut net = Network::new();
    net.connect();
    net.client().close();
    let now = net.now;
    net.run_ms(100);
    assert!(matches!(net.events[CLIENT].last(), Some(Event::Closed(CloseReason::Local))), "{:?}", net.events[CLIENT]);
    assert!(matches!(net.events[SERVER].last(), Some(Event::Closed(CloseReason::Remote))), "{:?}", net.events[SERVER]);
    for side in [CLIENT, SERVER] {
        let peer = &mut net.peers[side];
        assert!(peer.is_closed());
        assert_eq!(peer.send_data("_reliable", true, "x".into()), Err(PeerError::Closed));
        assert_eq!(peer.create_offer(now, OfferOptions::default()), Err(PeerError::Closed));
        assert!(matches!(peer.poll(now), Output::Timeout(_)));
    }
}

#[test]
fn a_peer_that_never_connected_closes_too() {
    let mut net = Network::new();
    net.server().close();
    net.run_ms(10);
    assert!(matches!(net.events[SERVER].as_slice(), [Event::Closed(CloseReason::Local)]));
}

#[test]
fn unusable_configurations_are_refused() {
    let now = std::time::Instant::now();
    for (ufrag, password) in
        [("abc", "passwordpasswordpassword"), ("abcd", "short"), ("ab:d", "passwordpasswordpassword")]
    {
        let config = greenroom_peer::PeerConfig::new(Role::Server, ufrag, password);
        assert!(
            matches!(greenroom_peer::Peer::new(config, now), Err(PeerError::InvalidConfig(_))),
            "{ufrag} {password}"
        );
    }
}

#[test]
fn trickled_candidates_are_taken_or_ignored_or_refused() {
    let mut net = Network::new();
    let client = net.client();
    let good = "candidate:1 1 udp 2130706431 127.0.0.1 2000 typ host generation 0";
    assert_eq!(client.add_remote_candidate(good), Ok(()));
    assert_eq!(client.add_remote_candidate(&format!("a={good}\r\n")), Ok(()));
    let hidden = "candidate:1 1 udp 2130706431 4d1c7e1c-1b1b-4b1b.local 2000 typ host";
    assert_eq!(client.add_remote_candidate(hidden), Ok(()), "host names are ignored");
    for bad in
        ["", "nonsense", "candidate:", "candidate:1 1 udp x 127.0.0.1 2000 typ host", "candidate:1 1 udp 1 127.0.0.1"]
    {
        let _ = client.add_remote_candidate(bad);
    }
    assert!(matches!(client.add_remote_candidate("nonsense"), Err(PeerError::InvalidCandidate(_))));
}

#[test]
fn heavy_loss_sets_a_limit_that_is_lifted_when_the_loss_is_over() {
    let mut net = Network::new();
    net.server().attach(1, track(MediaKind::Video, "PA_a", "TR_a"));
    net.connect();
    let mut source = Source::new(1, Codec::Vp8);
    net.stream(SERVER, &mut source, 300);
    let limit = |net: &mut Network| {
        let limits = net.events[SERVER].iter().filter_map(|event| match event {
            Event::Bandwidth { bitrate } => Some(*bitrate),
            _ => None,
        });
        let last = limits.last();
        net.events[SERVER].clear();
        last
    };
    assert_eq!(limit(&mut net), None, "no complaints, no limit");
    net.loss[SERVER] = 30;
    net.stream(SERVER, &mut source, 500);
    let set = limit(&mut net).expect("a limit");
    // 100 packets per second of some 210 bytes.
    assert!((60_000..170_000).contains(&set), "{set}");
    net.loss[SERVER] = 0;
    net.stream(SERVER, &mut source, 1500);
    assert_eq!(limit(&mut net), Some(NO_LIMIT));
    net.stream(SERVER, &mut source, 500);
    assert_eq!(limit(&mut net), None);
}

#[test]
fn video_lost_in_an_outage_is_sent_again_and_so_is_what_is_lost_behind_it() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Video, "camera", &[Codec::Vp8]));
    net.connect();
    let mut source = Source::new(1, Codec::Vp8);
    net.stream(CLIENT, &mut source, 50);
    net.cut = [true, true];
    net.stream(CLIENT, &mut source, 25);
    net.cut = [false, false];
    net.loss = [5, 5];
    net.stream(CLIENT, &mut source, 60);
    net.loss = [0, 0];
    net.stream(CLIENT, &mut source, 5);
    net.run_ms(300);
    let mut seqs: Vec<u64> = net.packets(SERVER).iter().map(|packet| packet.seq).collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs.len(), 140, "all have come in the end");
}

#[test]
fn lost_opus_is_asked_for_only_where_it_is_sent_again() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Audio, "mic", &[Codec::Opus]));
    net.server().attach(2, track(MediaKind::Audio, "PA_a", "TR_a"));
    net.connect();
    net.loss = [10, 10];
    for (from, key) in [(CLIENT, 1), (SERVER, 2)] {
        net.stream(from, &mut Source::new(key, Codec::Opus), 400);
    }
    let nacks = |net: &Network, side: usize| net.peers[side].statistics().incoming.iter().map(|s| s.nacks).sum::<u64>();
    assert!(nacks(&net, SERVER) > 0, "browsers send lost Opus packets again when asked");
    assert_eq!(nacks(&net, CLIENT), 0, "our server does not");
}

#[test]
fn statistics_tell_what_was_sent_and_received() {
    let mut net = Network::new();
    net.client().attach(1, local(MediaKind::Video, "camera", &[Codec::Vp8]));
    let negotiated = net.connect();
    net.stream(CLIENT, &mut Source::new(1, Codec::Vp8), 200);
    net.run_ms(2_000);
    let sent = net.client().statistics();
    let received = net.server().statistics();
    let size = payload(300).len() as u64;
    let [out] = sent.outgoing.as_slice() else { panic!("{sent:?}") };
    assert_eq!((out.key, out.rid, out.packets, out.bytes), (1, None, 200, 200 * size));
    let [into] = received.incoming.as_slice() else { panic!("{received:?}") };
    assert_eq!(into.mid, section_of(&negotiated.sections, 1).mid);
    assert_eq!((into.rid, into.packets, into.bytes), (None, 200, 200 * size));
    assert_eq!(out.packets_lost, Some(0));
    for rtt in [sent.rtt, out.rtt, received.rtt] {
        let rtt = rtt.expect("a round trip was measured");
        assert!((Duration::from_millis(9)..Duration::from_millis(12)).contains(&rtt), "{rtt:?}");
    }
    assert!(sent.bytes_sent > 200 * size && received.bytes_received > 200 * size);
    net.client().detach(1);
    net.negotiate(force());
    net.run_ms(2_000);
    assert!(net.client().statistics().outgoing.is_empty(), "what is gone does not count");
    assert!(net.server().statistics().incoming.is_empty());
}
