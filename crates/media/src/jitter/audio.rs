//! A delay buffer for one Opus stream that adapts to the jitter of arrival.
//!
//! The buffer decides, each time the decoder runs out of audio, what it is to do next: decode a packet, repair or
//! conceal a lost one, stretch or shrink, or be silent. It holds packets only as long as the arrival jitter of the last
//! seconds demands.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::delay::DelayEstimator;

/// RTP clock of Opus, whatever the audio's own rate.
pub const CLOCK_RATE: u32 = 48_000;
/// Samples that are concealed in one go.
pub const STEP: u32 = CLOCK_RATE / 100;
/// Longest packet that in-band FEC can restore, and longest one at all, in samples.
const MAX_FEC: i64 = 2_880;
const MAX_PACKET: u32 = 5_760;
/// Longest concealment of a stream that stopped without a word; then it counts as over.
const MAX_UNDERRUN: i64 = 100 * 48;
/// The same for a stream in DTX, which speaks up every 400 ms.
const MAX_DTX_UNDERRUN: i64 = 1_000 * 48;
/// Steps in media time and sequence number by which a stream counts as a new one.
const RESTART: i64 = 10 * 48_000;
const MAX_SEQ_STEP: u64 = 3_000;
/// Packets played or given up whose second copies are recognised.
const RECENT: usize = 32;
/// The decoder's smallest unit.
const FEC_UNIT: i64 = 120;
/// What one call of [`AudioJitter::next`] and the next one are apart: packets can wait that much longer or shorter.
const STEP_US: i64 = 10_000;
/// How much less than the target a packet may wait, rather than [`STEP_US`] longer, and before audio is lengthened.
const EARLY_US: i64 = 2_500;
const SHORTAGE_US: i64 = 5_500;
/// Excess that is cut out at once rather than shortened away.
const JUMP_US: i64 = 400_000;
/// Packets between two adjustments, unless the excess is large.
const ADJUST_EVERY: u32 = 4;
const LARGE_EXCESS_US: i64 = 60_000;

/// Limits of the delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Shortest time that the fastest packet is held.
    pub min_delay: Duration,
    /// Longest time that it is held, whatever the jitter.
    pub max_delay: Duration,
    /// Packets that are held at most.
    pub max_packets: usize,
}

impl Default for Config {
    /// From half a packet to half a second.
    fn default() -> Self {
        Self { min_delay: Duration::from_millis(10), max_delay: Duration::from_millis(500), max_packets: 400 }
    }
}

/// What to do with the decoded audio so that the delay moves towards its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjust {
    /// Play it as it is.
    Keep,
    /// Leave a period out if that cannot be heard.
    Shrink {
        /// Longest period, in samples.
        most: u32,
        /// The delay is far too long: do it even if it can be heard.
        must: bool,
    },
    /// Repeat a period.
    Stretch,
}

/// What comes next. Durations are in samples at 48 kHz.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Decode this packet.
    Decode {
        /// One Opus packet.
        payload: Bytes,
        /// What to do with the result.
        adjust: Adjust,
    },
    /// Restore the packet before this one from the copy in it. The packet itself comes at the next call.
    DecodeFec {
        /// The Opus packet behind the lost one.
        payload: Bytes,
        /// Length of the lost packet.
        samples: u32,
    },
    /// Continue the audio without data.
    Conceal {
        /// For how long.
        samples: u32,
    },
    /// There is no stream now.
    Silence {
        /// For how long.
        samples: u32,
    },
}

/// What has happened so far, in packets unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Packets taken.
    pub received: u64,
    /// Packets decoded.
    pub played: u64,
    /// Packets that came after their audio was concealed.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Packets thrown away to shorten the delay.
    pub skipped: u64,
    /// Lost packets restored from the next one.
    pub restored: u64,
    /// Samples concealed because packets were lost or late.
    pub concealed_samples: u64,
    /// Times that the stream began anew.
    pub restarts: u64,
}

#[derive(Debug)]
struct Packet {
    media_time: i64,
    /// Arrival minus media time.
    transit_us: i64,
    duration: u32,
    payload: Bytes,
}

/// Where the player is.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// The packet that comes next, and the media time that it should have.
    seq: u64,
    media_time: i64,
    /// Samples concealed since there was nothing left to play.
    owed: i64,
    /// The last packet said that a pause follows.
    pausing: bool,
}

