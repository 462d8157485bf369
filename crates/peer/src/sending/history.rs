//! Sent packets that are kept to be sent again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::OutgoingPacket;

/// A packet that was sent.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) packet: OutgoingPacket,
    sent: Instant,
    /// When it was sent again, if it was.
    again: Option<Instant>,
    asked: bool,
}

/// A request for a kept packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Its extended sequence number, if it is to be sent again.
    pub(crate) seq: Option<u64>,
    /// Whether nobody had missed it so far.
    pub(crate) first: bool,
}

/// The last packets of one stream, in the order of their sequence numbers.
#[derive(Debug)]
pub(crate) struct History {
    /// The sequence number of the first.
    first: u64,
    packets: VecDeque<Option<Kept>>,
    most: usize,
    oldest: Duration,
}

impl History {
    pub(crate) fn new(most: usize, oldest: Duration) -> Self {
        History { first: 0, packets: VecDeque::new(), most, oldest }
    }

    pub(crate) fn keep(&mut self, now: Instant, packet: OutgoingPacket) {
        let seq = packet.seq;
        if self.packets.is_empty() || seq >= self.first + (self.packets.len() + self.most) as u64 {
            self.packets.clear();
            self.first = seq;
        }
        let Some(index) = seq.checked_sub(self.first).map(|index| index as usize) else {
            return;
        };
        if index >= self.packets.len() {
            self.packets.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.packets.get_mut(index) {
            *slot = Some(Kept { packet, sent: now, again: None, asked: false });
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while let Some(front) = self.packets.front() {
            let too_old = |kept: &Kept| now.saturating_duration_since(kept.sent) > self.oldest;
            if self.packets.len() <= self.most && !front.as_ref().is_none_or(too_old) {
                return;
            }
            self.packets.pop_front();
            self.first += 1;
        }
    }

    /// The other side asks for the packet whose sequence number ends with these 16 bits: what is to be done about it. One that
    /// was sent again within `rest` may be under way still.
    pub(crate) fn ask(&mut self, now: Instant, seq: u16, rest: Duration) -> Option<Asked> {
        let index = seq.wrapping_sub(self.first as u16);
        let kept = self.packets.get_mut(usize::from(index))?.as_mut()?;
        let rested = |at: Instant| now.saturating_duration_since(at) >= rest;
        let due = kept.again.is_none_or(rested) && now.saturating_duration_since(kept.sent) <= self.oldest;
        let first = !std::mem::replace(&mut kept.asked, true);
        Some(Asked { seq: due.then_some(kept.packet.seq), first })
    }

    /// The packet of that number, which is going to be sent again now.
    pub(crate) fn again(&mut self, now: Instant, seq: u64) -> Option<&OutgoingPacket> {
        let index = seq.checked_sub(self.first)?;
        let kept = self.packets.get_mut(index as usize)?.as_mut()?;
        kept.again = Some(now);
        Some(&kept.packet)
    }
}
