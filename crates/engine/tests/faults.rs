//! A panic in one room ends that room, and nothing else.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use greenroom_engine::{Engine, Event};

const PATIENCE: Duration = Duration::from_secs(10);

/// The events up to the first that `wanted` holds for, or all that came in time.
fn until(engine: &Engine, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while Instant::now() < deadline {
        for event in engine.events().drain(64) {
            seen.push(event);
            if seen.last().is_some_and(&wanted) {
                return seen;
            }
        }
        std::thread::yield_now();
    }
    seen
}

#[test]
fn a_panic_ends_the_room_it_happened_in() {
    let engine = Engine::new("test").unwrap();
    for room in [1, 2] {
        engine.run(room, move |world| world.open_room(room)).unwrap();
        engine.run(room, move |world| world.open_server_peer(room, room + 10, false)).unwrap();
    }
    engine.run(1, |_| panic!("provoked")).unwrap();
    let seen = until(&engine, |event| matches!(event, Event::PeerState { .. }));
    assert!(seen.contains(&Event::EngineFailed { room: 1, message: "provoked".to_owned() }), "{seen:?}");
    assert!(matches!(seen.last(), Some(Event::PeerState { peer: 11, state: "closed", .. })), "{seen:?}");
    // The other room is there and answers.
    assert!(engine.ask(|world| world.peer_statistics(12)).unwrap().is_some());
    assert!(engine.ask(|world| world.peer_statistics(11)).unwrap().is_none());
    assert_eq!(engine.counters().rooms.load(Ordering::Relaxed), 1);
    assert_eq!(engine.counters().peers.load(Ordering::Relaxed), 1);
}

#[test]
fn a_panic_in_a_peer_ends_that_peer() {
    let engine = Engine::new("test").unwrap();
    engine.run(1, |world| world.open_room(1)).unwrap();
    for peer in [11, 12] {
        engine.run(peer, move |world| world.open_server_peer(1, peer, false)).unwrap();
    }
    engine.run(11, |_| panic!("provoked")).unwrap();
    let seen = until(&engine, |event| matches!(event, Event::PeerState { .. }));
    assert!(seen.contains(&Event::EngineFailed { room: 11, message: "provoked".to_owned() }), "{seen:?}");
    assert!(engine.ask(|world| world.peer_statistics(12)).unwrap().is_some());
    assert_eq!(engine.counters().peers.load(Ordering::Relaxed), 1);
}