/// The last packet in the sender's order.
#[derive(Debug, Clone, Copy)]
struct Newest {
    seq: u64,
    timestamp: u32,
    media_time: i64,
}

/// The packets of one stream that are not played yet.
#[derive(Debug)]
pub struct AudioJitter {
    config: Config,
    delay: DelayEstimator,
    packets: BTreeMap<u64, Packet>,
    position: Option<Position>,
    origin: Option<Instant>,
    newest: Option<Newest>,
    first_seq: Option<u64>,
    /// Sequence numbers played or given up last, by which a second copy is known.
    recent: VecDeque<u64>,
    since_adjust: u32,
    /// Packets played before this stream began.
    played_before: u64,
    statistics: Statistics,
}

impl AudioJitter {
    /// Start without packets.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            delay: DelayEstimator::new(config.min_delay, config.max_delay),
            packets: BTreeMap::new(),
            position: None,
            origin: None,
            newest: None,
            first_seq: None,
            recent: VecDeque::new(),
            since_adjust: 0,
            played_before: 0,
            statistics: Statistics::default(),
        }
    }

    /// Take a packet. `seq` is the extended sequence number; what is no Opus packet is ignored.
    pub fn insert(&mut self, seq: u64, timestamp: u32, payload: Bytes, now: Instant) {
        let Some(duration) = packet_duration(&payload).filter(|_| seq < u64::MAX) else { return };
        let media_time = self.unwrap_timestamp(seq, timestamp);
        if seq < *self.first_seq.get_or_insert(seq) {
            // Sent before there was anybody to receive it: this copy came no later than it should.
            self.statistics.skipped += 1;
            return;
        }
        if self.packets.contains_key(&seq) || self.recent.contains(&seq) {
            self.statistics.duplicate += 1;
            return;
        }
        self.statistics.received += 1;
        let origin = *self.origin.get_or_insert(now);
        let transit_us = now.saturating_duration_since(origin).as_micros() as i64 - to_us(media_time);
        self.delay.arrived(now, transit_us);
        let packet = Packet { media_time, transit_us, duration, payload };
        if self.position.is_some_and(|position| position.has_passed(seq, &packet)) {
            self.learn(now, transit_us);
            self.statistics.late += 1;
            return remember(&mut self.recent, seq);
        }
        self.packets.insert(seq, packet);
        while self.packets.len() > self.config.max_packets {
            self.packets.pop_first();
            self.statistics.skipped += 1;
        }
    }

    /// Say what to play next. `pending` is how long the audio is that was decoded and not played yet.
    pub fn next(&mut self, now: Instant, pending: Duration) -> Next {
        // What is pending only adds to the delay: time without audio of its own ends with what is asked for.
        let pending = to_samples(pending).min(i64::from(STEP - 1));
        let rest = (STEP - pending as u32).next_multiple_of(FEC_UNIT as u32);
        if self.position.is_none() && !self.begin(now) {
            return Next::Silence { samples: rest };
        }
        self.drop_overtaken();
        self.drop_excess(now);
        let Some(mut position) = self.position else { return Next::Silence { samples: rest } };
        let Some((&seq, head)) = self.packets.first_key_value() else { return self.underrun(position, rest) };
        let mut ahead = (head.media_time - position.media_time).max(0);
        if seq == position.seq {
            if ahead == 0 || self.is_due(now, head.media_time) {
                self.play(now, pending)
            } else {
                self.pause(position, rest)
            }
        } else {
            if position.owed > 0 && may_carry_fec(&head.payload) {
                // Had the lost packet been due a little later, this one could have restored it.
                let transit_us = head.transit_us + to_us(ahead);
                self.learn(now, transit_us);
            }
            // What was concealed while nothing was there stands for what is missing.
            let paid = position.owed.min(ahead);
            ahead -= paid;
            position = Position { media_time: position.media_time + paid, owed: 0, ..position };
            self.position = Some(position);
            if ahead == 0 { self.play(now, pending) } else { self.bridge(now, position, seq, ahead) }
        }
    }

    /// How long the fastest packet is held.
    pub fn target_delay(&self, now: Instant) -> Duration {
        Duration::from_micros(self.delay.target_us(now).max(0) as u64)
    }

    /// How long the fastest packet would have been held if the next one were played now; `None` while nothing plays.
    pub fn delay(&self, now: Instant) -> Option<Duration> {
        let late = self.lateness_us(now, self.position?.media_time);
        Some(Duration::from_micros(late.max(0) as u64))
    }

    /// Counters.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Media time since the stream began; begins a new stream when the numbers jump.
    fn unwrap_timestamp(&mut self, seq: u64, timestamp: u32) -> i64 {
        let Some(newest) = self.newest else {
            self.newest = Some(Newest { seq, timestamp, media_time: 0 });
            return 0;
        };
        let step = i64::from(timestamp.wrapping_sub(newest.timestamp).cast_signed());
        if step.abs() > RESTART || seq.abs_diff(newest.seq) > MAX_SEQ_STEP {
            self.statistics.restarts += 1;
            self.played_before = self.statistics.played;
            self.packets.clear();
            self.recent.clear();
            self.position = None;
            self.origin = None;
            self.first_seq = None;
            self.delay = DelayEstimator::new(self.config.min_delay, self.config.max_delay);
            self.newest = Some(Newest { seq, timestamp, media_time: 0 });
            return 0;
        }
        let media_time = newest.media_time + step;
        if seq > newest.seq {
            self.newest = Some(Newest { seq, timestamp, media_time });
        }
        media_time
    }

    /// How long the fastest packet of this media time would have been held by `now`.
    fn lateness_us(&self, now: Instant, media_time: i64) -> i64 {
        let elapsed = self.origin.map_or(0, |origin| now.saturating_duration_since(origin).as_micros() as i64);
        elapsed - to_us(media_time) - self.delay.base_us()
    }

    /// Whether a packet of this media time has waited long enough.
    fn is_due(&self, now: Instant, media_time: i64) -> bool {
        self.lateness_us(now, media_time) >= self.delay.target_us(now) - EARLY_US
    }

    /// Something was needed before it arrived, `transit_us` after its media time.
    fn learn(&mut self, now: Instant, transit_us: i64) {
        let short = transit_us - self.delay.base_us() - self.delay.target_us(now) + EARLY_US;
        if short > 0 {
            self.delay.late(now, short);
        }
    }

    fn begin(&mut self, now: Instant) -> bool {
        if self.statistics.played == self.played_before {
            // What came before the first packet that is just in time (redundant copies, a burst) would only add delay.
            self.skip_overdue(now);
        }
        let Some((&seq, head)) = self.packets.first_key_value() else { return false };
        if !self.is_due(now, head.media_time) {
            return false;
        }
        self.position = Some(Position { seq, media_time: head.media_time, owed: 0, pausing: false });
        true
    }

    /// Forget packets whose time was filled with something else.
    fn drop_overtaken(&mut self) {
        let Some(position) = &mut self.position else { return };
        while let Some(entry) = self.packets.first_entry()
            && position.has_passed(*entry.key(), entry.get())
        {
            position.seq = position.seq.max(entry.key() + 1);
            remember(&mut self.recent, *entry.key());
            entry.remove();
            self.statistics.late += 1;
        }
    }

    /// After a long stall, go straight to the packet that is due.
    fn drop_excess(&mut self, now: Instant) {
        let Some(position) = self.position else { return };
        let target = self.delay.target_us(now);
        if self.lateness_us(now, position.media_time) - target <= JUMP_US {
            return;
        }
        self.skip_overdue(now);
        if let Some((&seq, head)) = self.packets.first_key_value() {
            self.position = Some(Position { seq, media_time: head.media_time, owed: 0, pausing: false });
        }
    }

    /// Forget packets behind which another one is due already.
    fn skip_overdue(&mut self, now: Instant) {
        while self.packets.values().nth(1).is_some_and(|second| self.is_due(now, second.media_time)) {
            self.packets.pop_first();
            self.statistics.skipped += 1;
        }
    }

    fn play(&mut self, now: Instant, pending: i64) -> Next {
        let Some((seq, packet)) = self.packets.pop_first() else { return Next::Silence { samples: STEP } };
        if self.position.is_some_and(|position| position.owed > 0 && position.seq == seq && !position.pausing) {
            self.learn(now, packet.transit_us);
        }
        let adjust = self.adjust(now, packet.media_time, pending);
        self.statistics.played += 1;
        remember(&mut self.recent, seq);
        self.position = Some(Position {
            seq: seq + 1,
            media_time: packet.media_time + i64::from(packet.duration),
            owed: 0,
            pausing: packet.payload.len() <= 2,
        });
        Next::Decode { payload: packet.payload, adjust }
    }

    /// How to bring the time that packets wait nearer to its target. Shortening by no more than what is pending only
    /// takes delay away; by more, later packets are needed a step earlier.
    fn adjust(&mut self, now: Instant, media_time: i64, pending: i64) -> Adjust {
        let excess = self.lateness_us(now, media_time) - self.delay.target_us(now);
        let must = excess > LARGE_EXCESS_US;
        self.since_adjust += 1;
        if self.since_adjust < ADJUST_EVERY && !must {
            return Adjust::Keep;
        }
        let adjust = match excess + EARLY_US {
            STEP_US.. => Adjust::Shrink { most: STEP, must },
            ..0 if excess <= -SHORTAGE_US => Adjust::Stretch,
            _ if pending > 0 => Adjust::Shrink { most: pending as u32, must },
            _ => return Adjust::Keep,
        };
        self.since_adjust = 0;
        adjust
    }

    /// Nothing is there: the packet is late, lost with all that followed, or the sender has stopped.
    fn underrun(&mut self, position: Position, samples: u32) -> Next {
        let most = if position.pausing { MAX_DTX_UNDERRUN } else { MAX_UNDERRUN };
        if position.owed >= most {
            self.position = None;
            return Next::Silence { samples };
        }
        self.pause(position, samples)
    }

    /// Fill time that no packet stands for.
    fn pause(&mut self, position: Position, samples: u32) -> Next {
        if !position.pausing {
            self.statistics.concealed_samples += u64::from(samples);
        }
        self.position = Some(Position { owed: position.owed + i64::from(samples), ..position });
        Next::Conceal { samples }
    }

    /// Packets are missing before the first one that is there, `ahead` samples of them.
    fn bridge(&mut self, now: Instant, position: Position, seq: u64, ahead: i64) -> Next {
        let Some(head) = self.packets.get(&seq) else { return self.pause(position, STEP) };
        let duration = i64::from(head.duration);
        if self.lateness_us(now, position.media_time) - self.delay.target_us(now) < -SHORTAGE_US {
            // There is time to wait for a straggler.
            self.statistics.concealed_samples += u64::from(STEP);
            return Next::Conceal { samples: STEP };
        }
        if ahead <= duration.min(MAX_FEC) && ahead % FEC_UNIT == 0 {
            self.position = Some(Position { seq, media_time: head.media_time, ..position });
            self.statistics.restored += 1;
            return Next::DecodeFec { payload: head.payload.clone(), samples: ahead as u32 };
        }
        // Leave the last packet's length for FEC, and whole steps of 2.5 ms for the decoder.
        let chunk = (ahead - duration).clamp(FEC_UNIT, i64::from(STEP)) / FEC_UNIT * FEC_UNIT;
        let chunk = chunk.min(ahead);
        self.position = Some(Position { media_time: position.media_time + chunk, ..position });
        self.statistics.concealed_samples += chunk as u64;
        Next::Conceal { samples: (chunk as u32).next_multiple_of(FEC_UNIT as u32) }
    }
}

