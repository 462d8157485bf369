//! What a client receives: packets become audio at every tick, and pictures on the codec threads.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use greenroom_codec::VideoCodec;
use greenroom_codec::playout::AudioPlayout;
use greenroom_codec::video::VideoDecoder;
use greenroom_media::encryption::{Decryptor, FrameKind, Opened};
use greenroom_media::jitter;
use greenroom_media::rtp::red::Red;
use greenroom_media::video::{Picture, Plane, VideoFormat};
use greenroom_peer::{Codec, IncomingPacket, Mid};

use crate::Commander;
use crate::audio_sink::AudioSink;
use crate::encryption::frame_kind;
use crate::events::{Handle, lock};
use crate::media_clock::MediaClock;
use crate::pool::Lane;
use crate::video_sink::VideoSink;
use crate::world::{World, mime};

/// What Opus is decoded to.
const RATE: u32 = 48_000;
/// Streams that carry stereo are not announced in time, so everything is decoded to two channels.
const CHANNELS: u8 = 2;
/// Frames that may wait for a decoder; with more, decoding starts over at a key frame.
const DECODER_BACKLOG: usize = 30;
/// An Opus packet of 20 ms in which nothing is heard.
const SILENCE: [u8; 3] = [0xf8, 0xff, 0xfe];

pub(crate) type Key = (Handle, Mid);

/// How long nothing may be shown before a key frame is asked for again; this doubles with every request.
const KEYFRAME_PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_KEYFRAME_PATIENCE: Duration = Duration::from_secs(8);

/// Everything received by client peers.
#[derive(Default)]
pub(crate) struct Receivers {
    pub(crate) receivers: HashMap<Key, Receiver>,
    pub(crate) key_search: Option<Lane>,
    pcm: Vec<i16>,
}

#[derive(Default)]
pub(crate) struct Receiver {
    ssrc: u32,
    /// Of this stream: the first and one past the highest sequence number, and how many packets came.
    expected: Range<u64>,
    arrived: u64,
    /// Lost from earlier streams on this section.
    lost_before: u64,
    statistics: ReceiverStatistics,
    /// Of an encrypted track.
    pub(crate) decryptor: Option<Decryptor>,
    audio: Option<AudioPlayout>,
    video: Option<VideoReceiver>,
    audio_sinks: Vec<Arc<AudioSink>>,
    video_sinks: Vec<Arc<VideoSink>>,
    /// While nothing was shown since the last sink came: when to ask for a key frame again, and how long that waited.
    unseen: Option<(Instant, Duration)>,
}

struct VideoReceiver {
    codec: VideoCodec,
    assembler: jitter::video::VideoAssembler,
    decoder: Decoder,
}

/// Counters of one received section.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[allow(missing_docs)] // the names say it
pub struct ReceiverStatistics {
    pub packets: u64,
    pub bytes: u64,
    pub lost: u64,
    pub frames: u64,
    pub keyframe_requests: u64,
    pub concealed_samples: u64,
    pub codec: &'static str,
    pub width: u32,
    pub height: u32,
}

impl Receivers {
    pub(crate) fn need_tick(&self) -> bool {
        self.receivers.values().any(|receiver| !receiver.audio_sinks.is_empty())
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let frames = self.receivers.values().filter_map(|receiver| receiver.video.as_ref()?.assembler.deadline());
        let unseen = self.receivers.values().filter_map(|receiver| receiver.unseen.map(|(at, _)| at));
        frames.chain(unseen).min()
    }
}

impl World {
    /// Play what arrives on a section into a sink.
    pub fn attach_audio_receiver(&mut self, peer: Handle, mid: &str, sink: Arc<AudioSink>) {
        if !self.peers.contains_key(&peer) {
            return sink.end();
        }
        self.receivers.receivers.entry((peer, Mid::from(mid))).or_default().audio_sinks.push(sink);
        self.counters().sinks.fetch_add(1, Ordering::Relaxed);
        self.wake_tick();
    }

    /// Show what arrives on a section in a sink.
    pub fn attach_video_receiver(&mut self, peer: Handle, mid: &str, sink: Arc<VideoSink>) {
        if !self.peers.contains_key(&peer) {
            return sink.end();
        }
        let mid = Mid::from(mid);
        let receiver = self.receivers.receivers.entry((peer, mid)).or_default();
        receiver.unseen = Some((self.now + KEYFRAME_PATIENCE, KEYFRAME_PATIENCE));
        receiver.video_sinks.push(sink);
        receiver.share_sinks();
        self.counters().sinks.fetch_add(1, Ordering::Relaxed);
        self.need_keyframe((peer, mid));
    }

