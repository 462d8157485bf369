//! Threads, sockets, clocks and queues: drives `peer`, `sfu`, `codec` and `media`.
//!
//! An [`Engine`] is one thread with its sockets, rooms and peers. Commands are closures that run on that thread, each in
//! the scope of one room or peer; what happens comes back through one [`EventQueue`]. Video is encoded and decoded by the
//! few threads of [`pool`], shared by all engines of the process. A panic ends the room or peer in whose scope it happened.

#[cfg(test)]
mod audio_delay;
mod audio_sink;
mod audio_source;
mod cadence;
mod client;
mod encoder;
mod encryption;
mod error;
mod events;
mod handles;
mod listen;
mod logs;
mod media_clock;
mod pool;
mod receiver;
mod sender;
mod server;
mod sockets;
mod thread;
mod video_sink;
mod video_source;
mod world;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use mio::Waker;

pub use audio_sink::{AudioSink, AudioSinkOptions};
pub use audio_source::AudioSource;
pub use client::{ClientPeerOptions, LayerOptions, SenderOptions, SenderSource};
pub use encryption::{ReceiverEncryption, random_nonce};
pub use error::EngineError;
pub use greenroom_peer::OfferOptions;

pub use events::{Event, EventQueue, Handle, PeerQuality, Section};
pub use listen::ListenOptions;
pub use receiver::ReceiverStatistics;
pub use sender::SenderStatistics;
pub use server::{Layer, SubscriptionSettings, TrackOptions, TrackPreference};
pub use video_sink::{VideoSink, VideoSinkFrame};
pub use video_source::{CapturedFrame, VideoSource};
pub use world::World;

/// What runs on the engine's thread.
pub(crate) struct Command {
    /// The room or peer that fails if the command panics; 0 for the whole engine.
    scope: Handle,
    run: Box<dyn FnOnce(&mut World) + Send>,
}

/// Counters that any thread may read.
#[derive(Debug, Default)]
#[allow(missing_docs)] // named as in `_native.pyi`
pub struct Counters {
    pub packets_in: AtomicU64,
    pub packets_out: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub datagrams_dropped: AtomicU64,
    pub wakeups: AtomicU64,
    pub events: AtomicU64,
    pub rooms: AtomicU64,
    pub peers: AtomicU64,
    pub tracks: AtomicU64,
    pub subscriptions: AtomicU64,
    pub sources: AtomicU64,
    pub sinks: AtomicU64,
}

impl Counters {
    fn sent(&self, bytes: usize) {
        self.packets_out.fetch_add(1, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Gives commands to the thread from anywhere.
#[derive(Clone)]
pub(crate) struct Commander {
    sender: Sender<Command>,
    waker: Arc<Waker>,
    /// Whether a wake-up is on its way already.
    woken: Arc<AtomicBool>,
    /// The process that has the thread.
    process: u32,
}

impl Commander {
    /// Run `command` on the thread, in order. False when the thread is gone, or was left behind in the parent by a fork.
    pub(crate) fn run(&self, scope: Handle, command: impl FnOnce(&mut World) + Send + 'static) -> bool {
        if self.is_forked() {
            return false;
        }
        let sent = self.sender.send(Command { scope, run: Box::new(command) }).is_ok();
        if sent && !self.woken.swap(true, Ordering::AcqRel) {
            // An error here means that the thread's poll is gone, which the closed channel tells at the next command.
            let _ = self.waker.wake();
        }
        sent
    }

    /// Whether this is a copy in a child process, which the thread is not in.
    fn is_forked(&self) -> bool {
        self.process != std::process::id()
    }
}

impl std::fmt::Debug for Commander {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Commander")
    }
}

/// The codec that a sender's option names.
///
/// # Errors
/// It is none of "opus", "vp8" and "h264".
pub fn codec_from_name(name: &str) -> Result<greenroom_peer::Codec, EngineError> {
    match name {
        "opus" => Ok(greenroom_peer::Codec::Opus),
        "vp8" => Ok(greenroom_peer::Codec::Vp8),
        "h264" => Ok(greenroom_peer::Codec::H264),
        other => Err(EngineError::Invalid(format!("codec is {other:?}: it must be \"opus\", \"vp8\" or \"h264\""))),
    }
}

/// One media thread. Dropping it closes it.
#[derive(Debug)]
pub struct Engine {
    commander: Commander,
    events: Arc<EventQueue>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Start the thread.
    ///
    /// # Errors
    /// The system gives no thread or descriptor.
    pub fn new(name: &str) -> Result<Self, EngineError> {
        logs::collect();
        let events = Arc::new(EventQueue::new()?);
        let counters = Arc::new(Counters::default());
        let (commander, thread) = thread::start(name, Arc::clone(&events), Arc::clone(&counters))?;
        Ok(Self { commander, events, counters, thread: Mutex::new(Some(thread)) })
    }

    /// Run `command` on the thread, after those given before it. A panic in it fails the room or peer `scope`.
    ///
    /// # Errors
    /// [`EngineError::Closed`]
    pub fn run(&self, scope: Handle, command: impl FnOnce(&mut World) + Send + 'static) -> Result<(), EngineError> {
        if self.commander.run(scope, command) { Ok(()) } else { Err(EngineError::Closed) }
    }

    /// The queue of events.
    pub fn events(&self) -> &Arc<EventQueue> {
        &self.events
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Close every peer and socket and wait for the thread's end. Idempotent.
    pub fn close(&self) {
        let Some(thread) = events::lock(&self.thread).take() else {
            return;
        };
        if self.commander.is_forked() {
            // The thread is the parent's: there is nothing to wait for, and nothing of it may be touched.
            std::mem::forget(thread);
            return;
        }
        self.commander.run(0, World::stop);
        if thread.join().is_err() {
            tracing::error!("the media thread ended by a panic");
        }
    }

    /// Run `question` on the thread and wait for what it returns.
    ///
    /// # Errors
    /// [`EngineError::Closed`]
    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut World) -> T + Send + 'static,
    ) -> Result<T, EngineError> {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.run(0, move |world| {
            let _ = sender.send(question(world));
        })?;
        receiver.recv().map_err(|_| EngineError::Closed)
    }

    /// Bind the UDP and the TCP port for server peers; 0 chooses one. Returns both.
    ///
    /// # Errors
    /// A port is taken or the address is not of this host.
    pub fn listen(
        &self,
        ip: IpAddr,
        udp_port: u16,
        tcp_port: u16,
        advertise: Vec<IpAddr>,
    ) -> Result<(u16, u16), EngineError> {
        let options = ListenOptions::bind(ip, udp_port, tcp_port, advertise)?;
        let ports = (options.udp.local_addr()?.port(), options.tcp.local_addr()?.port());
        self.ask(move |world| world.listen(options))??;
        Ok(ports)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}
