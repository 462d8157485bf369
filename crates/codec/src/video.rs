//! Video encoder and decoder for VP8 (libvpx) and H.264 (openh264), set up for conversation: one pass, no delay, key
//! frames only on request.

use std::time::Duration;

use bytes::Bytes;

use crate::image::check_size;
use crate::{CodecError, I420Ref, Result, VideoCodec, h264, vp8};

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Width of the pictures that will come first, in pixels. Any other size re-configures the encoder.
    pub width: u32,
    /// Height of the pictures that will come first, in pixels.
    pub height: u32,
    /// Target in bit/s.
    pub bitrate: u32,
    /// Pictures per second that will come, at most.
    pub fps: f32,
    /// The pictures are a screen: keep text sharp and never drop a frame.
    pub screencast: bool,
    /// Threads to encode with; 1 encodes in the calling thread.
    pub threads: u32,
}

impl Default for Options {
    /// A 720p camera.
    fn default() -> Self {
        Self { width: 1280, height: 720, bitrate: 1_700_000, fps: 30.0, screencast: false, threads: 1 }
    }
}

impl Options {
    fn check(&self) -> Result<()> {
        check_size(self.width, self.height)?;
        if !(10_000..=100_000_000).contains(&self.bitrate) {
            return Err(CodecError::invalid(format!(
                "a video bit rate is 10000 to 100000000 bit/s; got {}",
                self.bitrate
            )));
        }
        if !(1.0..=240.0).contains(&self.fps) {
            return Err(CodecError::invalid(format!("a frame rate is 1 to 240 frames per second; got {}", self.fps)));
        }
        Ok(())
    }
}

/// One compressed picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedFrame {
    /// A VP8 frame, or H.264 NAL units with start codes.
    pub data: Bytes,
    /// Whether it can be decoded without any frame before it.
    pub keyframe: bool,
    /// Coded width in pixels: for H.264 the picture's, rounded down to even.
    pub width: u32,
    /// Coded height in pixels, likewise.
    pub height: u32,
}

/// Compresses pictures as they come.
pub struct VideoEncoder {
    codec: VideoCodec,
    options: Options,
    inner: Inner,
    /// Media time of the last picture in ticks of 90 kHz since `origin`.
    last_ticks: Option<i64>,
    origin: Duration,
    fresh: bool,
}

enum Inner {
    Vp8(vp8::Encoder),
    H264(Box<h264::Encoder>),
}

impl Inner {
    fn new(codec: VideoCodec, options: &Options) -> Result<Self> {
        Ok(match codec {
            VideoCodec::Vp8 => Self::Vp8(vp8::Encoder::new(options)?),
            VideoCodec::H264 => Self::H264(Box::new(h264::Encoder::new(options)?)),
        })
    }
}

impl VideoEncoder {
    /// Create an encoder; its first frame will be a key frame.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] when an option is out of range for the codec.
    pub fn new(codec: VideoCodec, options: Options) -> Result<Self> {
        options.check()?;
        let inner = Inner::new(codec, &options)?;
        Ok(Self { codec, options, inner, last_ticks: None, origin: Duration::ZERO, fresh: true })
    }

    /// The codec it was made for.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// What it works with now: the size of the last picture and the rate set last.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Compress one picture; `None` when rate control dropped it.
    ///
    /// A picture of another size than the one before re-configures the encoder and becomes a key frame.
    /// `timestamp` is media time from any origin; a step back is taken as one frame forward.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] when the codec cannot take this size; the encoder stays as it was.
    /// [`CodecError::Failed`] when the library failed; the next call starts afresh.
    pub fn encode(
        &mut self,
        image: I420Ref<'_>,
        force_keyframe: bool,
        timestamp: Duration,
    ) -> Result<Option<EncodedFrame>> {
        if (image.width(), image.height()) != (self.options.width, self.options.height) {
            let options = Options { width: image.width(), height: image.height(), ..self.options };
            self.inner = Inner::new(self.codec, &options)?;
            self.options = options;
            self.restart();
        }
        if image.stride(1) != image.stride(2) {
            return self.encode_repacked(image, force_keyframe, timestamp);
        }
        let step = (90_000.0 / self.options.fps) as i64;
        let ticks = self.advance(timestamp, step);
        let key = force_keyframe || self.fresh;
        let result = match &mut self.inner {
            Inner::Vp8(encoder) => {
                encoder.encode(&image, if key { vp8::Role::Key } else { vp8::Role::Any }, ticks, step as u32)
            }
            Inner::H264(encoder) => encoder.encode(&image, key, (ticks / 90) as u64),
        };
        match &result {
            Ok(Some(frame)) => self.fresh &= !frame.keyframe,
            // A dropped picture leaves the request for a key frame standing.
            Ok(None) => self.fresh = key,
            Err(_) => {
                self.inner = Inner::new(self.codec, &self.options)?;
                self.restart();
            }
        }
        result
    }