    /// Forget a sink that was closed.
    pub fn sinks_closed(&mut self) {
        let mut closed = 0;
        for receiver in self.receivers.receivers.values_mut() {
            let before = receiver.audio_sinks.len() + receiver.video_sinks.len();
            receiver.audio_sinks.retain(|sink| !sink.is_ended());
            receiver.video_sinks.retain(|sink| !sink.is_ended());
            receiver.share_sinks();
            closed += before - receiver.audio_sinks.len() - receiver.video_sinks.len();
        }
        self.counters().sinks.fetch_sub(closed as u64, Ordering::Relaxed);
    }

    /// Counters of a received section.
    pub fn receiver_statistics(&self, peer: Handle, mid: &str) -> Option<ReceiverStatistics> {
        let receiver = self.receivers.receivers.get(&(peer, Mid::from(mid)))?;
        let mut statistics = receiver.statistics;
        statistics.lost = receiver.lost();
        if let Some(audio) = &receiver.audio {
            statistics.concealed_samples = audio.statistics().concealed_samples;
        }
        if let Some(video) = &receiver.video {
            let size = video.decoder.shared.size.load(Ordering::Relaxed);
            (statistics.width, statistics.height) = ((size >> 32) as u32, size as u32);
        }
        Some(statistics)
    }

