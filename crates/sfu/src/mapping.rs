//! Published numbers to forwarded numbers, for one subscription and one source.
//!
//! A packet that is dropped on purpose closes the gap: the numbers after it move up by one. A packet that is missing
//! keeps its place, because it may still arrive, and because the receiver must be able to ask for it. Ranges remember
//! how far the numbers had moved, so that a late packet gets the number that was kept for it.

use std::collections::VecDeque;

use greenroom_media::rtp::vp8;

/// Ranges remembered for late packets.
const MAX_RANGES: usize = 128;
/// Dropped pictures remembered for late packets.
const DROPPED: usize = 16;

/// What to subtract from published numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Offsets {
    /// From sequence numbers.
    pub(crate) seq: u64,
    /// From VP8 ids, each modulo its width.
    pub(crate) ids: vp8::Ids,
}

impl Offsets {
    /// The forwarded sequence number.
    pub(crate) fn seq(self, published: u64) -> u64 {
        published.wrapping_sub(self.seq)
    }

    /// The forwarded VP8 ids.
    pub(crate) fn ids(self, published: vp8::Ids) -> vp8::Ids {
        difference(published, self.ids)
    }
}

/// `a - b`, each field modulo its width.
pub(crate) fn difference(a: vp8::Ids, b: vp8::Ids) -> vp8::Ids {
    vp8::Ids {
        picture_id: a.picture_id.wrapping_sub(b.picture_id) & 0x7fff,
        tl0_picture_index: a.tl0_picture_index.wrapping_sub(b.tl0_picture_index),
        key_index: a.key_index.wrapping_sub(b.key_index) & 0x1f,
    }
}

/// All ids one further, as a key frame's are after the frame before.
pub(crate) fn successor(ids: vp8::Ids) -> vp8::Ids {
    vp8::Ids {
        picture_id: ids.picture_id.wrapping_add(1) & 0x7fff,
        tl0_picture_index: ids.tl0_picture_index.wrapping_add(1),
        key_index: ids.key_index.wrapping_add(1) & 0x1f,
    }
}

#[derive(Debug, Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
    offsets: Offsets,
}

/// The mapping of one source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    /// First published number of the open range.
    start: u64,
    /// One past the highest published number seen.
    end: u64,
    offsets: Offsets,
    closed: VecDeque<Range>,
    dropped: [Option<u16>; DROPPED],
    dropped_at: usize,
}

impl Mapping {
    /// Starts anew at the published number `start`.
    pub(crate) fn restart(&mut self, start: u64, offsets: Offsets) {
        self.start = start;
        self.end = start;
        self.offsets = offsets;
        self.closed.clear();
        self.dropped = [None; DROPPED];
    }

    /// The offsets of packets in order.
    pub(crate) fn offsets(&self) -> Offsets {
        self.offsets
    }

    /// The packet `seq`, in order, is forwarded.
    pub(crate) fn keep(&mut self, seq: u64) {
        self.end = seq + 1;
    }

    /// The packet `seq`, in order, is dropped. `same_frame`: it continues a frame whose packets so far were dropped.
    pub(crate) fn drop_packet(&mut self, seq: u64, same_frame: bool) {
        let continues = same_frame && self.start == self.end;
        if continues {
            // What is missing in between belongs to the dropped frame as well: nobody has to wait for it.
            self.offsets.seq = self.offsets.seq.wrapping_add(seq - self.end);
        } else if self.start < seq {
            if self.closed.len() == MAX_RANGES {
                self.closed.pop_front();
            }
            self.closed.push_back(Range { start: self.start, end: seq, offsets: self.offsets });
        }
        self.offsets.seq = self.offsets.seq.wrapping_add(1);
        self.start = seq + 1;
        self.end = seq + 1;
    }

    /// The picture with this published id is dropped: later ids move up.
    pub(crate) fn drop_picture(&mut self, picture_id: u16) {
        self.offsets.ids.picture_id = self.offsets.ids.picture_id.wrapping_add(1) & 0x7fff;
        if let Some(slot) = self.dropped.get_mut(self.dropped_at % DROPPED) {
            *slot = Some(picture_id);
        }
        self.dropped_at = (self.dropped_at + 1) % DROPPED;
    }

    /// Whether that picture was dropped lately.
    pub(crate) fn is_dropped(&self, picture_id: u16) -> bool {
        self.dropped.contains(&Some(picture_id))
    }

    /// The offsets for a late packet, if a place was kept for it.
    pub(crate) fn find(&self, seq: u64) -> Option<Offsets> {
        if seq >= self.start {
            return (seq < self.end).then_some(self.offsets);
        }
        let range = self.closed.iter().rev().find(|range| range.start <= seq)?;
        (seq < range.end).then_some(range.offsets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_packets_close_the_gap_and_missing_ones_keep_their_place() {
        let mut mapping = Mapping::default();
        mapping.restart(100, Offsets { seq: 90, ..Offsets::default() });
        mapping.keep(100);
        // 101 is missing, 102 is dropped, 103 follows.
        mapping.drop_packet(102, false);
        assert_eq!(mapping.offsets().seq(103), 12);
        mapping.keep(103);
        assert_eq!(mapping.find(101).map(|offsets| offsets.seq(101)), Some(11));
        assert_eq!(mapping.find(102), None);
        assert_eq!(mapping.find(99), None);
    }

    #[test]
    fn packets_missing_inside_a_dropped_frame_are_dropped_with_it() {
        let mut mapping = Mapping::default();
        mapping.restart(5, Offsets::default());
        mapping.keep(5);
        mapping.drop_packet(6, false);
        mapping.drop_packet(9, true);
        assert_eq!(mapping.offsets().seq(10), 6);
        assert_eq!(mapping.find(7), None);
        assert_eq!(mapping.find(8), None);
    }

    #[test]
    fn a_gap_after_a_dropped_frame_keeps_its_place() {
        let mut mapping = Mapping::default();
        mapping.restart(5, Offsets::default());
        mapping.drop_packet(5, false);
        // 6 is missing, then comes the next frame.
        mapping.keep(7);
        assert_eq!(mapping.offsets().seq(7), 6);
        assert_eq!(mapping.find(6).map(|offsets| offsets.seq(6)), Some(5));
    }
}
