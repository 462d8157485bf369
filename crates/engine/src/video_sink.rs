//! Decoded pictures on their way to a Python reader: converted to what the reader asked for, in a bounded ring.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use greenroom_media::video::{
    BufferPool, ConvertOptions, Picture, PictureMut, PooledBuffer, VideoError, VideoFormat, convert, packed_len,
};

use crate::events::{Event, EventQueue, Handle, lock};

/// Frames kept for a reader that asked for no particular capacity: a quarter of a second.
const DEFAULT_CAPACITY: usize = 8;

/// Buffers kept for reuse once the reader has let go of them.
const SPARE_BUFFERS: usize = 4;

/// One frame for the reader.
#[derive(Debug)]
pub struct VideoSinkFrame {
    /// How `data` is laid out.
    pub format: VideoFormat,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Packed planes.
    pub data: PooledBuffer,
    /// Microseconds on the receiver's clock.
    pub timestamp_us: i64,
    /// Degrees clockwise.
    pub rotation: u16,
}

/// Shared by the Python object and whoever decodes.
#[derive(Debug)]
pub struct VideoSink {
    handle: Handle,
    format: Option<VideoFormat>,
    capacity: usize,
    events: Arc<EventQueue>,
    pool: BufferPool,
    ring: Mutex<Ring>,
}

#[derive(Debug, Default)]
struct Ring {
    frames: VecDeque<VideoSinkFrame>,
    dropped: u64,
    reader_waits: bool,
    ended: bool,
}

impl VideoSink {
    /// An empty ring of `capacity` frames (0 = 8). Without a format, frames come as they were decoded.
    pub fn new(handle: Handle, format: Option<VideoFormat>, capacity: usize, events: Arc<EventQueue>) -> Self {
        let capacity = if capacity == 0 { DEFAULT_CAPACITY } else { capacity };
        let pool = BufferPool::new(SPARE_BUFFERS);
        Self { handle, format, capacity, events, pool, ring: Mutex::default() }
    }

    /// The oldest frame. None: [`Event::Readable`] or [`Event::Ended`] follows.
    pub fn read(&self) -> Option<VideoSinkFrame> {
        let mut ring = lock(&self.ring);
        let frame = ring.frames.pop_front();
        ring.reader_waits = frame.is_none();
        frame
    }

    /// Frames lost because nobody read them in time.
    pub fn dropped(&self) -> u64 {
        lock(&self.ring).dropped
    }

    /// Say that nothing more comes. Only the first call counts.
    pub fn end(&self) {
        let mut ring = lock(&self.ring);
        if !ring.ended {
            ring.ended = true;
            self.events.push(Event::Ended { sink: self.handle });
        }
    }

    /// Whether `end` was called.
    pub fn is_ended(&self) -> bool {
        lock(&self.ring).ended
    }

    pub(crate) fn write(&self, picture: &Picture<'_>, timestamp_us: i64, rotation: u16) {
        if self.is_ended() {
            return;
        }
        let format = self.format.unwrap_or(picture.format());
        let data = match self.converted(picture, format) {
            Ok(data) => data,
            Err(error) => return tracing::warn!(%error, "frame not delivered"),
        };
        let (width, height) = (picture.width(), picture.height());
        let mut ring = lock(&self.ring);
        if ring.frames.len() >= self.capacity {
            ring.frames.pop_front();
            ring.dropped += 1;
        }
        ring.frames.push_back(VideoSinkFrame { format, width, height, data, timestamp_us, rotation });
        if ring.reader_waits {
            ring.reader_waits = false;
            self.events.push(Event::Readable { sink: self.handle });
        }
    }

    fn converted(&self, picture: &Picture<'_>, format: VideoFormat) -> Result<PooledBuffer, VideoError> {
        let (width, height) = (picture.width(), picture.height());
        let mut data = self.pool.take(packed_len(format, width, height)?);
        let mut target = PictureMut::packed(format, width, height, &mut data)?;
        convert(picture, &mut target, ConvertOptions::default())?;
        Ok(data)
    }
}
