//! Puts the packets of one video stream together to frames, in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Depacketizer, PayloadShape, VideoCodec};

/// How patient an assembler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long a missing packet is waited for, from the arrival of the first one behind it.
    pub wait: Duration,
    /// Shortest time between two requests for a key frame.
    pub request_interval: Duration,
    /// Packets that are held at most.
    pub max_packets: usize,
}

impl Default for Config {
    /// Three retransmissions over a common path, and enough packets for a second at 20 Mbit/s.
    fn default() -> Self {
        Self { wait: Duration::from_millis(250), request_interval: Duration::from_millis(500), max_packets: 2048 }
    }
}

/// One whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// RTP timestamp, 90 kHz.
    pub timestamp: u32,
    /// Whether it can be decoded without any before it.
    pub keyframe: bool,
    /// What a decoder takes.
    pub data: Bytes,
    /// Sequence number of its first packet.
    pub first_seq: u64,
    /// Sequence number of its last packet.
    pub last_seq: u64,
    /// When its last missing packet arrived.
    pub completed: Instant,
}

/// What an assembler has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The next frame to decode. Between it and the frame before nothing is missing, unless it is a key frame.
    Frame(Frame),
    /// Nothing can be decoded before the next key frame: ask the sender for one.
    NeedKeyframe,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Frames put out.
    pub frames: u64,
    /// Key frames among them.
    pub keyframes: u64,
    /// Packets that came twice or after they were given up.
    pub discarded: u64,
    /// Times that the stream was cut because packets never came or made no sense.
    pub breaks: u64,
    /// Key frames asked for.
    pub requests: u64,
}

#[derive(Debug)]
struct Packet {
    timestamp: u32,
    marker: bool,
    payload: Bytes,
    arrived: Instant,
}

/// The packets of one stream (one SSRC) that are not part of a finished frame yet.
///
/// It waits for a key frame first. A gap is given `Config::wait` to be filled; after that everything up to the next
/// key frame is dropped, and `Output::NeedKeyframe` says so, again and again at `Config::request_interval`.
#[derive(Debug)]
pub struct VideoAssembler {
    config: Config,
    depacketizer: Depacketizer,
    codec: VideoCodec,
    packets: BTreeMap<u64, Packet>,
    /// First packet of the next frame; `None` while a key frame is needed.
    next: Option<u64>,
    /// First packet behind `next` that has not come yet, and the last one of the first whole frame before it.
    present_to: u64,
    frame_end: Option<u64>,
    /// Everything before this has been given out or given up.
    floor: u64,
    gap_since: Option<Instant>,
    requested: Option<Instant>,
    /// When a key frame that is not whole yet began to arrive, while one is needed.
    coming: Option<Instant>,
    statistics: Statistics,
}

impl VideoAssembler {
    /// Start without packets, in need of a key frame.
    pub fn new(codec: VideoCodec, config: Config) -> Self {
        Self {
            config,
            depacketizer: Depacketizer::new(codec),
            codec,
            packets: BTreeMap::new(),
            next: None,
            present_to: 0,
            frame_end: None,
            floor: 0,
            gap_since: None,
            requested: None,
            coming: None,
            statistics: Statistics::default(),
        }
    }

    /// Take a packet. `seq` is the extended sequence number, that of the original for a retransmission; an empty
    /// payload is padding and counts as received.
    pub fn insert(&mut self, seq: u64, timestamp: u32, marker: bool, payload: Bytes, now: Instant) {
        if seq < self.floor || seq == u64::MAX || self.packets.contains_key(&seq) {
            self.statistics.discarded += 1;
            return;
        }
        if self.packets.len() >= self.config.max_packets {
            self.break_off();
        }
        self.packets.insert(seq, Packet { timestamp, marker, payload, arrived: now });
        if self.next.is_some() && self.present_to == seq {
            self.gap_since = None;
            self.extend();
        }
    }

    /// Next output; call until it is `None` after every insertion and at [`VideoAssembler::deadline`].
    pub fn poll(&mut self, now: Instant) -> Option<Output> {
        loop {
            if self.next.is_none() && !self.resume_at_keyframe() {
                return self.request(now);
            }
            if let Some(end) = self.frame_end {
                match self.take_frame(end) {
                    Some(frame) => return Some(Output::Frame(frame)),
                    None => continue,
                }
            }
            self.gap_since = self.gap_since.or_else(|| self.gap_start());
            let since = self.gap_since?;
            if now.saturating_duration_since(since) >= self.config.wait || self.keyframe_behind_gap() {
                self.break_off();
                continue;
            }
            return None;
        }
    }

    /// When [`VideoAssembler::poll`] has something to say even if nothing arrives.
    pub fn deadline(&self) -> Option<Instant> {
        match self.next {
            Some(_) => self.gap_since.map(|since| since + self.config.wait),
            None => {
                let next_request = self.requested.map(|last| last + self.config.request_interval);
                let given_up = self.coming.map(|arrived| arrived + self.config.wait);
                next_request.max(given_up).filter(|_| !self.packets.is_empty())
            }
        }
    }

    /// Ask for a key frame and drop everything before it, because the decoder could not use a frame.
    pub fn restart(&mut self) {
        self.break_off();
    }

