//! What the engine tells its owner: one queue, and one readable descriptor while it is not empty.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// A handle chosen by the caller: a room, peer, track, sender, source or sink.
pub type Handle = u64;

/// One m-line of a description that was just applied or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The m-line's `a=mid`.
    pub mid: String,
    /// "audio", "video" or "application".
    pub kind: &'static str,
    /// Whether the other side sends on it.
    pub receiving: bool,
    /// Stream id of the other side's msid, "" without one.
    pub stream_id: String,
    /// Track id of the other side's msid, "" without one.
    pub track_id: String,
    /// Simulcast rids the other side sends.
    pub rids: Vec<String>,
    /// The track or sender that we send on it, 0 for none.
    pub sending: Handle,
    /// Mime types that both sides accepted, in order.
    pub codecs: Vec<String>,
}

/// Transport figures of one peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PeerQuality {
    /// The peer.
    pub peer: Handle,
    /// Round trip in seconds.
    pub rtt: f64,
    /// Share of what we sent that was lost, 0..1.
    pub sent_loss: f64,
    /// Share of what was sent to us that was lost, 0..1.
    pub received_loss: f64,
    /// Interarrival jitter in seconds (RFC 3550, section 6.4.1).
    pub jitter: f64,
}

/// Something that happened, told in the order in which it did.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // fields are named as in `_native.pyi`, which describes them
pub enum Event {
    PeerState { peer: Handle, state: &'static str, detail: String },
    Offer { peer: Handle, offer_id: u32, sdp: String, sections: Vec<Section> },
    Answer { peer: Handle, offer_id: u32, sdp: String, sections: Vec<Section> },
    Negotiated { peer: Handle, offer_id: u32, sections: Vec<Section> },
    NegotiationFailed { peer: Handle, offer_id: u32, message: String },
    SectionsNeeded { peer: Handle, audio: usize, video: usize },
    DataOpen { peer: Handle, label: String },
    Data { peer: Handle, label: String, payload: Bytes },
    DataSent { peer: Handle, request: u64, error: String },
    SubscriptionBound { peer: Handle, track: Handle, mid: String },
    StreamState { peer: Handle, track: Handle, paused: bool },
    Speakers { room: Handle, speakers: Vec<(Handle, f32, bool)> },
    Quality { room: Handle, peers: Vec<PeerQuality> },
    TrackMedia { track: Handle, mime: String },
    Encryption { peer: Handle, sender: Handle, mid: String, state: u8 },
    Captured { source: Handle, request: u64 },
    Drained { source: Handle, request: u64 },
    Readable { sink: Handle },
    Ended { sink: Handle },
    EngineFailed { room: Handle, message: String },
    Log { line: String },
}

impl Event {
    fn data_len(&self) -> usize {
        if let Self::Data { payload, .. } = self { payload.len() } else { 0 }
    }
}

/// The queue. Any thread pushes, one owner drains.
#[derive(Debug)]
pub struct EventQueue {
    queue: Mutex<VecDeque<Event>>,
    /// Bytes of [`Event::Data`] in the queue: all else comes at a pace that its owner sets.
    data_waiting: AtomicUsize,
    wake: UnixStream,
    parked: UnixStream,
}

impl EventQueue {
    /// An empty queue.
    pub fn new() -> std::io::Result<Self> {
        let (parked, wake) = UnixStream::pair()?;
        parked.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        Ok(Self { queue: Mutex::default(), data_waiting: AtomicUsize::new(0), wake, parked })
    }

    /// The descriptor that is readable while events wait.
    pub fn raw_fd(&self) -> RawFd {
        self.parked.as_raw_fd()
    }

    /// Append, and wake the owner if the queue was empty.
    pub fn push(&self, event: Event) {
        let mut queue = lock(&self.queue);
        self.data_waiting.fetch_add(event.data_len(), Ordering::Relaxed);
        queue.push_back(event);
        if queue.len() == 1 {
            // A full socket buffer means that a byte is already there: the descriptor is readable either way.
            let _ = (&self.wake).write(&[1]);
        }
    }

    /// Bytes of data messages that the owner has not drained.
    pub fn data_waiting(&self) -> usize {
        self.data_waiting.load(Ordering::Relaxed)
    }

    /// Up to `limit` of the oldest events. The descriptor stays readable if more are left.
    pub fn drain(&self, limit: usize) -> Vec<Event> {
        let mut queue = lock(&self.queue);
        let count = queue.len().min(limit);
        let events: Vec<Event> = queue.drain(..count).collect();
        self.data_waiting.fetch_sub(events.iter().map(Event::data_len).sum(), Ordering::Relaxed);
        if queue.is_empty() {
            let mut bytes = [0; 64];
            while matches!((&self.parked).read(&mut bytes), Ok(count) if count > 0) {}
        }
        events
    }
}

/// Lock, also after a panic elsewhere: what our mutexes guard is valid at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_data_that_wait_are_counted_until_they_are_drained() {
        let queue = EventQueue::new().unwrap();
        for size in [3, 4] {
            queue.push(Event::Data { peer: 1, label: "_lossy".into(), payload: Bytes::from(vec![0; size]) });
            queue.push(Event::Readable { sink: 2 });
        }
        assert_eq!(queue.data_waiting(), 7);
        assert_eq!(queue.drain(2).len(), 2);
        assert_eq!(queue.data_waiting(), 4);
        queue.drain(10);
        assert_eq!(queue.data_waiting(), 0);
    }
}
