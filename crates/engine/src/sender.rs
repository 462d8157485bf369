//! Sources on their way out: the 10 ms media tick, audio encoding, and what video encoders hand back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use greenroom_codec::opus;
use greenroom_codec::packetize::Packetizer;
use greenroom_codec::video::EncodedFrame;
use greenroom_media::audio::{AudioConverter, Quality, level_dbfs};
use greenroom_media::encryption::{Encryptor, FrameKind};
use greenroom_media::rtp::red;
use greenroom_peer::{Certificate, Codec, Extensions, OutgoingPacket, Rid};

use crate::audio_sink::AudioSink;
use crate::audio_source::AudioSource;
use crate::cadence::Cadence;
use crate::client::{LayerOptions, SenderOptions};
use crate::encoder::{Encoded, LayerEncoder};
use crate::encryption::frame_kind;
use crate::error::EngineError;
use crate::events::Handle;
use crate::handles::HandleMap;
use crate::receiver::Receivers;
use crate::server::random;
use crate::video_sink::VideoSink;
use crate::video_source::{CapturedFrame, VideoSource};
use crate::world::World;

/// The period of the media tick.
pub(crate) const TICK: Duration = Duration::from_millis(10);
/// What Opus runs at.
const OPUS_RATE: u32 = 48_000;
/// Samples per channel and Opus packet: 20 ms.
const OPUS_FRAME: usize = 960;
/// What Opus is called inside of RED; every offer of ours and of other clients uses it.
const OPUS_PAYLOAD_TYPE: u8 = 111;
/// Percent of loss that the audio encoder is told at least and at most, and the ticks between two looks.
const MIN_EXPECTED_LOSS: u8 = 5;
const MAX_EXPECTED_LOSS: u8 = 30;
const TICKS_PER_LOOK: u32 = 200;
/// Below this many -dBov nobody speaks.
const QUIET: u8 = 50;
/// After a stall, ticks that are made up for; more than that is lost time.
const MISSED_TICKS: u32 = 20;
/// A picture this old is encoded again when a key frame is asked for: nothing newer may ever come.
const STILL_AGE: Duration = Duration::from_millis(60);
/// A key frame is not made again sooner than this.
const KEYFRAME_SPACING: Duration = Duration::from_millis(300);
/// RTP payload bytes per video packet.
const MAX_PAYLOAD: usize = 1160;

/// Sources and senders of an engine.
pub(crate) struct Media {
    audio_sources: HandleMap<AudioInput>,
    pub(crate) video_sources: HandleMap<Arc<VideoSource>>,
    pub(crate) senders: HandleMap<Sender>,
    pub(crate) opened: Instant,
    next_tick: Instant,
    ticks: u32,
    ticking: bool,
    pcm: Vec<i16>,
    certificate: Option<Certificate>,
}

struct AudioInput {
    source: Arc<AudioSource>,
    sinks: Vec<Arc<AudioSink>>,
    senders: Vec<Handle>,
}

pub(crate) struct Sender {
    pub(crate) peer: Handle,
    muted: bool,
    statistics: SenderStatistics,
    pub(crate) encryptor: Option<Encryptor>,
    kind: SenderKind,
}

enum SenderKind {
    Audio(Box<AudioSender>),
    Video(VideoSender),
}

struct AudioSender {
    source: Handle,
    converter: AudioConverter,
    encoder: opus::Encoder,
    channels: usize,
    /// Interleaved samples at 48 kHz, less than one packet.
    pending: Vec<i16>,
    packet: Vec<u8>,
    red: Option<red::Encoder<1>>,
    expected_loss: u8,
    seq: u64,
    timestamp: u32,
}

struct VideoSender {
    source: Handle,
    codec: Codec,
    layers: Vec<VideoLayer>,
    timestamp_base: u32,
}

struct VideoLayer {
    rid: Option<Rid>,
    encoder: Arc<LayerEncoder>,
    packetizer: Packetizer,
    payloads: Vec<Bytes>,
    seq: u64,
    keyframe_at: Option<Instant>,
    keyframe_due: Option<Instant>,
    cadence: Cadence,
    /// A picture that stays, and a frame that shows it once more.
    still: Option<(Weak<CapturedFrame>, EncodedFrame)>,
    /// What the last frame says about when it is shown.
    shown: Option<Instant>,
}