    pub(crate) fn end_receivers(&mut self, peer: Handle) {
        for (_, receiver) in self.receivers.receivers.extract_if(|(owner, _), _| *owner == peer) {
            let sinks = receiver.audio_sinks.len() + receiver.video_sinks.len();
            receiver.audio_sinks.iter().for_each(|sink| sink.end());
            receiver.video_sinks.iter().for_each(|sink| sink.end());
            self.counters.sinks.fetch_sub(sinks as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn receive_packet(&mut self, peer: Handle, packet: IncomingPacket) {
        let key = (peer, packet.mid);
        let receiver = self.receivers.receivers.entry(key).or_default();
        receiver.statistics.packets += 1;
        receiver.statistics.bytes += packet.payload.len() as u64;
        receiver.statistics.codec = mime(packet.codec);
        if receiver.ssrc != packet.ssrc {
            receiver.lost_before = receiver.lost();
            receiver.ssrc = packet.ssrc;
            receiver.expected = packet.seq..packet.seq;
            receiver.arrived = 0;
            receiver.audio = None;
            receiver.video = None;
        }
        receiver.arrived += 1;
        receiver.expected.end = receiver.expected.end.max(packet.seq + 1);
        match packet.codec {
            Codec::Opus | Codec::Red => {
                receiver.insert_audio(packet);
                self.report_receiver(key);
            }
            Codec::Vp8 => self.insert_video(key, VideoCodec::Vp8, packet),
            Codec::H264 => self.insert_video(key, VideoCodec::H264, packet),
            // Never negotiated by a client of ours.
            Codec::Vp9 | Codec::Av1 => {}
        }
    }

    fn insert_video(&mut self, key: Key, codec: VideoCodec, packet: IncomingPacket) {
        let Some(receiver) = self.receivers.receivers.get_mut(&key) else {
            return;
        };
        if receiver.video.as_ref().is_none_or(|video| video.codec != codec) {
            let decoder = Decoder::new(codec, key, self.commander.clone());
            let assembler = jitter::video::VideoAssembler::new(codec, jitter::video::Config::default());
            receiver.video = Some(VideoReceiver { codec, assembler, decoder });
            receiver.share_sinks();
        }
        if let Some(video) = &mut receiver.video {
            let payload = Bytes::copy_from_slice(&packet.payload);
            video.assembler.insert(packet.seq, packet.timestamp, packet.marker, payload, packet.received);
        }
        self.poll_assembler(key);
    }

    fn poll_assembler(&mut self, key: Key) {
        let now = self.now;
        loop {
            let Some(receiver) = self.receivers.receivers.get_mut(&key) else {
                return;
            };
            let Some(video) = &mut receiver.video else {
                return;
            };
            match video.assembler.poll(now) {
                None => return,
                Some(jitter::video::Output::NeedKeyframe) => self.need_keyframe(key),
                Some(jitter::video::Output::Frame(frame)) => {
                    receiver.statistics.frames += 1;
                    let Some(frame) = decrypted(receiver.decryptor.as_mut(), video.codec, frame) else {
                        // What follows builds on this frame.
                        video.decoder.stale = true;
                        self.report_receiver(key);
                        continue;
                    };
                    if receiver.video_sinks.is_empty() {
                        video.decoder.stale = true;
                    } else if !video.decoder.submit(frame, self.media.opened) {
                        self.need_keyframe(key);
                    } else {
                        receiver.unseen = None;
                    }
                    self.report_receiver(key);
                }
            }
        }
    }

    /// A frame could not be decoded: go on at a key frame.
    fn restart_video(&mut self, key: Key) {
        if let Some(video) = self.receivers.receivers.get_mut(&key).and_then(|receiver| receiver.video.as_mut()) {
            video.assembler.restart();
        }
        self.poll_assembler(key);
    }

    pub(crate) fn need_keyframe(&mut self, (peer, mid): Key) {
        if let Some(receiver) = self.receivers.receivers.get_mut(&(peer, mid)) {
            receiver.statistics.keyframe_requests += 1;
        }
        if let Some(entry) = self.peers.get_mut(&peer) {
            entry.peer.request_keyframe(mid, None);
            self.touch(peer);
        }
    }

    pub(crate) fn run_receiver_timers(&mut self) {
        let now = self.now;
        let due: Vec<Key> = (self.receivers.receivers.iter())
            .filter(|(_, receiver)| {
                receiver.video.as_ref().and_then(|video| video.assembler.deadline()).is_some_and(|at| at <= now)
            })
            .map(|(key, _)| *key)
            .collect();
        due.into_iter().for_each(|key| self.guarded(key.0, |world| world.poll_assembler(key)));
        let receivers = self.receivers.receivers.iter_mut();
        let unseen: Vec<Key> =
            receivers.filter_map(|(key, receiver)| receiver.asks_again(now).then_some(*key)).collect();
        unseen.into_iter().for_each(|key| self.need_keyframe(key));
    }

    pub(crate) fn tick_receivers(&mut self) {
        let playing: Vec<Key> = (self.receivers.receivers.iter())
            .filter(|(_, receiver)| !receiver.audio_sinks.is_empty())
            .map(|(key, _)| *key)
            .collect();
        playing.into_iter().for_each(|key| self.guarded(key.0, |world| world.play(key)));
    }

    fn play(&mut self, key: Key) {
        let mut pcm = std::mem::take(&mut self.receivers.pcm);
        if let Some(receiver) = self.receivers.receivers.get_mut(&key)
            && let Some(audio) = &mut receiver.audio
        {
            audio.pull(self.now, &mut pcm);
            for sink in &receiver.audio_sinks {
                sink.write(RATE, u16::from(CHANNELS), &pcm);
            }
        }
        self.receivers.pcm = pcm;
    }
}

impl Receiver {
    /// Whether to ask for a key frame again: requests get lost, and a server that limits their number drops some.
    fn asks_again(&mut self, now: Instant) -> bool {
        if self.video_sinks.is_empty() {
            self.unseen = None;
        }
        let Some((at, waited)) = self.unseen.filter(|(at, _)| *at <= now) else {
            return false;
        };
        let wait = (waited * 2).min(LONGEST_KEYFRAME_PATIENCE);
        self.unseen = Some((at.max(now) + wait, wait));
        true
    }

    fn lost(&self) -> u64 {
        self.lost_before + (self.expected.end - self.expected.start).saturating_sub(self.arrived)
    }

    fn insert_audio(&mut self, packet: IncomingPacket) {
        // Whether it can be decrypted is of interest also while nobody listens.
        let opened = opened_audio(self.decryptor.as_mut(), &packet);
        if self.audio_sinks.is_empty() {
            self.audio = None;
            return;
        }
        if self.audio.is_none() {
            self.audio = AudioPlayout::new(RATE, CHANNELS, jitter::audio::Config::default()).ok();
        }
        let (Some(audio), Some((codec, payload))) = (&mut self.audio, opened) else { return };
        if codec == Codec::Opus {
            return audio.insert(packet.seq, packet.timestamp, payload, packet.received);
        }
        let Some(red) = Red::parse(&payload) else {
            return;
        };
        let primary = Bytes::copy_from_slice(red.primary().data);
        audio.insert(packet.seq, packet.timestamp, primary, packet.received);
        let count = red.redundant_count() as u64;
        for (index, block) in red.redundant().enumerate() {
            let back = count - index as u64;
            if block.timestamp_offset > 0 && packet.seq >= back && !block.data.is_empty() {
                let timestamp = packet.timestamp.wrapping_sub(block.timestamp_offset);
                audio.insert(packet.seq - back, timestamp, Bytes::copy_from_slice(block.data), packet.received);
            }
        }
    }

    fn share_sinks(&self) {
        if let Some(video) = &self.video {
            *lock(&video.decoder.shared.sinks) = self.video_sinks.clone();
        }
    }
}

/// What may be played of a packet. RED is encrypted as a whole: its blocks show only afterwards.
fn opened_audio(decryptor: Option<&mut Decryptor>, packet: &IncomingPacket) -> Option<(Codec, Bytes)> {
    let Some(decryptor) = decryptor else {
        return Some((packet.codec, Bytes::copy_from_slice(&packet.payload)));
    };
    match decryptor.open(FrameKind::Opus, &packet.payload) {
        Opened::Frame(frame) => Some((packet.codec, frame.into())),
        Opened::Injected => Some((Codec::Opus, Bytes::from_static(&SILENCE))),
        Opened::Dropped => None,
    }
}

/// The frame as a decoder may have it.
fn decrypted(
    decryptor: Option<&mut Decryptor>,
    codec: VideoCodec,
    mut frame: jitter::video::Frame,
) -> Option<jitter::video::Frame> {
    if let Some(decryptor) = decryptor {
        match decryptor.open(frame_kind(codec), &frame.data) {
            Opened::Frame(data) => frame.data = data.into(),
            Opened::Injected | Opened::Dropped => return None,
        }
    }
    Some(frame)
}

/// A decoder on the codec threads.
struct Decoder {
    lane: Lane,
    shared: Arc<DecoderShared>,
    clock: MediaClock,
    /// Frames were left out: only a key frame can be decoded.
    stale: bool,
}

struct DecoderShared {
    codec: VideoCodec,
    key: Key,
    commander: Commander,
    decoder: Mutex<Option<VideoDecoder>>,
    sinks: Mutex<Vec<Arc<VideoSink>>>,
    /// Width and height of the last decoded frame, 32 bits each.
    size: AtomicU64,
}

impl Decoder {
    fn new(codec: VideoCodec, key: Key, commander: Commander) -> Self {
        let failed = commander.clone();
        let lane = Lane::new(move |message| {
            failed.run(key.0, move |world| world.fail(key.0, message));
        });
        let (decoder, sinks, size) = (Mutex::default(), Mutex::default(), AtomicU64::default());
        let shared = DecoderShared { codec, key, commander, decoder, sinks, size };
        Self { lane, shared: Arc::new(shared), clock: MediaClock::default(), stale: true }
    }

    /// False when a key frame is needed instead.
    fn submit(&mut self, frame: jitter::video::Frame, opened: Instant) -> bool {
        if self.lane.queued() >= DECODER_BACKLOG {
            self.stale = true;
        }
        if self.stale && !frame.keyframe {
            return false;
        }
        self.stale = false;
        let shared = Arc::clone(&self.shared);
        let timestamp_us = self.clock.time_us(frame.timestamp, frame.completed.saturating_duration_since(opened));
        self.lane.submit(move || shared.decode(&frame.data, timestamp_us));
        true
    }
}

impl DecoderShared {
    fn decode(&self, data: &[u8], timestamp_us: i64) {
        let mut decoder = lock(&self.decoder);
        if decoder.is_none() {
            *decoder = VideoDecoder::new(self.codec).ok();
        }
        let Some(decoder) = decoder.as_mut() else {
            return;
        };
        match decoder.decode(data) {
            Ok(Some(image)) => {
                let size = u64::from(image.width()) << 32 | u64::from(image.height());
                self.size.store(size, Ordering::Relaxed);
                let planes = [0, 1, 2].map(|index| Plane { data: image.plane(index), stride: image.stride(index) });
                match Picture::new(VideoFormat::I420, image.width(), image.height(), &planes) {
                    Ok(picture) => self.deliver(&picture, timestamp_us),
                    Err(error) => tracing::warn!(%error, "decoded frame not delivered"),
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "frame not decoded");
                let key = self.key;
                self.commander.run(key.0, move |world| world.restart_video(key));
            }
        }
    }

    fn deliver(&self, picture: &Picture<'_>, timestamp_us: i64) {
        let sinks = lock(&self.sinks).clone();
        sinks.iter().for_each(|sink| sink.write(picture, timestamp_us, 0));
    }
}
