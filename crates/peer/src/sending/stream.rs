//! One outgoing stream: an SSRC, its retransmissions, and what is known of how they fare.

use std::time::{Duration, Instant};

use crate::sending::history::History;
use crate::sending::rtcp::{Reception, Sent};
use crate::sending::window::UsedNumbers;
use crate::{OutgoingStatistics, Rid, Role};

/// Sent packets that are kept to be sent again, and for how long.
const KEPT_BY_CLIENT: usize = 2000;
const KEPT_BY_SERVER: usize = 512;
const KEPT_FOR: Duration = Duration::from_secs(3);

/// A stream of a track.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) rid: Option<Rid>,
    pub(crate) ssrc: u32,
    /// The SSRC of retransmissions (RFC 4588).
    pub(crate) repair: Option<u32>,
    pub(crate) used: UsedNumbers,
    pub(crate) next_repair: u64,
    /// The other side has reported on it, so that it knows where it belongs.
    pub(crate) known: bool,
    pub(crate) repair_known: bool,
    pub(crate) history: History,
    /// The last timestamp, the instant that it belongs to, and the clock's rate in hertz.
    pub(crate) clock: Option<(u32, Instant, u32)>,
    pub(crate) figures: Figures,
}

/// What was sent, and what the other side said about it.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) nacks: u64,
    pub(crate) keyframe_requests: u64,
    pub(crate) rtt: Option<Duration>,
    /// Packets that the other side has asked for again since the last [`Figures::recent`].
    pub(crate) missed: u64,
    reception: Option<Reception>,
    /// Lost and expected packets by the reports since the last [`Figures::recent`].
    lost: (f32, u32),
    loss: Option<f32>,
    packets_before: u64,
}

impl Stream {
    pub(crate) fn new(role: Role, rid: Option<Rid>, ssrc: u32, repair: Option<u32>) -> Self {
        let most = if role == Role::Client { KEPT_BY_CLIENT } else { KEPT_BY_SERVER };
        Stream {
            rid,
            ssrc,
            repair,
            used: UsedNumbers::default(),
            next_repair: 1,
            known: false,
            repair_known: false,
            history: History::new(most, KEPT_FOR),
            clock: None,
            figures: Figures::default(),
        }
    }

    /// What a sender report made now says; `None` as long as nothing was sent.
    pub(crate) fn report(&self, now: Instant, cname: &str) -> Option<Sent> {
        let (timestamp, at, rate) = self.clock?;
        let ticks = now.saturating_duration_since(at).as_nanos() * u128::from(rate) / 1_000_000_000;
        Some(Sent {
            timestamp: timestamp.wrapping_add(ticks as u32),
            packets: self.figures.packets as u32,
            octets: self.figures.bytes as u32,
            cname: cname.to_owned(),
        })
    }

    /// Takes a report of the other side; `rtt` is the round trip that it shows.
    pub(crate) fn received(&mut self, reception: Reception, rtt: Option<Duration>) {
        if self.repair == Some(reception.ssrc) {
            self.repair_known = true;
            return;
        }
        self.known = true;
        self.figures.received(reception, rtt);
    }

    pub(crate) fn statistics(&self, key: u64) -> Option<OutgoingStatistics> {
        let figures = &self.figures;
        (figures.packets > 0).then(|| OutgoingStatistics {
            key,
            rid: self.rid,
            packets: figures.packets,
            bytes: figures.bytes,
            nacks: figures.nacks,
            keyframe_requests: figures.keyframe_requests,
            rtt: figures.rtt,
            loss: figures.loss,
            packets_lost: figures.reception.map(|reception| reception.lost),
            jitter: figures.reception.map(|reception| reception.jitter),
        })
    }
}

impl Figures {
    fn received(&mut self, reception: Reception, rtt: Option<Duration>) {
        self.rtt = rtt.or(self.rtt);
        if let Some(before) = self.reception.replace(reception) {
            let expected = reception.highest.wrapping_sub(before.highest);
            // A report that comes late is older than the one before.
            if expected < 1 << 31 {
                self.lost.0 += reception.lost_share * expected as f32;
                self.lost.1 += expected;
            }
        }
    }

    /// The share that was lost by the reports since the last call, and how many packets were sent since. What was asked for
    /// was lost too where `missed` counts: some receivers report only what was not repaired either.
    pub(crate) fn recent(&mut self, missed_counts: bool) -> (Option<f32>, u64) {
        let (lost, expected) = std::mem::take(&mut self.lost);
        let missed = std::mem::take(&mut self.missed);
        let sent = self.packets - std::mem::replace(&mut self.packets_before, self.packets);
        self.loss = (expected > 0).then(|| lost / expected as f32);
        if missed_counts && missed > 0 && sent > 0 {
            self.loss = Some(self.loss.unwrap_or(0.0).max(missed as f32 / sent as f32).min(1.0));
        }
        (self.loss, sent)
    }
}
