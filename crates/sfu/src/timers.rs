//! The room's timers, each with a name.

use crate::clock::Micros;

/// What a room wakes up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Report who speaks.
    Speakers,
    /// Ask again for a key frame, or for the first time after holding back.
    Keyframes,
    /// See whether a simulcast layer has ceased to arrive.
    Liveness,
    /// Share out limited bandwidth by what the layers cost now.
    Allocation,
    /// Send the next packet of silence.
    Silence,
    /// Start subscribers at a key frame that has gone by already.
    Replay,
}

/// All timers.
pub(crate) const TIMERS: [Timer; 6] =
    [Timer::Speakers, Timer::Keyframes, Timer::Liveness, Timer::Allocation, Timer::Silence, Timer::Replay];

/// When each timer fires.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timers {
    due: [Option<Micros>; TIMERS.len()],
}

impl Timers {
    /// Fires at `at`, or earlier if that was planned.
    pub(crate) fn arm(&mut self, timer: Timer, at: Micros) {
        if let Some(due) = self.due.get_mut(timer as usize) {
            *due = Some(due.map_or(at, |due| due.min(at)));
        }
    }

    /// Fires at `at` unless it is planned for another time.
    pub(crate) fn arm_if_idle(&mut self, timer: Timer, at: Micros) {
        if let Some(due) = self.due.get_mut(timer as usize) {
            due.get_or_insert(at);
        }
    }

    /// Disarms and returns a timer that is due.
    pub(crate) fn pop(&mut self, now: Micros) -> Option<Timer> {
        TIMERS
            .into_iter()
            .find(|&timer| self.due.get_mut(timer as usize).is_some_and(|due| due.take_if(|due| *due <= now).is_some()))
    }

    /// The earliest of all.
    pub(crate) fn next(&self) -> Option<Micros> {
        self.due.iter().flatten().min().copied()
    }
}
