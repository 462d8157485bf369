//! The engine's thread: one loop over sockets, commands and timers.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use mio::{Events, Poll, Token, Waker};

use crate::events::{Event, EventQueue};
use crate::pool::panic_message;
use crate::world::World;
use crate::{Command, Commander, Counters};

const WAKER: Token = Token(0);
/// The niceness of the thread, where the system allows it: media has to be on time also when programs keep every core busy.
const NICENESS: i32 = -10;
/// A server's turns are at least this far apart: packets that arrive meanwhile are forwarded together, which costs less.
const SERVER_TURN: Duration = Duration::from_millis(1);
/// Commands run before sockets get their turn again.
const COMMANDS_PER_TURN: usize = 256;

pub(crate) fn start(
    name: &str,
    events: Arc<EventQueue>,
    counters: Arc<Counters>,
) -> io::Result<(Commander, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (sender, receiver) = unbounded();
    let commander = Commander { sender, waker, woken: Arc::new(AtomicBool::new(false)), process: std::process::id() };
    let registry = poll.registry().try_clone()?;
    let mut world = World::new(registry, Arc::clone(&events), counters, commander.clone());
    let woken = Arc::clone(&commander.woken);
    let thread = std::thread::Builder::new().name(format!("greenroom-{name}")).spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(poll, &mut world, &receiver, &woken)));
        let message = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_message(&*panic),
        };
        events.push(Event::EngineFailed { room: 0, message });
    })?;
    Ok((commander, thread))
}

fn run(mut poll: Poll, world: &mut World, commands: &Receiver<Command>, woken: &AtomicBool) -> io::Result<()> {
    // Only root may by default; without, the thread competes like any other.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    let mut ready = Events::with_capacity(1024);
    let mut turn = Instant::now();
    while !world.is_stopped() {
        if world.is_server() {
            std::thread::sleep(SERVER_TURN.saturating_sub(turn.elapsed()));
        }
        let timeout = if commands.is_empty() && !world.has_unread_sockets() {
            world.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
        } else {
            Some(Duration::ZERO)
        };
        if let Err(error) = poll.poll(&mut ready, timeout) {
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        world.counters().wakeups.fetch_add(1, Ordering::Relaxed);
        woken.store(false, Ordering::Release);
        turn = Instant::now();
        world.set_now(turn);
        for command in commands.try_iter().take(COMMANDS_PER_TURN) {
            world.guarded(command.scope, command.run);
        }
        for event in &ready {
            if event.token() != WAKER {
                world.socket_ready(event.token());
            }
        }
        world.read_sockets();
        world.set_now(Instant::now());
        // What has arrived comes before the tick that plays it.
        world.drive_peers();
        world.run_timers();
        world.flush();
    }
    world.close_everything();
    Ok(())
}
