//! H.264 through openh264.

#![allow(unsafe_code)]

use bytes::Bytes;
use openh264::OpenH264API;
use openh264::encoder::{
    BitRate, Complexity, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile, QpRange, RateControlMode,
    SpsPpsStrategy, UsageType,
};
use openh264::formats::YUVSource;
use openh264_sys2::{
    ENCODER_OPTION_BITRATE, ENCODER_OPTION_FRAME_RATE, ENCODER_OPTION_MAX_BITRATE, SBitrateInfo, SPATIAL_LAYER_ALL,
};

use crate::image::I420Ref;
use crate::video::{EncodedFrame, Options};
use crate::{CodecError, Result};

const LIBRARY: &str = "openh264";
/// The largest picture of level 5.2, whichever way it is turned.
const MAX_LONG_SIDE: u32 = 3840;
const MAX_SHORT_SIDE: u32 = 2160;
/// One macroblock.
const MIN_SIDE: u32 = 16;

pub(crate) struct Encoder {
    inner: openh264::encoder::Encoder,
    scratch: Vec<u8>,
}

impl Encoder {
    /// `options` have been checked by `VideoEncoder`.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let (long, short) = (options.width.max(options.height), options.width.min(options.height));
        if long > MAX_LONG_SIDE || !(MIN_SIDE..=MAX_SHORT_SIDE).contains(&short) {
            return Err(CodecError::invalid(format!(
                "H.264 takes pictures from {MIN_SIDE}x{MIN_SIDE} to {MAX_LONG_SIDE}x{MAX_SHORT_SIDE}; got {}x{}",
                options.width, options.height
            )));
        }
        let inner = openh264::encoder::Encoder::with_api_config(OpenH264API::from_source(), config(options))
            .map_err(|error| failed(&error))?;
        Ok(Self { inner, scratch: Vec::new() })
    }

    pub(crate) fn set_rate(&mut self, options: &Options) -> Result<()> {
        let mut rate = SBitrateInfo { iLayer: SPATIAL_LAYER_ALL, iBitrate: options.bitrate as i32 };
        let mut most = SBitrateInfo { iLayer: SPATIAL_LAYER_ALL, iBitrate: options.bitrate as i32 };
        let mut fps = options.fps;
        // SAFETY: none of the three options is one that the wrapper relies on.
        let raw = unsafe { self.inner.raw_api() };
        // SAFETY: each option takes the type that it is given here, and openh264 copies it during the call. The
        // maximum goes first when the rate grows and last when it shrinks; setting it twice is simpler.
        let error = unsafe {
            raw.set_option(ENCODER_OPTION_MAX_BITRATE, (&raw mut most).cast())
                | raw.set_option(ENCODER_OPTION_BITRATE, (&raw mut rate).cast())
                | raw.set_option(ENCODER_OPTION_FRAME_RATE, (&raw mut fps).cast())
        };
        if error == 0 { Ok(()) } else { Err(CodecError::failed(LIBRARY, format!("set rate: error {error}"))) }
    }

    /// Encode at a media time in milliseconds, which must grow from call to call.
    pub(crate) fn encode(
        &mut self,
        image: &I420Ref<'_>,
        force_keyframe: bool,
        milliseconds: u64,
    ) -> Result<Option<EncodedFrame>> {
        if force_keyframe {
            self.inner.force_intra_frame();
        }
        let source = Even(*image);
        let timestamp = openh264::Timestamp::from_millis(milliseconds);
        let stream = self.inner.encode_at(&source, timestamp).map_err(|error| failed(&error))?;
        let keyframe = match stream.frame_type() {
            FrameType::Skip | FrameType::Invalid => return Ok(None),
            FrameType::IDR => true,
            FrameType::I | FrameType::P | FrameType::IPMixed => false,
        };
        self.scratch.clear();
        stream.write_vec(&mut self.scratch);
        if self.scratch.is_empty() {
            return Ok(None);
        }
        let (width, height) = source.size();
        Ok(Some(EncodedFrame { data: Bytes::copy_from_slice(&self.scratch), keyframe, width, height }))
    }
}

fn config(options: &Options) -> EncoderConfig {
    let usage = if options.screencast { UsageType::ScreenContentRealTime } else { UsageType::CameraVideoRealTime };
    EncoderConfig::new()
        .bitrate(BitRate::from_bps(options.bitrate))
        .max_frame_rate(FrameRate::from_hz(options.fps))
        .usage_type(usage)
        .rate_control_mode(RateControlMode::Bitrate)
        .skip_frames(!options.screencast)
        .sps_pps_strategy(SpsPpsStrategy::ConstantId)
        .profile(Profile::Baseline)
        .complexity(Complexity::Low)
        .qp(QpRange::new(10, 51))
        .scene_change_detect(false)
        .background_detection(!options.screencast)
        .adaptive_quantization(!options.screencast)
        .intra_frame_period(IntraFramePeriod::auto())
        .num_threads(options.threads.clamp(1, 4) as u16)
}

/// A picture without its last odd column and row: H.264 codes pairs of both.
struct Even<'a>(I420Ref<'a>);

impl Even<'_> {
    fn size(&self) -> (u32, u32) {
        (self.0.width() & !1, self.0.height() & !1)
    }
}

impl YUVSource for Even<'_> {
    fn dimensions(&self) -> (usize, usize) {
        let (width, height) = self.size();
        (width as usize, height as usize)
    }

    fn strides(&self) -> (usize, usize, usize) {
        (self.0.stride(0), self.0.stride(1), self.0.stride(2))
    }

    fn y(&self) -> &[u8] {
        self.0.plane(0)
    }

    fn u(&self) -> &[u8] {
        self.0.plane(1)
    }

    fn v(&self) -> &[u8] {
        self.0.plane(2)
    }
}

pub(crate) struct Decoder {
    inner: openh264::decoder::Decoder,
    /// Whether a key frame has been decoded since the start or the last failure.
    started: bool,
}

impl Decoder {
    pub(crate) fn new() -> Result<Self> {
        let inner = openh264::decoder::Decoder::new().map_err(|error| failed(&error))?;
        Ok(Self { inner, started: false })
    }

    pub(crate) fn decode(&mut self, data: &[u8]) -> Result<Option<I420Ref<'_>>> {
        if data.is_empty() || data.len() > i32::MAX as usize {
            return Err(CodecError::corrupt("an empty H.264 frame"));
        }
        if !self.started && !greenroom_media::jitter::h264_has_idr(data) {
            return Err(CodecError::corrupt("H.264 starts with a key frame"));
        }
        self.started = false;
        let decoded = self
            .inner
            .decode(data)
            .map_err(|error| CodecError::corrupt(format!("H.264: openh264 error {:#x}", error.native_code())))?;
        self.started = true;
        let Some(picture) = decoded else { return Ok(None) };
        let (width, height) = picture.dimensions_i32();
        let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else {
            return Ok(None);
        };
        let (y, u, v) = picture.strides();
        // SAFETY: the wrapper ties the planes to `picture`, but they lie in the decoder's own buffers and live until
        // its next call, which cannot come while `&mut self` is borrowed by the result.
        let planes = unsafe { [extend(picture.y()), extend(picture.u()), extend(picture.v())] };
        I420Ref::new(width, height, planes, [y, u, v]).map(Some)
    }
}

/// # Safety
///
/// The bytes must live for `'b`.
unsafe fn extend<'b>(bytes: &[u8]) -> &'b [u8] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr(), bytes.len()) }
}

fn failed(error: &openh264::Error) -> CodecError {
    CodecError::failed(LIBRARY, format!("error {:#x}", error.native_code()))
}
