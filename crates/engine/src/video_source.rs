//! The newest picture of a program, in front of encoders and local sinks. It keeps no queue.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use greenroom_media::video::{
    BufferPool, ConvertOptions, Picture, PictureMut, PooledBuffer, VideoError, VideoFormat, convert, packed_len,
};

use crate::events::lock;
use crate::video_sink::VideoSink;

/// Pictures kept for reuse: the newest, and one in the hands of each encoder of three layers.
const POOLED_PICTURES: usize = 4;

/// One picture as I420, packed.
#[derive(Debug)]
pub struct CapturedFrame {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The Y, U and V planes, one after another.
    pub data: PooledBuffer,
    /// The program's time stamp in microseconds.
    pub timestamp_us: i64,
    /// 0, 90, 180 or 270 degrees clockwise, to be applied by who shows it.
    pub rotation: u16,
    /// When it was captured.
    pub captured: Instant,
}

impl CapturedFrame {
    /// A view of the planes.
    pub fn picture(&self) -> Result<Picture<'_>, VideoError> {
        Picture::packed(VideoFormat::I420, self.width, self.height, &self.data)
    }
}

/// What a source's frames are given to.
pub(crate) trait FrameTaker: Send + Sync {
    /// Must not wait.
    fn take(&self, frame: &Arc<CapturedFrame>);
}

/// Shared by the Python object and the engine thread.
pub struct VideoSource {
    width: u32,
    height: u32,
    is_screencast: bool,
    opened: Instant,
    pool: BufferPool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    newest: Option<Arc<CapturedFrame>>,
    takers: Vec<(u64, Arc<dyn FrameTaker>)>,
    closed: bool,
}

impl std::fmt::Debug for VideoSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("VideoSource").field("width", &self.width).field("height", &self.height).finish()
    }
}

impl VideoSource {
    /// A source that is announced with this size; frames may have another.
    pub fn new(width: u32, height: u32, is_screencast: bool) -> Self {
        let pool = BufferPool::new(POOLED_PICTURES);
        Self { width, height, is_screencast, opened: Instant::now(), pool, state: Mutex::default() }
    }

    /// Announced width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Announced height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Whether it shows a screen.
    pub fn is_screencast(&self) -> bool {
        self.is_screencast
    }

    /// Convert to I420 and hand over; the newest picture replaces one that an encoder has not begun. `timestamp_us` 0 is now.
    ///
    /// # Errors
    /// The size, format or length of `data` is wrong.
    pub fn capture(
        &self,
        format: VideoFormat,
        (width, height): (u32, u32),
        data: &[u8],
        timestamp_us: i64,
        rotation: u16,
    ) -> Result<(), VideoError> {
        let source = Picture::packed(format, width, height, data)?;
        let mut buffer = self.pool.take(packed_len(VideoFormat::I420, width, height)?);
        let mut target = PictureMut::packed(VideoFormat::I420, width, height, &mut buffer)?;
        convert(&source, &mut target, ConvertOptions::default())?;
        let captured = Instant::now();
        let timestamp_us = match timestamp_us {
            0 => i64::try_from((captured - self.opened).as_micros()).unwrap_or(i64::MAX),
            given => given,
        };
        let frame = Arc::new(CapturedFrame { width, height, data: buffer, timestamp_us, rotation, captured });
        let mut state = lock(&self.state);
        if !state.closed {
            for (_, taker) in &state.takers {
                taker.take(&frame);
            }
            state.newest = Some(frame);
        }
        Ok(())
    }

    /// Drop the newest picture and ignore later ones.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.newest = None;
        state.takers.clear();
    }

    pub(crate) fn attach(&self, key: u64, taker: Arc<dyn FrameTaker>) {
        let mut state = lock(&self.state);
        if let Some(newest) = &state.newest {
            taker.take(newest);
        }
        state.takers.push((key, taker));
    }

    pub(crate) fn detach(&self, key: u64) {
        lock(&self.state).takers.retain(|(owner, _)| *owner != key);
    }

    /// The newest picture, if it was captured at least `age` ago.
    pub(crate) fn still(&self, now: Instant, age: Duration) -> Option<Arc<CapturedFrame>> {
        let state = lock(&self.state);
        state.newest.clone().filter(|frame| now.saturating_duration_since(frame.captured) >= age)
    }
}

impl FrameTaker for VideoSink {
    fn take(&self, frame: &Arc<CapturedFrame>) {
        if let Ok(picture) = frame.picture() {
            self.write(&picture, frame.timestamp_us, frame.rotation);
        }
    }
}
