//! One subscriber of one track: which packets it gets, and with which numbers.

use std::time::Instant;

use greenroom_media::rtp::vp8;

use crate::clock::{Micros, low32, scale};
use crate::layer::{Arrival, Source};
use crate::mapping::{Mapping, Offsets, difference, successor};
use crate::recent::MAX_AGE;
use crate::types::{Codec, PeerId, SubscriberCodecs, SubscriptionSettings};

/// A new source's media time is trusted over the time that has passed, unless they differ by more than this.
const MAX_DRIFT: Micros = 1_000_000;
/// The same after a pause or mute: media clocks may have stopped meanwhile.
const MAX_PAUSE_DRIFT: Micros = 200_000;
/// A subscriber that sees another layer already is not taken back further than this.
const MAX_SWITCH_AGE: Micros = 150_000;
/// Packets of silence after the sound stops, 20 ms each.
const SILENCE: u8 = 10;
/// Duration of one of them in ticks of 48 kHz.
const SILENCE_TICKS: i64 = 960;
const SILENCE_INTERVAL: Micros = 20_000;

/// The numbers that a packet is sent with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) seq: u64,
    pub(crate) timestamp: u32,
    pub(crate) vp8: Option<vp8::Ids>,
    /// Send an empty payload in its place.
    pub(crate) filler: bool,
}

/// State of one subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) subscriber: PeerId,
    pub(crate) codecs: SubscriberCodecs,
    /// The layer being forwarded.
    pub(crate) layer: Option<usize>,
    /// The layer to forward.
    pub(crate) target: Option<usize>,
    /// Neither paused, nor muted, nor starved.
    pub(crate) flowing: bool,
    /// Highest temporal layer to forward.
    pub(crate) max_temporal: u8,
    pub(crate) settings: SubscriptionSettings,
    /// Paused for want of bandwidth.
    pub(crate) starved: bool,
    /// Highest rank that the bandwidth allows.
    pub(crate) max_rank: usize,
    /// Packets of silence still to send.
    pub(crate) silence: u8,
    source: Source,
    mapping: Mapping,
    /// Published ticks minus forwarded ticks.
    tick_offset: u64,
    next_seq: u64,
    /// Ticks by which the timeline runs ahead of the capture times.
    ahead: i64,
    last: Option<Last>,
    first_ticks: u64,
    ids: Option<vp8::Ids>,
    temporal: u8,
    frame: Option<u64>,
    frame_dropped: bool,
    /// The sound or picture was interrupted since the last packet.
    interrupted: bool,
}

/// The latest packet sent.
#[derive(Debug, Clone, Copy)]
struct Last {
    ticks: u64,
    capture: Micros,
    sent: Micros,
    codec: Codec,
    /// Where it came from, if the source is still the same.
    origin: Option<(usize, Source, u64)>,
}

impl Subscription {
    /// A subscription that sends its first packet as `seq` at about `ticks`.
    pub(crate) fn new(subscriber: PeerId, codecs: SubscriberCodecs, seq: u64, ticks: u64) -> Subscription {
        Subscription {
            subscriber,
            codecs,
            layer: None,
            target: None,
            flowing: true,
            max_temporal: u8::MAX,
            settings: SubscriptionSettings::default(),
            starved: false,
            max_rank: usize::MAX,
            silence: 0,
            source: Source::default(),
            mapping: Mapping::default(),
            tick_offset: 0,
            next_seq: seq,
            ahead: 0,
            last: None,
            first_ticks: ticks,
            ids: None,
            temporal: 0,
            frame: None,
            frame_dropped: false,
            interrupted: false,
        }
    }

    /// Whether `arrival` continues what is being forwarded.
    pub(crate) fn follows(&self, arrival: &Arrival<'_>) -> bool {
        self.is_on(arrival.layer, arrival.source)
    }

    /// Whether it forwards this very source.
    pub(crate) fn is_on(&self, layer: usize, source: Source) -> bool {
        self.layer == Some(layer) && self.source.generation == source.generation
    }

    /// How old a key frame it may be started with.
    pub(crate) fn replay_age(&self) -> Micros {
        if self.layer.is_none() { MAX_AGE } else { MAX_SWITCH_AGE }
    }

