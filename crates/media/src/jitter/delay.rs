use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How far back arrivals count.
const WINDOW: Duration = Duration::from_secs(8);
/// Arrivals that are remembered at most, and between two looks at their distribution.
const MAX_ARRIVALS: usize = 512;
const REFRESH: u32 = 8;
/// Share of packets that the delay is to cover, in 1/1000. The rest is cheaper to stretch over than to wait for.
const COVERED: usize = 970;
/// What is added to the measured jitter, since a packet must have arrived before it is needed.
const MARGIN_US: i64 = 3_000;
/// Most extra delay that a single late packet teaches, how long it is kept, and how fast it then goes away: one
/// microsecond in so many.
const MAX_LESSON_US: i64 = 40_000;
const KEEP_LESSON: Duration = Duration::from_secs(2);
const RELAX: i64 = 32;

/// Measures how irregularly packets arrive, and says how long the earliest one should be held.
///
/// All delays are relative to the fastest packet of the last seconds, so that neither clock needs to be right.
#[derive(Debug)]
pub(super) struct DelayEstimator {
    min_us: i64,
    max_us: i64,
    /// (arrival, arrival minus media time), oldest first.
    arrivals: VecDeque<(Instant, i64)>,
    since_refresh: u32,
    base_us: i64,
    steady_us: i64,
    /// Delay beyond `steady_us` that a recent underrun taught, and when.
    lesson: Option<(Instant, i64)>,
}

impl DelayEstimator {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        let min_us = min.as_micros() as i64;
        Self {
            min_us,
            max_us: (max.as_micros() as i64).max(min_us),
            arrivals: VecDeque::new(),
            since_refresh: 0,
            base_us: 0,
            steady_us: min_us,
            lesson: None,
        }
    }

    /// A packet arrived; `transit_us` is arrival minus media time, each from any fixed origin.
    pub(super) fn arrived(&mut self, now: Instant, transit_us: i64) {
        let first = self.arrivals.is_empty();
        while self.arrivals.len() >= MAX_ARRIVALS
            || self.arrivals.front().is_some_and(|(then, _)| now.saturating_duration_since(*then) > WINDOW)
        {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((now, transit_us));
        self.since_refresh += 1;
        if first || transit_us < self.base_us || self.since_refresh >= REFRESH {
            self.refresh();
        }
    }

    /// A packet came `late_us` after it was needed: wait longer at once.
    pub(super) fn late(&mut self, now: Instant, late_us: i64) {
        let extra = self.target_us(now) + late_us - self.steady_us;
        self.lesson = Some((now, extra.min(MAX_LESSON_US)));
    }

    /// How long the fastest packet should be held before it is played.
    pub(super) fn target_us(&self, now: Instant) -> i64 {
        let extra = self.lesson.map_or(0, |(then, extra)| {
            let fading = now.saturating_duration_since(then).saturating_sub(KEEP_LESSON);
            extra - fading.as_micros() as i64 / RELAX
        });
        (self.steady_us + extra.max(0)).clamp(self.min_us, self.max_us)
    }

    /// Transit of the fastest packet.
    pub(super) fn base_us(&self) -> i64 {
        self.base_us
    }

    fn refresh(&mut self) {
        self.since_refresh = 0;
        let mut transits: Vec<i64> = self.arrivals.iter().map(|(_, transit)| *transit).collect();
        let Some(base) = transits.iter().copied().min() else { return };
        let rank = (transits.len() * COVERED / 1000).min(transits.len() - 1);
        let (_, covered, _) = transits.select_nth_unstable(rank);
        self.base_us = base;
        self.steady_us = (*covered - base + MARGIN_US).clamp(self.min_us, self.max_us);
    }
}
