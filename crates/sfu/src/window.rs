//! Which sequence numbers of a stream have arrived.

/// Sequence numbers that a window looks back.
pub(crate) const WINDOW: u64 = 1024;

const WORDS: usize = (WINDOW / 64) as usize;

/// How a sequence number relates to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Beyond all earlier ones.
    Next,
    /// Fills a hole.
    Late,
    /// Was here before.
    Duplicate,
    /// Before the window.
    TooOld,
}

/// The last [`WINDOW`] sequence numbers of one stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Window {
    highest: Option<u64>,
    seen: [u64; WORDS],
}

impl Window {
    /// The highest sequence number so far.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// Forgets everything.
    pub(crate) fn reset(&mut self) {
        *self = Window::default();
    }

    /// Notes `seq` and says where it belongs.
    pub(crate) fn insert(&mut self, seq: u64) -> Order {
        let Some(highest) = self.highest else {
            self.highest = Some(seq);
            self.mark(seq);
            return Order::Next;
        };
        if seq > highest {
            if seq - highest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                (highest + 1..seq).for_each(|skipped| self.clear(skipped));
            }
            self.highest = Some(seq);
            self.mark(seq);
            return Order::Next;
        }
        if highest - seq >= WINDOW {
            return Order::TooOld;
        }
        if self.contains(seq) {
            return Order::Duplicate;
        }
        self.mark(seq);
        Order::Late
    }

    fn contains(&self, seq: u64) -> bool {
        let (word, bit) = place(seq);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    fn mark(&mut self, seq: u64) {
        let (word, bit) = place(seq);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
    }

    fn clear(&mut self, seq: u64) {
        let (word, bit) = place(seq);
        if let Some(word) = self.seen.get_mut(word) {
            *word &= !bit;
        }
    }
}

fn place(seq: u64) -> (usize, u64) {
    ((seq % WINDOW / 64) as usize, 1 << (seq % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_tells_new_late_duplicate_and_too_old_apart() {
        let mut window = Window::default();
        assert_eq!(window.insert(70_000), Order::Next);
        assert_eq!(window.insert(70_003), Order::Next);
        assert_eq!(window.insert(70_001), Order::Late);
        assert_eq!(window.insert(70_001), Order::Duplicate);
        assert_eq!(window.insert(70_003), Order::Duplicate);
        assert_eq!(window.insert(70_003 + WINDOW - 1), Order::Next);
        assert_eq!(window.insert(70_003), Order::Duplicate);
        assert_eq!(window.insert(70_002), Order::TooOld);
        assert_eq!(window.insert(70_004), Order::Late);
        assert_eq!(window.insert(170_000), Order::Next);
        assert_eq!(window.insert(169_999), Order::Late);
    }
}
