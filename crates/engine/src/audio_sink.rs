//! Decoded audio on its way to a Python reader: converted to what the reader asked for, in a bounded ring.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use greenroom_media::audio::{AudioConverter, AudioError, Quality};

use crate::events::{Event, EventQueue, Handle, lock};

/// Seconds of audio kept for a reader that asked for no particular capacity.
const DEFAULT_CAPACITY: u32 = 10;

/// What a reader asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioSinkOptions {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Interleaved channels.
    pub num_channels: u16,
    /// Samples per channel in each frame.
    pub frame_samples: usize,
    /// Frames kept at most; 0 = 10 s worth.
    pub capacity: usize,
}

/// Shared by the Python object and the engine thread.
#[derive(Debug)]
pub struct AudioSink {
    handle: Handle,
    options: AudioSinkOptions,
    events: Arc<EventQueue>,
    ring: Mutex<Ring>,
}

#[derive(Debug)]
struct Ring {
    samples: VecDeque<i16>,
    converter: AudioConverter,
    converted: Vec<i16>,
    dropped: u64,
    reader_waits: bool,
    ended: bool,
}

impl AudioSink {
    /// An empty ring.
    ///
    /// # Errors
    /// A rate or channel count that no stream can have.
    pub fn new(handle: Handle, options: AudioSinkOptions, events: Arc<EventQueue>) -> Result<Self, AudioError> {
        let channels = usize::from(options.num_channels);
        let ring = Ring {
            samples: VecDeque::new(),
            converter: AudioConverter::new(options.sample_rate, channels, Quality::Medium)?,
            converted: Vec::new(),
            dropped: 0,
            reader_waits: false,
            ended: false,
        };
        Ok(Self { handle, options, events, ring: Mutex::new(ring) })
    }

    /// The oldest frame. None: nothing whole is there, and [`Event::Readable`] or [`Event::Ended`] follows.
    pub fn read(&self) -> Option<Vec<i16>> {
        let mut ring = lock(&self.ring);
        let wanted = self.options.frame_samples * usize::from(self.options.num_channels);
        let take = if ring.samples.len() >= wanted {
            wanted
        } else if ring.ended && !ring.samples.is_empty() {
            ring.samples.len()
        } else {
            ring.reader_waits = true;
            return None;
        };
        Some(ring.samples.drain(..take).collect())
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

    pub(crate) fn write(&self, sample_rate: u32, num_channels: u16, pcm: &[i16]) {
        let mut ring = lock(&self.ring);
        if ring.ended {
            return;
        }
        let ring = &mut *ring;
        // Decoders and sources have valid formats: the converter was made to accept them all.
        let _ = ring.converter.push(pcm, sample_rate, usize::from(num_channels), &mut ring.converted);
        ring.samples.extend(ring.converted.drain(..));
        self.bound(ring);
        let frame = self.options.frame_samples * usize::from(self.options.num_channels);
        if ring.reader_waits && ring.samples.len() >= frame {
            ring.reader_waits = false;
            self.events.push(Event::Readable { sink: self.handle });
        }
    }

    fn bound(&self, ring: &mut Ring) {
        let frame = self.options.frame_samples * usize::from(self.options.num_channels);
        let limit = match self.options.capacity {
            0 => (DEFAULT_CAPACITY * self.options.sample_rate) as usize * usize::from(self.options.num_channels),
            // The frame that is still being filled does not count.
            frames => (frames + 1) * frame - 1,
        };
        while ring.samples.len() > limit {
            ring.samples.drain(..frame);
            ring.dropped += 1;
        }
    }
}