    /// Compress the picture that came last once more, into a frame that may be sent any number of times until the next one:
    /// it changes nothing in a decoder. Rate control does not drop it. `None` when the codec has no such frames, or a key
    /// frame is due.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode).
    pub fn encode_repeatable(&mut self, image: I420Ref<'_>, timestamp: Duration) -> Result<Option<EncodedFrame>> {
        let same_size = (image.width(), image.height()) == (self.options.width, self.options.height);
        if self.fresh || !same_size || image.stride(1) != image.stride(2) || self.codec != VideoCodec::Vp8 {
            return Ok(None);
        }
        let step = (90_000.0 / self.options.fps) as i64;
        let ticks = self.advance(timestamp, step);
        let Inner::Vp8(encoder) = &mut self.inner else {
            return Ok(None);
        };
        let result = encoder.encode(&image, vp8::Role::Repeatable, ticks, step as u32);
        if result.is_err() {
            self.inner = Inner::new(self.codec, &self.options)?;
            self.restart();
        }
        result
    }

    /// Change the target in bit/s and the frame rate that is coming, without a key frame.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] outside the ranges of [`Options`]; nothing changes then.
    pub fn set_rate(&mut self, bitrate: u32, fps: f32) -> Result<()> {
        let options = Options { bitrate, fps, ..self.options };
        options.check()?;
        if options == self.options {
            return Ok(());
        }
        match &mut self.inner {
            Inner::Vp8(encoder) => encoder.set_rate(&options)?,
            // openh264 knows its options only from the first picture on.
            Inner::H264(_) if self.last_ticks.is_none() => self.inner = Inner::new(self.codec, &options)?,
            Inner::H264(encoder) => encoder.set_rate(&options)?,
        }
        self.options = options;
        Ok(())
    }

    /// Both libraries know one stride for the two chroma planes.
    fn encode_repacked(
        &mut self,
        image: I420Ref<'_>,
        force_keyframe: bool,
        timestamp: Duration,
    ) -> Result<Option<EncodedFrame>> {
        let mut packed = Vec::new();
        image.copy_into(&mut packed);
        self.encode(I420Ref::from_packed(image.width(), image.height(), &packed)?, force_keyframe, timestamp)
    }

    fn restart(&mut self) {
        self.last_ticks = None;
        self.fresh = true;
    }

    fn advance(&mut self, timestamp: Duration, step: i64) -> i64 {
        let ticks = match self.last_ticks {
            None => {
                self.origin = timestamp;
                0
            }
            Some(last) => {
                let since = timestamp.saturating_sub(self.origin);
                let ticks = since.as_micros().min(1 << 60) as i64 * 9 / 100;
                if ticks > last { ticks } else { last + step.max(1) }
            }
        };
        self.last_ticks = Some(ticks);
        ticks
    }
}

/// Decompresses frames as they come.
pub struct VideoDecoder {
    codec: VideoCodec,
    inner: Decoder,
}

enum Decoder {
    Vp8(vp8::Decoder),
    H264(h264::Decoder),
}

impl VideoDecoder {
    /// Create a decoder; it waits for a key frame.
    ///
    /// # Errors
    ///
    /// [`CodecError::Failed`] when there is no memory.
    pub fn new(codec: VideoCodec) -> Result<Self> {
        let inner = match codec {
            VideoCodec::Vp8 => Decoder::Vp8(vp8::Decoder::new()?),
            VideoCodec::H264 => Decoder::H264(h264::Decoder::new()?),
        };
        Ok(Self { codec, inner })
    }

    /// The codec it was made for.
    pub fn codec(&self) -> VideoCodec {
        self.codec
    }

    /// Decompress one frame. The picture is the decoder's own and borrowed until the next call; `None` when the frame
    /// is not to be shown.
    ///
    /// # Errors
    ///
    /// [`CodecError::Corrupt`] when the frame is damaged or its predecessors are missing. Every frame up to the next
    /// key frame is then refused in the same way: ask for one.
    pub fn decode(&mut self, data: &[u8]) -> Result<Option<I420Ref<'_>>> {
        match &mut self.inner {
            Decoder::Vp8(decoder) => decoder.decode(data),
            Decoder::H264(decoder) => decoder.decode(data),
        }
    }
}
