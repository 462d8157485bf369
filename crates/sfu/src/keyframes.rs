//! When to ask a publisher for a key frame of one layer.

use crate::clock::Micros;

/// Least time between two requests, whatever is asked for.
const MIN_INTERVAL: Micros = 500_000;
/// Longest wait before asking again for a key frame that does not come.
const MAX_INTERVAL: Micros = 4_000_000;

/// Merges what all subscribers ask for into few requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyframeRequester {
    last: Option<Micros>,
    due: Option<Micros>,
    unanswered: u32,
}

impl KeyframeRequester {
    /// Somebody needs a key frame. True: ask now. Otherwise it is asked for later, when [`Self::due`] says so.
    pub(crate) fn request(&mut self, now: Micros) -> bool {
        if self.due.is_some() && self.unanswered > 0 {
            // Asked already: the next attempt is planned, but must not wait for the full back-off of a stale one.
            self.due = self.due.map(|due| due.min(self.earliest(now)));
            return false;
        }
        let earliest = self.earliest(now);
        if earliest <= now {
            self.ask(now);
            return true;
        }
        self.due = Some(earliest);
        false
    }

    /// When to call [`Self::retry`].
    pub(crate) fn due(&self) -> Option<Micros> {
        self.due
    }

    /// Time has come. `needed`: somebody waits for a key frame. True: ask now.
    pub(crate) fn retry(&mut self, now: Micros, needed: bool) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        // Nothing unanswered: this is a request that was put off, and stands.
        if !needed && self.unanswered > 0 {
            self.due = None;
            self.unanswered = 0;
            return false;
        }
        self.ask(now);
        true
    }

    /// A key frame has come, or the layer started anew.
    pub(crate) fn satisfied(&mut self) {
        self.due = None;
        self.unanswered = 0;
    }

    fn ask(&mut self, now: Micros) {
        self.last = Some(now);
        let wait = MIN_INTERVAL << self.unanswered.min(3);
        self.due = Some(now + wait.min(MAX_INTERVAL));
        self.unanswered += 1;
    }

    fn earliest(&self, now: Micros) -> Micros {
        self.last.map_or(now, |last| now.max(last + MIN_INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_requests_in_a_second_become_two() {
        let mut requester = KeyframeRequester::default();
        let mut asked = 0;
        for at in (0..1_000_000).step_by(1_000) {
            asked += u32::from(requester.request(at));
            if requester.due().is_some_and(|due| due <= at) {
                asked += u32::from(requester.retry(at, true));
            }
            if at % 100_000 == 50_000 {
                requester.satisfied();
            }
        }
        assert_eq!(asked, 2);
    }

    #[test]
    fn unanswered_requests_back_off() {
        let mut requester = KeyframeRequester::default();
        assert!(requester.request(0));
        let mut asked = Vec::new();
        while let Some(due) = requester.due().filter(|&due| due < 20_000_000) {
            assert!(requester.retry(due, true));
            asked.push(due);
        }
        assert_eq!(asked, [500_000, 1_500_000, 3_500_000, 7_500_000, 11_500_000, 15_500_000, 19_500_000]);
    }

    #[test]
    fn nobody_waiting_ends_the_attempts() {
        let mut requester = KeyframeRequester::default();
        assert!(requester.request(0));
        assert!(!requester.retry(500_000, false));
        assert_eq!(requester.due(), None);
    }
}
