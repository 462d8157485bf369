//! Decoded audio on its way to a Python reader: converted to what the reader asked for, in a bounded ring.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use greenroom_media::audio::{AudioConverter, Quality};

use crate::error::EngineError;
use crate::events::{Event, EventQueue, Handle, lock};

/// Seconds of audio kept for a reader that asked for no particular capacity.
const DEFAULT_CAPACITY: usize = 10;
/// Seconds that one frame lasts at most: longer ones are a mistake in units.
const LONGEST_FRAME: usize = 60;

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
    events: Arc<EventQueue>,
    /// Interleaved samples of a frame, and how many samples the ring keeps.
    frame: usize,
    limit: usize,
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
    /// A rate or channel count that no stream can have, or a frame of no samples or of more than a minute.
    pub fn new(handle: Handle, options: AudioSinkOptions, events: Arc<EventQueue>) -> Result<Self, EngineError> {
        let AudioSinkOptions { sample_rate, num_channels, frame_samples, capacity } = options;
        let channels = usize::from(num_channels);
        let converter = AudioConverter::new(sample_rate, channels, Quality::Medium)
            .map_err(|error| EngineError::Invalid(error.to_string()))?
            .in_step();
        let longest = LONGEST_FRAME * sample_rate as usize;
        if !(1..=longest).contains(&frame_samples) {
            let message = format!("frame_samples is {frame_samples}: it must be 1 to {longest} ({LONGEST_FRAME} s)");
            return Err(EngineError::Invalid(message));
        }
        let frame = frame_samples * channels;
        // The frame that is still being filled does not count.
        let limit = match capacity {
            0 => (DEFAULT_CAPACITY * sample_rate as usize * channels).max(2 * frame - 1),
            frames => frames.saturating_add(1).saturating_mul(frame) - 1,
        };
        let ring = Ring {
            samples: VecDeque::new(),
            converter,
            converted: Vec::new(),
            dropped: 0,
            reader_waits: false,
            ended: false,
        };
        Ok(Self { handle, events, frame, limit, ring: Mutex::new(ring) })
    }

    /// The oldest frame. None: nothing whole is there, and [`Event::Readable`] or [`Event::Ended`] follows.
    pub fn read(&self) -> Option<Vec<i16>> {
        let mut ring = lock(&self.ring);
        let take = if ring.samples.len() >= self.frame {
            self.frame
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
        while ring.samples.len() > self.limit {
            ring.samples.drain(..self.frame);
            ring.dropped += 1;
        }
        if ring.reader_waits && ring.samples.len() >= self.frame {
            ring.reader_waits = false;
            self.events.push(Event::Readable { sink: self.handle });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: AudioSinkOptions =
        AudioSinkOptions { sample_rate: 8000, num_channels: 1, frame_samples: 80, capacity: 0 };

    fn sink(options: AudioSinkOptions) -> Result<AudioSink, EngineError> {
        AudioSink::new(7, options, Arc::new(EventQueue::new().unwrap()))
    }

    #[test]
    fn the_oldest_frames_are_dropped_beyond_the_capacity() {
        let sink = sink(AudioSinkOptions { capacity: 2, ..OPTIONS }).unwrap();
        for value in 1..=5 {
            sink.write(8000, 1, &[value; 80]);
        }
        assert_eq!(sink.dropped(), 3);
        assert_eq!([sink.read(), sink.read()], [Some(vec![4; 80]), Some(vec![5; 80])]);
        assert_eq!(sink.read(), None);
    }

    #[test]
    fn a_frame_longer_than_the_usual_ring_is_read_whole() {
        let sink = sink(AudioSinkOptions { frame_samples: 88_000, ..OPTIONS }).unwrap();
        for _ in 0..24 {
            sink.write(8000, 1, &[1; 8000]);
        }
        assert_eq!(sink.read().map(|frame| frame.len()), Some(88_000));
    }

    #[test]
    fn absurd_sizes_are_refused_or_mean_no_bound() {
        for frame_samples in [0, 480_001, usize::MAX] {
            let message = sink(AudioSinkOptions { frame_samples, ..OPTIONS }).unwrap_err().to_string();
            assert!(message.contains("frame_samples is"), "{message}");
        }
        let endless = sink(AudioSinkOptions { capacity: usize::MAX, ..OPTIONS }).unwrap();
        endless.write(8000, 1, &[1; 800]);
        assert_eq!(endless.dropped(), 0);
    }
}
