//! The last second of one layer, so that a subscriber can start at a key frame that has just gone by.

use std::collections::VecDeque;
use std::sync::Arc;

use greenroom_media::rtp::{Codec, FrameInfo};

use crate::clock::Micros;

/// Oldest packet kept.
pub(crate) const MAX_AGE: Micros = 1_000_000;
/// Most packets and bytes kept.
const MAX_PACKETS: usize = 1024;
const MAX_BYTES: usize = 1 << 20;

/// One packet as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Recent {
    pub(crate) seq: u64,
    pub(crate) ticks: u64,
    pub(crate) capture: Micros,
    pub(crate) arrival: Micros,
    pub(crate) marker: bool,
    pub(crate) codec: Codec,
    pub(crate) info: FrameInfo,
    pub(crate) payload: Arc<[u8]>,
}

/// The last second, in the order of sequence numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    packets: VecDeque<Recent>,
    bytes: usize,
    /// Sequence number of the latest key frame's first packet.
    key: Option<u64>,
}

impl History {
    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.packets.clear();
        self.bytes = 0;
        self.key = None;
    }

    /// Keeps a packet. `starts`: a decoder can start with it.
    pub(crate) fn add(&mut self, packet: Recent, starts: bool) {
        if starts && self.key.is_none_or(|key| key < packet.seq) {
            self.key = Some(packet.seq);
        }
        let oldest = packet.arrival - MAX_AGE;
        self.bytes += packet.payload.len();
        let at = match self.packets.back() {
            Some(last) if last.seq > packet.seq => self.packets.partition_point(|kept| kept.seq < packet.seq),
            _ => self.packets.len(),
        };
        self.packets.insert(at, packet);
        while self.packets.len() > MAX_PACKETS
            || self.bytes > MAX_BYTES
            || self.packets.front().is_some_and(|first| first.arrival < oldest)
        {
            let Some(first) = self.packets.pop_front() else {
                break;
            };
            self.bytes -= first.payload.len();
            if self.key.is_some_and(|key| key <= first.seq) {
                self.key = None;
            }
        }
    }

    /// Everything from the latest key frame on, when nothing is missing and it is at most `max_age` old.
    pub(crate) fn since_key(&self, now: Micros, max_age: Micros) -> Option<impl Iterator<Item = &Recent> + Clone> {
        let key = self.key?;
        let start = self.packets.partition_point(|kept| kept.seq < key);
        let first = self.packets.get(start)?;
        let last = self.packets.back()?;
        let complete = last.seq - first.seq + 1 == (self.packets.len() - start) as u64;
        (complete && now - first.arrival <= max_age).then(|| self.packets.range(start..))
    }
}
