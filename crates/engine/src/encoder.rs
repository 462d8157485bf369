//! One video encoding of a sender, on the codec threads.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use greenroom_codec::I420Ref;
use greenroom_codec::VideoCodec;
use greenroom_codec::video::{EncodedFrame, Options, VideoEncoder};
use greenroom_media::video::{Filter, PictureMut, VideoFormat, packed_len, resize};
use greenroom_peer::Codec;

use crate::Commander;
use crate::cadence::Pace;
use crate::client::LayerOptions;
use crate::error::EngineError;
use crate::events::{Handle, lock};
use crate::pool::Lane;
use crate::video_source::{CapturedFrame, FrameTaker};

/// Below this many bit/s a picture says nothing any more.
const MIN_BITRATE: u32 = 50_000;
/// A picture that stays is encoded so often before the last result is sent again: each time it becomes sharper.
const REFINEMENTS: u32 = 10;

/// An encoder with room for one frame that it has not begun: a newer one takes its place.
pub(crate) struct LayerEncoder {
    commander: Commander,
    sender: Handle,
    layer: usize,
    codec: VideoCodec,
    /// 0 = as captured.
    size: (u32, u32),
    lane: Lane,
    waiting: Mutex<Option<Waiting>>,
    pace: Mutex<Pace>,
    work: Mutex<Work>,
    /// bit/s asked for by the program, and what the network leaves of it.
    bitrate: u32,
    allowed: AtomicU32,
    force_keyframe: AtomicBool,
    enabled: AtomicBool,
    muted: AtomicBool,
}

struct Waiting {
    frame: Arc<CapturedFrame>,
    at: Instant,
    repeat: bool,
}

/// What an encoder made of a picture.
pub(crate) struct Encoded {
    pub(crate) frame: EncodedFrame,
    /// When it is shown: captured, or asked for again. Later than the one before it.
    pub(crate) at: Instant,
    /// Whether the program captured nothing new.
    pub(crate) repeat: bool,
    /// The picture, if this frame may be sent again as often as it stays.
    pub(crate) repeatable: Option<Weak<CapturedFrame>>,
}

struct Work {
    encoder: Option<VideoEncoder>,
    options: Options,
    scaled: Vec<u8>,
    still: Still,
    first: Option<Instant>,
    last: Option<Duration>,
}

impl Work {
    /// When the picture is shown, absolute and since the first. Time goes forward for encoders and receivers: two captures
    /// may share an instant, and a repeat may overtake one.
    fn advance(&mut self, at: Instant) -> (Instant, Duration) {
        let first = *self.first.get_or_insert(at);
        let time = at.saturating_duration_since(first);
        let time = self.last.map_or(time, |last| time.max(last + Duration::from_micros(100)));
        self.last = Some(time);
        (first + time, time)
    }
}

/// A picture that is encoded again and again.
#[derive(Default)]
struct Still {
    frame: Weak<CapturedFrame>,
    times: u32,
}

impl Still {
    /// Whether the frame has been encoded so often that it has become as sharp as it can be.
    fn is_settled(&mut self, frame: &Arc<CapturedFrame>, force_keyframe: bool) -> bool {
        if force_keyframe || !self.frame.ptr_eq(&Arc::downgrade(frame)) {
            *self = Self { frame: Arc::downgrade(frame), times: 0 };
        }
        self.times += 1;
        self.times > REFINEMENTS
    }
}

impl LayerEncoder {
    pub(crate) fn new(
        commander: Commander,
        sender: Handle,
        layer: usize,
        codec: Codec,
        options: &LayerOptions,
        screencast: bool,
    ) -> Result<Arc<Self>, EngineError> {
        let codec = match codec {
            Codec::Vp8 => VideoCodec::Vp8,
            Codec::H264 => VideoCodec::H264,
            other => {
                return Err(EngineError::Invalid(format!("{other:?} cannot be encoded: use vp8 or h264")));
            }
        };
        let failed = commander.clone();
        let lane = Lane::new(move |message| {
            failed.run(0, move |world| world.sender_failed(sender, message));
        });
        let fps = options.fps.max(1) as f32;
        let work = Work {
            encoder: None,
            options: Options { width: 0, height: 0, bitrate: options.bitrate, fps, screencast, threads: 1 },
            scaled: Vec::new(),
            still: Still::default(),
            first: None,
            last: None,
        };
        Ok(Arc::new(Self {
            commander,
            sender,
            layer,
            codec,
            size: (options.width, options.height),
            lane,
            waiting: Mutex::default(),
            pace: Mutex::new(Pace::new(options.fps)),
            work: Mutex::new(work),
            bitrate: options.bitrate,
            allowed: AtomicU32::new(options.bitrate),
            force_keyframe: AtomicBool::new(false),
            enabled: AtomicBool::new(true),
            muted: AtomicBool::new(false),
        }))
    }

    pub(crate) fn codec(&self) -> VideoCodec {
        self.codec
    }

    pub(crate) fn force_keyframe(&self) {
        self.force_keyframe.store(true, Ordering::Release);
    }

    /// bit/s that the program asked for.
    pub(crate) fn bitrate(&self) -> u32 {
        self.bitrate
    }