impl Position {
    /// Whether a packet is of a time that was filled already. It may overlap the one before by a quarter: who stamps
    /// anew, as servers do after a mute, is not exact.
    fn has_passed(&self, seq: u64, packet: &Packet) -> bool {
        seq < self.seq || packet.media_time + i64::from(packet.duration / 4) < self.media_time
    }
}

fn remember(recent: &mut VecDeque<u64>, seq: u64) {
    if recent.len() >= RECENT {
        recent.pop_front();
    }
    recent.push_back(seq);
}

fn to_us(samples: i64) -> i64 {
    samples * 1_000 / 48
}

fn to_samples(time: Duration) -> i64 {
    i64::try_from(time.as_micros() * 48 / 1_000).unwrap_or(i64::MAX)
}

/// Only the modes with a speech layer have in-band FEC.
fn may_carry_fec(payload: &[u8]) -> bool {
    payload.first().is_some_and(|toc| toc >> 3 < 16)
}

/// Samples at 48 kHz that an Opus packet stands for, by its first bytes; `None` when there is no such packet.
pub fn packet_duration(payload: &[u8]) -> Option<u32> {
    let (&toc, rest) = payload.split_first()?;
    let config = toc >> 3;
    let frame = match config {
        0..=11 => *[480, 960, 1920, 2880].get(usize::from(config & 3))?,
        12..=15 => 480 << (config & 1),
        _ => 120 << (config & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    Some(frame * frames).filter(|samples| (1..=MAX_PACKET).contains(samples))
}
