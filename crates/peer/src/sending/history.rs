//! Sent packets that are kept to be sent again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::OutgoingPacket;

/// A packet that was sent.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) packet: OutgoingPacket,
    sent: Instant,
    /// When it was last decided to send it again.
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
    /// was asked for within `rest` may be under way still.
    pub(crate) fn ask(&mut self, now: Instant, seq: u16, rest: Duration) -> Option<Asked> {
        let index = seq.wrapping_sub(self.first as u16);
        let kept = self.packets.get_mut(usize::from(index))?.as_mut()?;
        let rested = |at: Instant| now.saturating_duration_since(at) >= rest;
        let due = kept.again.is_none_or(rested) && now.saturating_duration_since(kept.sent) <= self.oldest;
        let first = !std::mem::replace(&mut kept.asked, true);
        if due {
            kept.again = Some(now);
        }
        Some(Asked { seq: due.then_some(kept.packet.seq), first })
    }

    /// The packet of that number, if it is kept still.
    pub(crate) fn get(&self, seq: u64) -> Option<&OutgoingPacket> {
        let index = seq.checked_sub(self.first)?;
        Some(&self.packets.get(index as usize)?.as_ref()?.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codec, Extensions};

    const REST: Duration = Duration::from_millis(10);

    fn packet(seq: u64, now: Instant) -> OutgoingPacket {
        OutgoingPacket {
            key: 1,
            rid: None,
            codec: Codec::Vp8,
            seq,
            timestamp: 0,
            wallclock: now,
            marker: false,
            payload: Vec::new().into(),
            nackable: true,
            extensions: Extensions::default(),
            vp8: None,
        }
    }

    #[test]
    fn packets_are_found_over_wraps_and_gaps_and_each_rests_between_requests() {
        let mut history = History::new(100, Duration::from_secs(3));
        let mut now = Instant::now();
        for seq in (65_500..65_580).filter(|seq| *seq != 65_540) {
            history.keep(now, packet(seq, now));
        }
        let asked = history.ask(now, 10, REST).expect("kept");
        assert_eq!((asked.seq, asked.first), (Some(65_546), true));
        assert_eq!(history.get(65_546).map(|packet| packet.seq), Some(65_546));
        let again = history.ask(now, 10, REST).expect("kept");
        assert_eq!((again.seq, again.first), (None, false), "under way");
        now += REST;
        assert_eq!(history.ask(now, 10, REST).and_then(|asked| asked.seq), Some(65_546));
        assert!(history.ask(now, 4, REST).is_none(), "never sent");
        history.keep(now, packet(65_540, now));
        assert!(history.ask(now, 4, REST).is_some(), "sent late");
        assert!(history.ask(now, 30_000, REST).is_none());
    }

    #[test]
    fn only_so_many_packets_are_kept_and_for_so_long() {
        let mut history = History::new(100, Duration::from_secs(3));
        let mut now = Instant::now();
        (0..1000).for_each(|seq| history.keep(now, packet(seq, now)));
        assert!(history.get(899).is_none() && history.get(900).is_some() && history.packets.len() == 100);
        now += Duration::from_secs(4);
        assert!(history.ask(now, 999, REST).is_some_and(|asked| asked.seq.is_none()), "too old");
        history.keep(now, packet(1000, now));
        assert_eq!(history.packets.len(), 1);
        history.keep(now, packet(1 << 40, now));
        assert_eq!(history.packets.len(), 1, "a leap leaves nothing behind");
    }
}