    /// From the next frame on, spend this many bit/s.
    pub(crate) fn allow(&self, bitrate: u32) {
        self.allowed.store(bitrate.clamp(MIN_BITRATE.min(self.bitrate), self.bitrate), Ordering::Release);
    }

    /// True when it was off before.
    pub(crate) fn set_enabled(&self, enabled: bool) -> bool {
        enabled && !self.enabled.swap(enabled, Ordering::AcqRel) || {
            self.enabled.store(enabled, Ordering::Release);
            false
        }
    }

    pub(crate) fn set_muted(&self, muted: bool) {
        self.muted.store(muted, Ordering::Release);
    }

    /// Whether it would encode a picture now.
    pub(crate) fn is_sending(&self) -> bool {
        !self.muted.load(Ordering::Acquire) && self.enabled.load(Ordering::Acquire)
    }

    /// Encode the newest picture of the source again, as if captured now.
    pub(crate) fn encode_again(self: &Arc<Self>, frame: &Arc<CapturedFrame>, now: Instant) {
        if self.is_sending() && lock(&self.waiting).is_none() {
            self.submit(Waiting { frame: Arc::clone(frame), at: now, repeat: true });
        }
    }

    fn submit(self: &Arc<Self>, picture: Waiting) {
        let older = lock(&self.waiting).replace(picture);
        if older.is_none() {
            let encoder = Arc::clone(self);
            self.lane.submit(move || encoder.encode_waiting());
        }
    }

    fn encode_waiting(&self) {
        let Some(picture) = lock(&self.waiting).take() else {
            return;
        };
        match self.encode(&picture) {
            Ok(Some(encoded)) => {
                let (sender, layer) = (self.sender, self.layer);
                self.commander.run(0, move |world| world.frame_encoded(sender, layer, encoded));
            }
            Ok(None) => {}
            Err(message) => tracing::warn!(message, "frame not encoded"),
        }
    }

    fn encode(&self, picture: &Waiting) -> Result<Option<Encoded>, String> {
        let Waiting { frame, at, repeat } = picture;
        let mut work = lock(&self.work);
        let work = &mut *work;
        let (at, time) = work.advance(*at);
        let force = self.force_keyframe.swap(false, Ordering::AcqRel);
        let settled = work.still.is_settled(frame, force);
        let (width, height) = self.fitted(frame.width, frame.height);
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let data: &[u8] = if (width, height) == (frame.width, frame.height) {
            &frame.data
        } else {
            // A picture that stays is there in this size already.
            if work.still.times == 1 {
                let source = frame.picture().map_err(|error| text(&error))?;
                work.scaled.resize(packed_len(VideoFormat::I420, width, height).map_err(|error| text(&error))?, 0);
                let mut target = PictureMut::packed(VideoFormat::I420, width, height, &mut work.scaled)
                    .map_err(|error| text(&error))?;
                resize(&source, &mut target, Filter::default()).map_err(|error| text(&error))?;
            }
            &work.scaled
        };
        let image = I420Ref::from_packed(width, height, data).map_err(|error| text(&error))?;
        if work.encoder.is_none() {
            let options = Options { width, height, ..work.options };
            work.encoder = Some(VideoEncoder::new(self.codec, options).map_err(|error| text(&error))?);
        }
        let Some(encoder) = work.encoder.as_mut() else {
            return Ok(None);
        };
        let allowed = self.allowed.load(Ordering::Acquire);
        if allowed != work.options.bitrate {
            work.options.bitrate = allowed;
            encoder.set_rate(allowed, work.options.fps).map_err(|error| text(&error))?;
        }
        if settled && let Some(same) = encoder.encode_repeatable(image, time).map_err(|error| text(&error))? {
            let repeatable = Some(Arc::downgrade(frame));
            return Ok(Some(Encoded { frame: same, at, repeat: *repeat, repeatable }));
        }
        let mut encoded = encoder.encode(image, force, time).map_err(|error| text(&error))?;
        if *repeat && encoded.is_none() {
            // There are no bits to make it sharper now: it shall stay in view meanwhile, and become so later.
            encoded = encoder.encode_repeatable(image, time).map_err(|error| text(&error))?;
            work.still.times -= 1;
        }
        Ok(encoded.map(|frame| Encoded { frame, at, repeat: *repeat, repeatable: None }))
    }

    /// The layer's size with the frame's shape: even, and never larger than the frame.
    fn fitted(&self, width: u32, height: u32) -> (u32, u32) {
        let (max_width, max_height) = self.size;
        if max_width == 0 || (width <= max_width && height <= max_height) {
            return (width, height);
        }
        let scale = f64::min(f64::from(max_width) / f64::from(width), f64::from(max_height) / f64::from(height));
        let even = |size: u32| ((f64::from(size) * scale / 2.0).round() as u32 * 2).max(2);
        (even(width), even(height))
    }
}

impl FrameTaker for Arc<LayerEncoder> {
    fn take(&self, frame: &Arc<CapturedFrame>) {
        if self.is_sending() && lock(&self.pace).admit(frame.captured) {
            self.submit(Waiting { frame: Arc::clone(frame), at: frame.captured, repeat: false });
        }
    }
}