/// Counters of one sender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names say it
pub struct SenderStatistics {
    pub packets: u64,
    pub bytes: u64,
    /// Of what the program captured.
    pub frames: u64,
    /// Of what it had captured before, sent again because nothing newer came.
    pub repeats: u64,
    pub keyframes: u64,
    pub width: u32,
    pub height: u32,
}

impl Media {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            audio_sources: HandleMap::default(),
            video_sources: HandleMap::default(),
            senders: HandleMap::default(),
            opened: now,
            next_tick: now,
            ticks: 0,
            ticking: false,
            pcm: Vec::new(),
            certificate: None,
        }
    }

    /// One certificate for all peers of an engine: making one costs a millisecond.
    pub(crate) fn certificate(&mut self) -> Option<Certificate> {
        if self.certificate.is_none() {
            self.certificate = Certificate::generate().ok();
        }
        self.certificate.clone()
    }

    pub(crate) fn deadline(&self, receivers: &Receivers) -> Option<Instant> {
        let audio = (self.ticking || receivers.need_tick() || self.needs_tick()).then_some(self.next_tick);
        let pictures = self.senders.values().filter_map(Sender::picture_due).min();
        [audio, pictures].into_iter().flatten().min()
    }

    fn needs_tick(&self) -> bool {
        self.audio_sources
            .values()
            .any(|input| input.source.needs_tick() || !input.senders.is_empty() || !input.sinks.is_empty())
    }

    pub(crate) fn close(&mut self) {
        for input in self.audio_sources.values() {
            input.source.close();
            input.sinks.iter().for_each(|sink| sink.end());
        }
        for source in self.video_sources.values() {
            source.close();
        }
        self.audio_sources.clear();
        self.video_sources.clear();
        self.senders.clear();
    }
}

impl World {
    // -- sources -----------------------------------------------------------------------------------------------------

    /// Let the tick drain this source until it is closed.
    pub fn add_audio_source(&mut self, handle: Handle, source: Arc<AudioSource>) {
        self.remove_source(handle);
        let input = AudioInput { source, sinks: Vec::new(), senders: Vec::new() };
        self.media.audio_sources.insert(handle, input);
        self.counters().sources.fetch_add(1, Ordering::Relaxed);
        self.wake_tick();
    }

    /// Know this source until it is closed.
    pub fn add_video_source(&mut self, handle: Handle, source: Arc<VideoSource>) {
        self.remove_source(handle);
        self.media.video_sources.insert(handle, source);
        self.counters().sources.fetch_add(1, Ordering::Relaxed);
    }