    /// Nothing more is sent until [`Self::begin`].
    pub(crate) fn interrupt(&mut self) {
        if self.layer.take().is_some() {
            self.interrupted = true;
        }
    }

    /// Plans the silence that follows interrupted sound.
    pub(crate) fn plan_silence(&mut self) {
        let opus = self.last.is_some_and(|last| matches!(last.codec, Codec::Opus | Codec::Red));
        if opus && self.codecs.accepts(Codec::Opus) {
            self.silence = SILENCE;
        }
    }

    /// When the next packet of silence is to be sent.
    pub(crate) fn silence_due(&self) -> Option<Micros> {
        self.last.filter(|_| self.silence > 0).map(|last| last.sent + SILENCE_INTERVAL)
    }

    /// Makes `arrival`, in order, the next packet of the forwarded stream. It is then given to [`Self::accept`].
    pub(crate) fn begin(&mut self, now: Micros, arrival: &Arrival<'_>) {
        let ticks = self.next_ticks(now, arrival);
        self.tick_offset = arrival.ticks.wrapping_sub(ticks);
        let published = arrival.info.vp8.map(|descriptor| descriptor.ids());
        let ids = published.map_or(vp8::Ids::default(), |ids| {
            self.ids.map_or(vp8::Ids::default(), |last| difference(ids, successor(last)))
        });
        let seq = arrival.seq.wrapping_sub(self.next_seq);
        self.mapping.restart(arrival.seq, Offsets { seq, ids });
        self.layer = Some(arrival.layer);
        self.source = arrival.source;
        self.temporal = self.max_temporal;
        self.frame = None;
        self.interrupted = false;
        self.silence = 0;
    }

    /// The numbers for a packet that [`Self::follows`], or `None` when it is not to be sent.
    #[inline]
    pub(crate) fn accept(&mut self, now: Micros, arrival: &Arrival<'_>) -> Option<Stamp> {
        if arrival.late {
            return self.accept_late(now, arrival);
        }
        if arrival.source.timeline != self.source.timeline {
            self.rebase(now, arrival);
        }
        if arrival.payload.is_empty() {
            self.mapping.drop_packet(arrival.seq, false);
            return None;
        }
        let same_frame = self.frame == Some(arrival.ticks);
        if self.is_above_temporal(arrival, same_frame) {
            self.mapping.drop_packet(arrival.seq, same_frame);
            let picture = arrival.info.vp8.and_then(|descriptor| descriptor.picture_id);
            if let Some(picture) = picture.filter(|_| !same_frame) {
                self.mapping.drop_picture(picture.value);
            }
            return None;
        }
        let offsets = self.mapping.offsets();
        self.mapping.keep(arrival.seq);
        let stamp = self.stamp(arrival, offsets);
        self.note(now, arrival, &stamp);
        Some(stamp)
    }

    /// The numbers and the capture time for one packet of silence; `None` when it is not time for one yet.
    pub(crate) fn accept_silence(&mut self, now: Micros) -> Option<(Stamp, Micros)> {
        let last = self.last.as_mut().filter(|_| self.silence > 0)?;
        // Whole steps of the stream's own time: a packet stamped earlier or later than it is sent would look like
        // jitter to the receiver, and add up over many mutes.
        let steps = (now - last.sent) / SILENCE_INTERVAL;
        if steps < 1 {
            return None;
        }
        self.silence -= 1;
        last.ticks = last.ticks.wrapping_add_signed(steps * SILENCE_TICKS);
        last.capture += steps * SILENCE_INTERVAL;
        last.sent += steps * SILENCE_INTERVAL;
        last.origin = None;
        let seq = self.next_seq;
        self.next_seq += 1;
        Some((Stamp { seq, timestamp: low32(last.ticks), vp8: None, filler: false }, last.capture))
    }

    fn accept_late(&mut self, now: Micros, arrival: &Arrival<'_>) -> Option<Stamp> {
        if arrival.source.timeline != self.source.timeline {
            return None;
        }
        let offsets = self.mapping.find(arrival.seq)?;
        let mut stamp = self.stamp(arrival, offsets);
        let picture = arrival.info.vp8.and_then(|descriptor| descriptor.picture_id);
        // Packets of a frame whose other packets were dropped are of no use, but their place was kept.
        if arrival.payload.is_empty() || picture.is_some_and(|picture| self.mapping.is_dropped(picture.value)) {
            stamp.filler = true;
            stamp.vp8 = None;
        }
        // Everything after it was dropped: it is the newest that was sent.
        if stamp.seq >= self.next_seq {
            self.note(now, arrival, &stamp);
        }
        Some(stamp)
    }

