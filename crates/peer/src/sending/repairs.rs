//! Packets to send again: what was asked for, and how much of it may go out.
//!
//! A request costs its sender little and us a whole packet, so that repairs are bounded by a share of what is sent, and go
//! out a few at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::Role;

/// Repairs that may wait; a receiver asks again for what was not taken.
const MOST_WAITING: usize = 2048;
/// So many go out at once, and then so much later the next.
const AT_ONCE: usize = 32;
const PAUSE: Duration = Duration::from_millis(5);
/// The share of the bytes sent that may be repairs. A client has to make up for an outage of half a second.
const SHARE_OF_CLIENT: f64 = 0.5;
const SHARE_OF_SERVER: f64 = 0.2;
/// So many bytes may be saved up however little is sent, and otherwise what a second earns.
const LEAST_SAVINGS: f64 = 16_384.0;

/// A packet to send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repair {
    pub(crate) key: u64,
    pub(crate) ssrc: u32,
    pub(crate) seq: u64,
}

/// The repairs of a connection.
#[derive(Debug)]
pub(crate) struct Repairs {
    waiting: VecDeque<Repair>,
    share: f64,
    /// Bytes that may go out.
    savings: f64,
    /// Repairs that went out since `round`, when the last pause ended.
    gone: usize,
    round: Instant,
}

impl Repairs {
    pub(crate) fn new(role: Role, now: Instant) -> Self {
        let share = if role == Role::Client { SHARE_OF_CLIENT } else { SHARE_OF_SERVER };
        Repairs { waiting: VecDeque::new(), share, savings: LEAST_SAVINGS, gone: 0, round: now }
    }

    /// Notes that so many bytes were sent for the first time, at a rate of so many bits per second.
    pub(crate) fn earn(&mut self, bytes: usize, bitrate: f64) {
        let most = (bitrate / 8.0 * self.share).max(LEAST_SAVINGS);
        self.savings = (self.savings + bytes as f64 * self.share).min(most);
    }

    pub(crate) fn ask(&mut self, repair: Repair) {
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(repair);
        }
    }

    /// The next packet to send again now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Repair> {
        if now.saturating_duration_since(self.round) >= PAUSE {
            (self.round, self.gone) = (now, 0);
        }
        if self.savings <= 0.0 {
            // What is not sent now is asked for again if it is wanted still.
            self.waiting.clear();
        }
        if self.gone == AT_ONCE {
            return None;
        }
        let repair = self.waiting.pop_front()?;
        self.gone += 1;
        Some(repair)
    }

    pub(crate) fn spend(&mut self, bytes: usize) {
        self.savings -= bytes as f64;
    }

    /// When to look again.
    pub(crate) fn due(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.round + PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_are_a_share_of_what_is_sent_however_much_is_asked() {
        let mut now = Instant::now();
        let mut repairs = Repairs::new(Role::Server, now);
        let (mut sent, mut repaired, mut seq) = (0, 0, 0);
        for _ in 0..2_000 {
            now += Duration::from_millis(5);
            sent += 1000;
            repairs.earn(1000, 1_600_000.0);
            for _ in 0..200 {
                seq += 1;
                repairs.ask(Repair { key: 1, ssrc: 2, seq });
            }
            let mut at_once = 0;
            while repairs.next(now).is_some() {
                repairs.spend(1000);
                repaired += 1000;
                at_once += 1;
            }
            assert!(at_once <= AT_ONCE);
        }
        assert!(repaired > sent / 6 && repaired < sent / 5 + 50_000, "{repaired} of {sent}");
    }

    #[test]
    fn a_burst_goes_out_in_parts() {
        let mut now = Instant::now();
        let mut repairs = Repairs::new(Role::Client, now);
        (0..100).for_each(|seq| repairs.ask(Repair { key: 1, ssrc: 2, seq }));
        let mut parts = Vec::new();
        loop {
            let part = std::iter::from_fn(|| repairs.next(now)).count();
            parts.push(part);
            let Some(due) = repairs.due() else { break };
            assert!(due > now);
            now = due;
        }
        assert_eq!(parts, [AT_ONCE, AT_ONCE, AT_ONCE, 4]);
    }
}
