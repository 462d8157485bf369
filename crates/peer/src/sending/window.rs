//! Which sequence numbers of a stream were used: none may be used twice with one key.

/// How far behind the highest number another one may come.
const SPAN: u64 = 1024;
const WORDS: usize = (SPAN / 64) as usize;

/// The numbers used among the last [`SPAN`].
#[derive(Debug, Default)]
pub(crate) struct UsedNumbers {
    /// One more than the highest.
    next: u64,
    /// A bit for each, at its number modulo [`SPAN`].
    bits: [u64; WORDS],
}

impl UsedNumbers {
    /// Uses a number; `false` if it was used before, or is so old that nobody knows.
    pub(crate) fn claim(&mut self, number: u64) -> bool {
        if number + SPAN < self.next {
            return false;
        }
        if number >= self.next + SPAN {
            self.bits = [0; WORDS];
            self.next = number + 1;
        }
        while self.next <= number {
            let (word, bit) = place(self.next);
            self.bits[word] &= !bit;
            self.next += 1;
        }
        let (word, bit) = place(number);
        let fresh = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        fresh
    }
}

fn place(number: u64) -> (usize, u64) {
    ((number / 64) as usize % WORDS, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_used_once_whatever_the_order() {
        let mut used = UsedNumbers::default();
        assert!(used.claim(5) && used.claim(3) && used.claim(4));
        assert!(!used.claim(5) && !used.claim(3));
        assert!(used.claim(5 + SPAN - 1) && !used.claim(5));
        assert!(used.claim(6) && !used.claim(6), "in the window still");
        assert!(used.claim(1_000_000) && !used.claim(1_000_000));
        assert!(!used.claim(1_000_000 - SPAN), "too old to know");
        assert!(used.claim(1_000_000 - SPAN + 1));
    }

    #[test]
    fn a_long_run_with_reordering_never_repeats() {
        let mut used = UsedNumbers::default();
        let mut seen = std::collections::HashSet::new();
        let mut seed = 7_u64;
        for step in 0..300_000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let number = (step + (seed >> 33) % 3000).saturating_sub(1500);
            assert!(!used.claim(number) || seen.insert(number), "{number} twice");
        }
        assert!(seen.len() > 50_000);
    }
}