    /// Close a source; its local sinks end, its senders send nothing more.
    pub fn remove_source(&mut self, handle: Handle) {
        let audio = self.media.audio_sources.remove(&handle);
        let video = self.media.video_sources.remove(&handle);
        if audio.is_some() || video.is_some() {
            self.counters().sources.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(input) = audio {
            input.source.close();
            input.sinks.iter().for_each(|sink| sink.end());
        }
        if let Some(source) = video {
            source.close();
        }
    }

    /// Have a source looked at that was idle, or for which a tick waits: samples came.
    pub fn audio_captured(&mut self, source: Handle) {
        self.wake_tick();
        self.guarded(source, |world| world.play_source(source, AudioSource::catch_up));
    }

    /// Have sources and sinks looked at from now on.
    pub(crate) fn wake_tick(&mut self) {
        if !self.media.ticking {
            self.media.ticking = true;
            self.media.next_tick = self.now;
        }
    }

    /// Play a source into a local sink.
    pub fn attach_audio_sink(&mut self, source: Handle, sink: Arc<AudioSink>) {
        match self.media.audio_sources.get_mut(&source) {
            Some(input) => input.sinks.push(sink),
            None => sink.end(),
        }
        self.wake_tick();
    }

    // -- senders -----------------------------------------------------------------------------------------------------

    pub(crate) fn make_audio_sender(
        &mut self,
        handle: Handle,
        peer: Handle,
        source: Handle,
        options: &SenderOptions,
    ) -> Result<(), EngineError> {
        let Some(input) = self.media.audio_sources.get_mut(&source) else {
            return Err(EngineError::Invalid("the audio source is closed".into()));
        };
        let channels = input.source.num_channels().min(2);
        let settings = opus::Options { bitrate: options.bitrate, dtx: options.dtx, ..opus::Options::default() };
        let invalid = |error: &dyn std::fmt::Display| EngineError::Invalid(error.to_string());
        let sender = AudioSender {
            source,
            converter: AudioConverter::new(OPUS_RATE, usize::from(channels), Quality::Medium)
                .map_err(|e| invalid(&e))?
                .in_step(),
            encoder: opus::Encoder::new(OPUS_RATE, channels as u8, settings).map_err(|e| invalid(&e))?,
            channels: usize::from(channels),
            pending: Vec::new(),
            packet: Vec::new(),
            red: options.red.then(red::Encoder::default),
            expected_loss: settings.expected_loss,
            seq: random() & 0x7fff,
            timestamp: random() as u32,
        };
        input.senders.push(handle);
        self.insert_sender(handle, peer, SenderKind::Audio(Box::new(sender)));
        self.wake_tick();
        Ok(())
    }

    pub(crate) fn make_video_sender(
        &mut self,
        handle: Handle,
        peer: Handle,
        source: Handle,
        codec: Codec,
        options: &SenderOptions,
    ) -> Result<(), EngineError> {
        let Some(input) = self.media.video_sources.get(&source).cloned() else {
            return Err(EngineError::Invalid("the video source is closed".into()));
        };
        let single =
            [LayerOptions { rid: String::new(), width: 0, height: 0, bitrate: options.bitrate, fps: options.fps }];
        let wanted = if options.layers.is_empty() { &single[..] } else { &options.layers[..] };
        let mut layers = Vec::new();
        for (index, layer) in wanted.iter().enumerate() {
            let encoder =
                LayerEncoder::new(self.commander.clone(), handle, index, codec, layer, input.is_screencast())?;
            layers.push(VideoLayer {
                rid: (!layer.rid.is_empty()).then(|| Rid::from(layer.rid.as_str())),
                packetizer: Packetizer::new(encoder.codec(), MAX_PAYLOAD, random() as u16 & 0x7fff),
                encoder,
                payloads: Vec::new(),
                seq: random() & 0x7fff,
                keyframe_at: None,
                keyframe_due: None,
                cadence: Cadence::new(index, input.is_screencast(), layer.fps),
                still: None,
                shown: None,
            });
        }
        for layer in &layers {
            input.attach(handle, Arc::new(Arc::clone(&layer.encoder)));
        }
        let timestamp_base = random() as u32;
        self.insert_sender(handle, peer, SenderKind::Video(VideoSender { source, codec, layers, timestamp_base }));
        Ok(())
    }

    fn insert_sender(&mut self, handle: Handle, peer: Handle, kind: SenderKind) {
        let sender = Sender { peer, muted: false, statistics: SenderStatistics::default(), encryptor: None, kind };
        self.media.senders.insert(handle, sender);
    }

    pub(crate) fn drop_sender(&mut self, handle: Handle) -> Option<Handle> {
        let sender = self.media.senders.remove(&handle)?;
        match &sender.kind {
            SenderKind::Audio(audio) => {
                if let Some(input) = self.media.audio_sources.get_mut(&audio.source) {
                    input.senders.retain(|other| *other != handle);
                }
            }
            SenderKind::Video(video) => {
                if let Some(source) = self.media.video_sources.get(&video.source) {
                    source.detach(handle);
                }
            }
        }
        Some(sender.peer)
    }

    /// Send nothing for a while.
    pub fn mute_sender(&mut self, handle: Handle, muted: bool) {
        let Some(sender) = self.media.senders.get_mut(&handle) else {
            return;
        };
        sender.muted = muted;
        if let SenderKind::Video(video) = &sender.kind {
            video.layers.iter().for_each(|layer| layer.encoder.set_muted(muted));
        }
        if !muted {
            self.sender_keyframe_requested(handle, None);
        }
    }

    /// Encode only some of the simulcast layers, low to high.
    pub fn set_sender_layers(&mut self, handle: Handle, enabled: &[bool]) {
        let Some(Sender { kind: SenderKind::Video(video), .. }) = self.media.senders.get(&handle) else {
            return;
        };
        let mut started = Vec::new();
        for (layer, enabled) in video.layers.iter().zip(enabled) {
            if layer.encoder.set_enabled(*enabled) {
                started.push(layer.rid);
            }
        }
        started.into_iter().for_each(|rid| self.sender_keyframe_requested(handle, rid));
    }

    /// Counters of a sender.
    pub fn sender_statistics(&self, handle: Handle) -> Option<SenderStatistics> {
        self.media.senders.get(&handle).map(|sender| sender.statistics)
    }

    /// The network towards `peer` takes this many bit/s: share them among its video, in proportion to what was asked for.
    pub(crate) fn limit_senders(&mut self, peer: Handle, bitrate: u64) {
        let senders = self.media.senders.values().filter(|sender| sender.peer == peer);
        let video = senders.filter_map(|sender| match &sender.kind {
            SenderKind::Video(video) => Some(&video.layers),
            SenderKind::Audio(_) => None,
        });
        let layers: Vec<&VideoLayer> = video.flatten().collect();
        let wanted: u64 = layers.iter().map(|layer| u64::from(layer.encoder.bitrate())).sum();
        for layer in layers {
            let share = u128::from(layer.encoder.bitrate()) * u128::from(bitrate) / u128::from(wanted.max(1));
            layer.encoder.allow(u32::try_from(share).unwrap_or(u32::MAX));
        }
    }

    /// Let FEC be worth what the network loses.
    fn expect_losses(&mut self) {
        for sender in self.media.senders.values_mut() {
            let SenderKind::Audio(audio) = &mut sender.kind else { continue };
            let Some(entry) = self.peers.get(&sender.peer) else { continue };
            let loss = entry.peer.statistics().loss_sent.unwrap_or(0.0).clamp(0.0, 1.0);
            let percent = ((loss * 100.0).ceil() as u8).clamp(MIN_EXPECTED_LOSS, MAX_EXPECTED_LOSS);
            if percent != audio.expected_loss && audio.encoder.set_expected_loss(percent).is_ok() {
                audio.expected_loss = percent;
            }
        }
    }

    pub(crate) fn sender_peer(&self, handle: Handle) -> Option<Handle> {
        self.media.senders.get(&handle).map(|sender| sender.peer)
    }

    /// Show a source in a local sink.
    pub fn attach_video_sink(&mut self, source: Handle, key: Handle, sink: Arc<VideoSink>) {
        match self.media.video_sources.get(&source) {
            Some(source) => source.attach(key, sink),
            None => sink.end(),
        }
    }

    pub(crate) fn sender_keyframe_requested(&mut self, handle: Handle, rid: Option<Rid>) {
        let now = self.now;
        let Some(Sender { kind: SenderKind::Video(video), .. }) = self.media.senders.get_mut(&handle) else {
            return;
        };
        for layer in video.layers.iter_mut().filter(|layer| rid.is_none() || layer.rid == rid) {
            layer.keyframe_due = Some(layer.keyframe_at.map_or(now, |at| at + KEYFRAME_SPACING).max(now));
        }
        self.make_due_keyframes();
    }

    // -- timers ------------------------------------------------------------------------------------------------------

    pub(crate) fn run_media_timers(&mut self) {
        self.make_due_keyframes();
        self.repeat_due_pictures();
        self.run_receiver_timers();
        if self.media.next_tick > self.now {
            return;
        }
        if !self.media.ticking && !self.media.needs_tick() && !self.receivers.need_tick() {
            return;
        }
        let mut ticks = 0;
        while self.media.next_tick <= self.now {
            ticks += 1;
            if ticks > MISSED_TICKS {
                self.media.next_tick = self.now + TICK;
                break;
            }
            self.tick();
            self.media.next_tick += TICK;
        }
        self.media.ticking = self.media.needs_tick() || self.receivers.need_tick();
    }

    fn tick(&mut self) {
        self.media.ticks = self.media.ticks.wrapping_add(1);
        if self.media.ticks.is_multiple_of(TICKS_PER_LOOK) {
            self.expect_losses();
        }
        let handles: Vec<Handle> = self.media.audio_sources.keys().copied().collect();
        for handle in handles {
            self.guarded(handle, |world| world.play_source(handle, AudioSource::tick));
        }
        self.tick_receivers();
    }

    fn play_source(&mut self, handle: Handle, play: fn(&AudioSource, &mut Vec<i16>)) {
        let Some(input) = self.media.audio_sources.get_mut(&handle) else {
            return;
        };
        let mut pcm = std::mem::take(&mut self.media.pcm);
        play(&input.source, &mut pcm);
        if pcm.is_empty() {
            self.media.pcm = pcm;
            return;
        }
        let (rate, channels) = (input.source.sample_rate(), input.source.num_channels());
        input.sinks.retain(|sink| !sink.is_ended());
        input.sinks.iter().for_each(|sink| sink.write(rate, channels, &pcm));
        let senders = input.senders.clone();
        for sender in senders {
            let scope = self.media.senders.get(&sender).map_or(0, |sender| sender.peer);
            self.guarded(scope, |world| world.send_audio(sender, rate, channels, &pcm));
        }
        self.media.pcm = pcm;
    }

    fn send_audio(&mut self, handle: Handle, rate: u32, channels: u16, pcm: &[i16]) {
        let now = self.now;
        let Some(sender) = self.media.senders.get_mut(&handle) else {
            return;
        };
        let SenderKind::Audio(audio) = &mut sender.kind else {
            return;
        };
        // The formats were accepted when the source and the sender were made.
        let _ = audio.converter.push(pcm, rate, usize::from(channels), &mut audio.pending);
        let wanted = OPUS_FRAME * audio.channels;
        while audio.pending.len() >= wanted {
            let packet = audio.encode(handle, now, wanted, sender.muted);
            sender.statistics.frames += 1;
            let Some(entry) = self.peers.get_mut(&sender.peer) else {
                continue;
            };
            let packet = packet.and_then(|packet| encrypt_audio(sender.encryptor.as_mut(), packet));
            if let Some(packet) = packet {
                sender.statistics.packets += 1;
                sender.statistics.bytes += packet.payload.len() as u64;
                if let Err(error) = entry.peer.send(now, packet) {
                    tracing::debug!(%error, "audio packet not sent");
                }
            }
            entry.mark(sender.peer, &mut self.dirty);
        }
        self.report_sender(handle);
    }

    fn make_due_keyframes(&mut self) {
        let now = self.now;
        for sender in self.media.senders.values_mut() {
            let SenderKind::Video(video) = &mut sender.kind else {
                continue;
            };
            for layer in &mut video.layers {
                if layer.keyframe_due.is_none_or(|due| due > now) {
                    continue;
                }
                layer.keyframe_due = None;
                layer.keyframe_at = Some(now);
                layer.encoder.force_keyframe();
                let still = self.media.video_sources.get(&video.source).and_then(|source| source.still(now, STILL_AGE));
                if let Some(still) = still {
                    layer.encoder.encode_again(&still, now);
                }
            }
        }
    }

    fn repeat_due_pictures(&mut self) {
        let now = self.now;
        let mut repeats = Vec::new();
        for (handle, sender) in &mut self.media.senders {
            let SenderKind::Video(video) = &mut sender.kind else {
                continue;
            };
            for (index, layer) in video.layers.iter_mut().enumerate() {
                if layer.repeat_due().is_none_or(|due| due > now) {
                    continue;
                }
                let newest =
                    self.media.video_sources.get(&video.source).and_then(|source| source.still(now, Duration::ZERO));
                match (newest, &layer.still) {
                    (None, _) => layer.cadence.stop(),
                    (Some(newest), Some((still, frame))) if still.ptr_eq(&Arc::downgrade(&newest)) => {
                        let (frame, repeatable) = (frame.clone(), Some(Weak::clone(still)));
                        repeats.push((*handle, index, Encoded { frame, at: now, repeat: true, repeatable }));
                    }
                    (Some(newest), _) => {
                        layer.cadence.asked(now);
                        layer.encoder.encode_again(&newest, now);
                    }
                }
            }
        }
        for (handle, layer, encoded) in repeats {
            self.frame_encoded(handle, layer, encoded);
        }
    }

    /// A video encoder has finished a frame.
    pub(crate) fn frame_encoded(&mut self, handle: Handle, layer: usize, encoded: Encoded) {
        let now = self.now;
        let Some(sender) = self.media.senders.get_mut(&handle) else {
            return;
        };
        let SenderKind::Video(video) = &mut sender.kind else {
            return;
        };
        let codec = video.codec;
        let Some(layer) = video.layers.get_mut(layer) else {
            return;
        };
        let Some(entry) = self.peers.get_mut(&sender.peer) else {
            return;
        };
        let Encoded { frame, at, repeat, repeatable } = encoded;
        // What was captured just before a repeat comes just after it.
        let at = layer.shown.map_or(at, |shown| at.max(shown + Duration::from_micros(100)));
        layer.shown = Some(at);
        sender.statistics.keyframes += u64::from(frame.keyframe);
        sender.statistics.frames += u64::from(!repeat);
        sender.statistics.repeats += u64::from(repeat);
        (sender.statistics.width, sender.statistics.height) =
            (sender.statistics.width.max(frame.width), sender.statistics.height.max(frame.height));
        match (&mut sender.encryptor, layer.encoder.codec()) {
            (None, _) => layer.packetizer.packetize(&frame.data, &mut layer.payloads),
            (Some(encryptor), codec) => {
                let sealed = encryptor.seal(frame_kind(codec), &frame.data).unwrap_or_default();
                layer.packetizer.packetize(&sealed, &mut layer.payloads);
            }
        }
        let ticks = (at.saturating_duration_since(self.media.opened).as_micros() * 9 / 100) as u32;
        let count = layer.payloads.len();
        layer.cadence.sent(now, count);
        layer.still = repeatable.map(|picture| (picture, frame));
        for (index, payload) in layer.payloads.drain(..).enumerate() {
            layer.seq += 1;
            sender.statistics.packets += 1;
            sender.statistics.bytes += payload.len() as u64;
            let packet = OutgoingPacket {
                key: handle,
                rid: layer.rid,
                codec,
                seq: layer.seq,
                timestamp: video.timestamp_base.wrapping_add(ticks),
                wallclock: at,
                marker: index + 1 == count,
                payload: payload.as_ref().into(),
                nackable: true,
                extensions: Extensions::default(),
                vp8: None,
            };
            if let Err(error) = entry.peer.send(now, packet) {
                tracing::debug!(%error, "video packet not sent");
            }
        }
        entry.mark(sender.peer, &mut self.dirty);
        self.report_sender(handle);
    }
}

/// The packet as it may be sent, None if it may not.
fn encrypt_audio(encryptor: Option<&mut Encryptor>, mut packet: OutgoingPacket) -> Option<OutgoingPacket> {
    if let Some(encryptor) = encryptor {
        // Whoever encrypts has RED off: copies of clear packets must not go out beside the encrypted one.
        let sealed = (packet.codec == Codec::Opus).then(|| encryptor.seal(FrameKind::Opus, &packet.payload));
        packet.payload = sealed.flatten()?.into();
    }
    Some(packet)
}

impl Sender {
    fn picture_due(&self) -> Option<Instant> {
        match &self.kind {
            SenderKind::Audio(_) => None,
            SenderKind::Video(video) => {
                video.layers.iter().flat_map(|layer| [layer.keyframe_due, layer.repeat_due()]).flatten().min()
            }
        }
    }
}

impl VideoLayer {
    /// When its picture has to be sent again if no newer one comes.
    fn repeat_due(&self) -> Option<Instant> {
        self.cadence.due(self.still.is_some()).filter(|_| self.encoder.is_sending())
    }
}

impl AudioSender {
    /// Encode the first `wanted` pending samples: none or one packet.
    fn encode(&mut self, key: Handle, now: Instant, wanted: usize, muted: bool) -> Option<OutgoingPacket> {
        let samples: Vec<i16> = self.pending.drain(..wanted).collect();
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(OPUS_FRAME as u32);
        if muted {
            return None;
        }
        let encoded = match self.encoder.encode(&samples, &mut self.packet) {
            Ok(encoded) => encoded,
            Err(error) => {
                tracing::warn!(%error, "audio not encoded");
                return None;
            }
        };
        if encoded.silent {
            return None;
        }
        let (codec, payload) = match &mut self.red {
            Some(red) => {
                let mut payload = Vec::new();
                red.encode(&mut payload, OPUS_PAYLOAD_TYPE, timestamp, &self.packet);
                (Codec::Red, payload.into())
            }
            None => (Codec::Opus, self.packet.as_slice().into()),
        };
        self.seq += 1;
        let level = (-level_dbfs(&samples)).clamp(0.0, 127.0) as u8;
        Some(OutgoingPacket {
            key,
            rid: None,
            codec,
            seq: self.seq,
            timestamp,
            wallclock: now,
            marker: false,
            payload,
            nackable: false,
            extensions: Extensions {
                audio_level: Some(level),
                voice_activity: Some(level < QUIET),
                ..Extensions::default()
            },
            vp8: None,
        })
    }
}