    /// Counters.
    pub fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// Walk on over the packets that follow without a gap, until a frame is whole.
    fn extend(&mut self) {
        let Some(next) = self.next else { return };
        while self.frame_end.is_none() {
            let Some(packet) = self.packets.get(&self.present_to) else { return };
            let first = self.packets.get(&next).map_or(packet.timestamp, |first| first.timestamp);
            if packet.timestamp != first && self.present_to > next {
                // The sender forgot the marker.
                self.frame_end = Some(self.present_to - 1);
            } else {
                if packet.marker || packet.payload.is_empty() && self.present_to == next {
                    self.frame_end = Some(self.present_to);
                }
                self.present_to += 1;
            }
        }
    }

    /// Take the packets up to `end` out; `None` when they were padding or damaged.
    fn take_frame(&mut self, end: u64) -> Option<Frame> {
        let first_seq = self.next?;
        let mut keyframe = false;
        let mut timestamp = 0;
        let mut completed = None;
        let mut damaged = false;
        for seq in first_seq..=end {
            let Some(packet) = self.packets.remove(&seq) else { continue };
            timestamp = packet.timestamp;
            completed = completed.max(Some(packet.arrived));
            if packet.payload.is_empty() || damaged {
                continue;
            }
            keyframe |= PayloadShape::of(self.codec, &packet.payload).keyframe;
            damaged = self.depacketizer.push(&packet.payload).is_err();
        }
        self.floor = end + 1;
        self.next = Some(end + 1);
        self.present_to = end + 1;
        self.frame_end = None;
        self.gap_since = None;
        let data = self.depacketizer.finish();
        if damaged {
            self.break_off();
            return None;
        }
        self.extend();
        if data.is_empty() {
            return None;
        }
        self.statistics.frames += 1;
        self.statistics.keyframes += u64::from(keyframe);
        Some(Frame { timestamp, keyframe, data, first_seq, last_seq: end, completed: completed? })
    }

    /// Arrival of the first packet behind the first gap.
    fn gap_start(&self) -> Option<Instant> {
        // The earliest arrival, not the lowest number: reordering must not prolong the wait.
        self.packets.range(self.present_to..).map(|(_, packet)| packet.arrived).min()
    }

    fn keyframe_behind_gap(&self) -> bool {
        self.find_keyframe(self.present_to).is_some()
    }

    /// First packet of the first whole key frame at or after `from`.
    fn find_keyframe(&self, from: u64) -> Option<u64> {
        let mut start: Option<(u64, u32)> = None;
        let mut before: Option<(u64, u32, bool)> = None;
        let mut key = false;
        for (&seq, packet) in self.packets.range(from..) {
            let follows = before.is_some_and(|(last, _, _)| last + 1 == seq);
            if start.is_some_and(|(_, timestamp)| !follows || timestamp != packet.timestamp) {
                start = None;
            }
            if start.is_none() {
                let shape = PayloadShape::of(self.codec, &packet.payload);
                let after_frame =
                    follows && before.is_some_and(|(_, timestamp, marker)| marker || timestamp != packet.timestamp);
                if shape.starts_frame || after_frame {
                    start = Some((seq, packet.timestamp));
                    key = false;
                }
            }
            key |= start.is_some() && PayloadShape::of(self.codec, &packet.payload).keyframe;
            if let Some((first, _)) = start.filter(|_| key && packet.marker) {
                return Some(first);
            }
            before = Some((seq, packet.timestamp, packet.marker));
        }
        None
    }

    fn resume_at_keyframe(&mut self) -> bool {
        let Some(start) = self.find_keyframe(self.floor) else { return false };
        self.packets = self.packets.split_off(&start);
        self.floor = start;
        self.next = Some(start);
        self.present_to = start;
        self.frame_end = None;
        self.gap_since = None;
        self.requested = None;
        self.extend();
        true
    }

    /// Give up what is incomplete: up to the gap, or everything when there are too many packets.
    fn break_off(&mut self) {
        if self.next.take().is_some() {
            self.statistics.breaks += 1;
            self.requested = None;
        }
        let held = self.packets.len();
        let keep = self.find_keyframe(self.floor).or_else(|| self.keyframe_start().map(|(seq, _)| seq));
        match keep {
            Some(start) if held < self.config.max_packets => {
                self.packets = self.packets.split_off(&start);
            }
            _ => self.packets.clear(),
        }
        self.frame_end = None;
        self.gap_since = None;
    }

    /// First packet that looks like the start of a key frame whose rest may still come.
    fn keyframe_start(&self) -> Option<(u64, Instant)> {
        self.packets.iter().find_map(|(&seq, packet)| {
            let shape = PayloadShape::of(self.codec, &packet.payload);
            (shape.starts_frame && shape.keyframe).then_some((seq, packet.arrived))
        })
    }

    fn request(&mut self, now: Instant) -> Option<Output> {
        let fresh = |arrived: Instant| now.saturating_duration_since(arrived) < self.config.wait;
        let coming = self.keyframe_start().filter(|&(_, arrived)| fresh(arrived));
        let media = !self.packets.is_empty() || (self.requested.is_none() && self.statistics.frames > 0);
        // Those that cannot become part of a key frame any more.
        self.packets.retain(|_, packet| now.saturating_duration_since(packet.arrived) < self.config.wait);
        self.coming = coming.map(|(_, arrived)| arrived);
        let due = self.requested.is_none_or(|last| now.saturating_duration_since(last) >= self.config.request_interval);
        if !media || !due || coming.is_some() {
            return None;
        }
        self.requested = Some(now);
        self.statistics.requests += 1;
        Some(Output::NeedKeyframe)
    }
}
