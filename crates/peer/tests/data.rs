//! Data channels.

mod common;

use bytes::Bytes;
use common::*;
use greenroom_peer::{Event, PeerError, Proto, Role};

fn numbered(prefix: &str, number: usize, size: usize) -> Bytes {
    let mut message = format!("{prefix}-{number}-").into_bytes();
    message.resize(size.max(message.len()), b'.');
    message.into()
}

#[test]
fn messages_travel_both_ways() {
    let mut net = Network::new();
    net.connect();
    for (from, label) in [(CLIENT, "_reliable"), (SERVER, "_reliable"), (CLIENT, "_lossy"), (SERVER, "_lossy")] {
        for number in 0..20 {
            assert_eq!(net.peers[from].send_data(label, true, numbered("m", number, 500)), Ok(true));
        }
        net.run_ms(200);
        let messages = net.messages(1 - from);
        assert_eq!(messages.len(), 20, "{label} from {from}");
        assert!(
            messages
                .iter()
                .enumerate()
                .all(|(number, (seen, payload))| { seen == label && payload == &numbered("m", number, 500) })
        );
    }
}

#[test]
fn messages_wait_for_the_channel() {
    let mut net = Network::new();
    assert_eq!(
        net.client().send_data("_reliable", true, "early".into()),
        Err(PeerError::UnknownChannel("_reliable".into()))
    );
    net.negotiate(slots(1, 0));
    assert_eq!(net.client().send_data("_reliable", true, "early".into()), Ok(true));
    net.run_ms(1000);
    assert_eq!(net.messages(SERVER), [("_reliable".to_owned(), b"early".to_vec())]);
}

#[test]
fn the_reliable_channel_survives_loss_in_order() {
    let mut net = Network::new();
    net.connect();
    net.loss = [15, 15];
    for number in 0..200 {
        assert_eq!(net.client().send_data("_reliable", true, numbered("r", number, 1000)), Ok(true));
        net.run_ms(5);
    }
    net.loss = [0, 0];
    net.run_ms(20_000);
    let messages = net.messages(SERVER);
    assert_eq!(messages.len(), 200);
    assert!(messages.iter().enumerate().all(|(number, (_, payload))| payload == &numbered("r", number, 1000)));
}

#[test]
fn the_lossy_channel_loses_but_does_not_wait() {
    let mut net = Network::new();
    net.connect();
    net.loss = [15, 0];
    for number in 0..300 {
        assert_eq!(net.client().send_data("_lossy", true, numbered("l", number, 800)), Ok(true));
        net.run_ms(10);
    }
    net.loss = [0, 0];
    net.run_ms(5_000);
    let messages = net.messages(SERVER);
    assert!((150..300).contains(&messages.len()), "{} of 300 arrived", messages.len());
    assert_eq!(net.client().send_data("_lossy", true, "last".into()), Ok(true));
    net.run_ms(1000);
    assert_eq!(net.messages(SERVER), [("_lossy".to_owned(), b"last".to_vec())]);
}

#[test]
fn a_lossy_backlog_drops_its_oldest_and_does_not_hold_up_the_reliable_channel() {
    let mut client = config(Role::Client, Proto::Udp);
    client.lossy_backlog = 64 << 10;
    let mut net = Network::with(client, config(Role::Server, Proto::Udp));
    net.connect();
    for number in 0..1000 {
        assert_eq!(net.client().send_data("_lossy", true, numbered("l", number, 10_000)), Ok(true), "never refuses");
    }
    assert!(net.client().buffered_data("_lossy") <= 64 << 10);
    assert_eq!(net.client().send_data("_reliable", true, "urgent".into()), Ok(true));
    net.run_ms(3_000);
    let messages = net.messages(SERVER);
    let urgent = messages.iter().position(|(label, _)| label == "_reliable").expect("it arrives");
    assert!(urgent <= 4, "only what was in the association already comes first, but it came as number {urgent}");
    let last = messages.iter().rev().find(|(label, _)| label == "_lossy").expect("some arrive");
    assert_eq!(last.1, numbered("l", 999, 10_000), "the newest survive");
    assert!(messages.len() < 20, "the oldest were dropped: {}", messages.len());
}

#[test]
fn a_full_reliable_channel_refuses_and_tells_when_there_is_room_again() {
    let mut client = config(Role::Client, Proto::Udp);
    client.reliable_backlog = 100_000;
    let mut net = Network::with(client, config(Role::Server, Proto::Udp));
    net.connect();
    let mut taken = 0;
    while net.client().send_data("_reliable", true, numbered("r", taken, 10_000)).unwrap() {
        taken += 1;
    }
    assert_eq!(taken, 10);
    assert!(!net.take(CLIENT, |event| matches!(event, Event::DataLow { .. })));
    net.run_ms(3_000);
    assert!(net.take(CLIENT, |event| matches!(event, Event::DataLow { label } if &**label == "_reliable")));
    assert_eq!(net.client().send_data("_reliable", true, numbered("r", taken, 10_000)), Ok(true));
    net.run_ms(1_000);
    assert_eq!(net.messages(SERVER).len(), 11);
    assert_eq!(net.client().buffered_data("_reliable"), 0);
}

#[test]
fn a_megabyte_per_second_goes_through() {
    let mut net = Network::new();
    net.connect();
    let mut sent = 0;
    for _ in 0..400 {
        for _ in 0..2 {
            sent += usize::from(net.client().send_data("_reliable", true, numbered("r", sent, 15_000)).unwrap());
        }
        net.run_ms(15);
    }
    net.run_ms(3_000);
    assert_eq!(sent, 800);
    assert_eq!(net.messages(SERVER).len(), 800);
}

#[test]
fn too_long_a_message_is_refused() {
    let mut net = Network::new();
    net.connect();
    let limit = 256 << 10;
    assert_eq!(net.client().send_data("_reliable", true, numbered("r", 0, limit)), Ok(true));
    assert_eq!(
        net.client().send_data("_reliable", true, numbered("r", 0, limit + 1)),
        Err(PeerError::MessageTooLarge { size: limit + 1, limit })
    );
    net.run_ms(2_000);
    assert_eq!(net.messages(SERVER).len(), 1);
}

#[test]
fn text_and_binary_are_told_apart_and_empty_messages_refused() {
    let mut net = Network::new();
    net.connect();
    assert_eq!(net.client().send_data("_reliable", true, Bytes::new()), Err(PeerError::EmptyMessage));
    for (binary, payload) in [(false, "text"), (true, "binary")] {
        net.client().send_data("_reliable", binary, payload.into()).unwrap();
        net.run_ms(100);
        let found = net.take(SERVER, |event| match event {
            Event::Data { binary: seen, payload: data, .. } => *seen == binary && data == payload,
            _ => false,
        });
        assert!(found, "{binary} {payload:?}");
    }
}