    /// Remembers the newest packet sent, for what follows it.
    #[inline]
    fn note(&mut self, now: Micros, arrival: &Arrival<'_>, stamp: &Stamp) {
        self.next_seq = stamp.seq + 1;
        if let Some(ids) = stamp.vp8 {
            self.ids = Some(ids);
        }
        self.last = Some(Last {
            ticks: arrival.ticks.wrapping_sub(self.tick_offset),
            capture: arrival.capture,
            sent: now,
            codec: arrival.codec,
            origin: Some((arrival.layer, self.source, arrival.ticks)),
        });
    }

    fn stamp(&self, arrival: &Arrival<'_>, offsets: Offsets) -> Stamp {
        Stamp {
            seq: offsets.seq(arrival.seq),
            timestamp: low32(arrival.ticks.wrapping_sub(self.tick_offset)),
            vp8: arrival.info.vp8.map(|descriptor| offsets.ids(descriptor.ids())),
            filler: false,
        }
    }

    /// Timestamps jumped within the source: numbers go on, time is anchored anew.
    fn rebase(&mut self, now: Micros, arrival: &Arrival<'_>) {
        let ticks = self.next_ticks(now, arrival);
        self.tick_offset = arrival.ticks.wrapping_sub(ticks);
        self.source = arrival.source;
    }

    /// Whether the frame of `arrival` is of a temporal layer that the subscriber is not to get.
    fn is_above_temporal(&mut self, arrival: &Arrival<'_>, same_frame: bool) -> bool {
        if same_frame {
            return self.frame_dropped;
        }
        self.frame = Some(arrival.ticks);
        self.frame_dropped = false;
        let Some(temporal) = arrival.info.temporal.filter(|_| arrival.info.vp8.is_some()) else {
            return false;
        };
        self.temporal = self.temporal.min(self.max_temporal);
        if arrival.info.key_frame {
            self.temporal = self.max_temporal;
        } else if arrival.info.layer_sync && temporal <= self.max_temporal {
            self.temporal = self.temporal.max(temporal);
        }
        self.frame_dropped = temporal > self.temporal;
        self.frame_dropped
    }

    /// The forwarded ticks of the first packet of a source: as much after the last packet as it was captured after
    /// that, and always after it. A source that lags behind the one before pushes the timeline ahead; the next change
    /// of source takes that back, so that it does not add up.
    fn next_ticks(&mut self, now: Micros, arrival: &Arrival<'_>) -> u64 {
        let Some(last) = self.last else {
            return self.first_ticks;
        };
        let rate = i64::from(arrival.codec.clock_rate());
        let passed = now - last.sent;
        let same = last.origin.filter(|&(layer, source, _)| layer == arrival.layer && source == arrival.source);
        let (advance, captured) = match same {
            Some((_, _, ticks)) => {
                let advance = arrival.ticks.wrapping_sub(ticks).cast_signed();
                (advance, scale(advance, 1_000_000, rate))
            }
            None => {
                let captured = arrival.capture - last.capture;
                (scale(captured, rate, 1_000_000), captured)
            }
        };
        let tolerance = if self.interrupted { MAX_PAUSE_DRIFT } else { MAX_DRIFT };
        let trusted = captured.saturating_sub(passed).saturating_abs() <= tolerance;
        let advance = if trusted { advance - self.ahead } else { scale(passed, rate, 1_000_000) };
        self.ahead = 1.max(advance) - advance;
        last.ticks.wrapping_add_signed(advance.max(1))
    }
}

/// `at` microseconds after `origin`.
pub(crate) fn instant(origin: Instant, at: Micros) -> Instant {
    let distance = std::time::Duration::from_micros(at.unsigned_abs());
    if at < 0 { origin.checked_sub(distance).unwrap_or(origin) } else { origin.checked_add(distance).unwrap_or(origin) }
}
