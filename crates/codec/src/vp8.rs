//! VP8 through the libvpx shim.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::ptr::{NonNull, null};

use bytes::Bytes;

use crate::image::{I420Ref, MAX_SIDE};
use crate::video::{EncodedFrame, Options};
use crate::{CodecError, Result};

const LIBRARY: &str = "libvpx";

/// Twin of `gr_vp8_settings`.
#[repr(C)]
struct Settings {
    width: u32,
    height: u32,
    threads: u32,
    kilobits: u32,
    max_intra_percent: u32,
    drop_below_percent: u32,
    static_threshold: u32,
    token_partitions_log2: u32,
    speed: i32,
    screencast: i32,
}

/// Twin of `gr_vp8_image`.
#[repr(C)]
struct Image {
    planes: [*const u8; 3],
    strides: [i32; 3],
    width: u32,
    height: u32,
}

/// Twin of `gr_vp8_packet`.
#[repr(C)]
struct Packet {
    data: *const u8,
    length: usize,
    keyframe: i32,
}

#[repr(C)]
struct RawEncoder {
    _opaque: [u8; 0],
}

#[repr(C)]
struct RawDecoder {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    fn gr_vp8_error_text(code: i32) -> *const c_char;
    fn gr_vp8_encoder_new(settings: *const Settings, error: *mut i32) -> *mut RawEncoder;
    fn gr_vp8_encoder_free(encoder: *mut RawEncoder);
    fn gr_vp8_encoder_set_rate(encoder: *mut RawEncoder, kilobits: u32, max_intra_percent: u32) -> i32;
    fn gr_vp8_encode(
        encoder: *mut RawEncoder,
        source: *const Image,
        timestamp: i64,
        duration: u32,
        role: i32,
        packet: *mut Packet,
    ) -> i32;
    fn gr_vp8_decoder_new(error: *mut i32) -> *mut RawDecoder;
    fn gr_vp8_decoder_free(decoder: *mut RawDecoder);
    fn gr_vp8_decode(decoder: *mut RawDecoder, data: *const u8, length: u32, picture: *mut Image) -> i32;
}

/// What a frame is for.
#[derive(Debug, Clone, Copy)]
#[repr(i32)]
pub(crate) enum Role {
    Any = 0,
    Key = 1,
    /// It changes nothing in a decoder and may come any number of times.
    Repeatable = 2,
}

pub(crate) struct Encoder {
    raw: NonNull<RawEncoder>,
}

// SAFETY: libvpx contexts have no thread affinity, and `&mut self` guards every use of this one.
unsafe impl Send for Encoder {}

impl Encoder {
    /// `options` have been checked by `VideoEncoder`.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let settings = settings(options);
        let mut error = 0;
        // SAFETY: both pointers are valid for the call.
        let raw = unsafe { gr_vp8_encoder_new(&raw const settings, &raw mut error) };
        let raw = NonNull::new(raw).ok_or_else(|| CodecError::failed(LIBRARY, describe(error)))?;
        Ok(Self { raw })
    }

    pub(crate) fn set_rate(&mut self, options: &Options) -> Result<()> {
        let settings = settings(options);
        // SAFETY: `raw` is a live encoder.
        let error =
            unsafe { gr_vp8_encoder_set_rate(self.raw.as_ptr(), settings.kilobits, settings.max_intra_percent) };
        if error == 0 { Ok(()) } else { Err(CodecError::failed(LIBRARY, describe(error))) }
    }

    /// Encode at `ticks` of the 90 kHz clock, which must grow from call to call.
    pub(crate) fn encode(
        &mut self,
        image: &I420Ref<'_>,
        role: Role,
        ticks: i64,
        duration: u32,
    ) -> Result<Option<EncodedFrame>> {
        let source = Image {
            planes: [0, 1, 2].map(|plane| image.plane(plane).as_ptr()),
            // `I420Ref::new` keeps strides within i32.
            strides: [0, 1, 2].map(|plane| image.stride(plane) as i32),
            width: image.width(),
            height: image.height(),
        };
        let mut packet = Packet { data: null(), length: 0, keyframe: 0 };
        // SAFETY: `raw` is a live encoder of the picture's size (`VideoEncoder` sees to that) and the planes are as
        // long as `I420Ref` guarantees; libvpx only reads them, and only during the call.
        let error = unsafe {
            gr_vp8_encode(self.raw.as_ptr(), &raw const source, ticks, duration, role as i32, &raw mut packet)
        };
        if error != 0 {
            return Err(CodecError::failed(LIBRARY, describe(error)));
        }
        if packet.data.is_null() || packet.length == 0 {
            return Ok(None);
        }
        // SAFETY: libvpx says so, and the bytes live until the next call on this encoder.
        let data = unsafe { std::slice::from_raw_parts(packet.data, packet.length) };
        Ok(Some(EncodedFrame {
            data: Bytes::copy_from_slice(data),
            keyframe: packet.keyframe != 0,
            width: image.width(),
            height: image.height(),
        }))
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `gr_vp8_encoder_new` and is not used again.
        unsafe { gr_vp8_encoder_free(self.raw.as_ptr()) }
    }
}

fn settings(options: &Options) -> Settings {
    let pixels = options.width * options.height;
    let threads = options.threads.clamp(1, 8);
    Settings {
        width: options.width,
        height: options.height,
        threads,
        kilobits: (options.bitrate / 1000).max(1),
        // A key frame may take half of what the buffer holds at its best (600 ms), but never less than three frames.
        max_intra_percent: ((600.0 * 0.5 * options.fps / 10.0) as u32).max(300),
        drop_below_percent: if options.screencast { 0 } else { 30 },
        static_threshold: if options.screencast { 100 } else { 1 },
        token_partitions_log2: threads.ilog2(),
        speed: speed(pixels),
        screencast: i32::from(options.screencast),
    }
}

/// libvpx' fixed real-time speed. Small pictures can afford effort; at 720p, -12 costs 0.3 dB and saves two fifths of
/// the time of -6 (docs/decisions/0003-codecs.md).
fn speed(pixels: u32) -> i32 {
    match pixels {
        0..=101_376 => -6,
        101_377..=409_600 => -8,
        _ => -12,
    }
}

pub(crate) struct Decoder {
    raw: NonNull<RawDecoder>,
    /// Whether a key frame has been decoded since the start or the last failure.
    started: bool,
}

// SAFETY: as for `Encoder`.
unsafe impl Send for Decoder {}

impl Decoder {
    pub(crate) fn new() -> Result<Self> {
        let mut error = 0;
        // SAFETY: the pointer is valid for the call.
        let raw = unsafe { gr_vp8_decoder_new(&raw mut error) };
        let raw = NonNull::new(raw).ok_or_else(|| CodecError::failed(LIBRARY, describe(error)))?;
        Ok(Self { raw, started: false })
    }

    pub(crate) fn decode(&mut self, data: &[u8]) -> Result<Option<I420Ref<'_>>> {
        let keyframe = check_header(data)?;
        if !keyframe && !self.started {
            return Err(CodecError::corrupt("VP8 starts with a key frame"));
        }
        let mut picture = Image { planes: [null(); 3], strides: [0; 3], width: 0, height: 0 };
        // SAFETY: `raw` is a live decoder and `data` as long as is said (`check_header` keeps it within u32).
        let error = unsafe { gr_vp8_decode(self.raw.as_ptr(), data.as_ptr(), data.len() as u32, &raw mut picture) };
        self.started = error == 0;
        if error != 0 {
            return Err(CodecError::corrupt(format!("VP8: {}", describe(error))));
        }
        // SAFETY: the shim filled `picture` from libvpx' current frame, which lives until the next call, and
        // `&mut self` is borrowed until then.
        unsafe { borrow_picture(&picture) }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: `raw` came from `gr_vp8_decoder_new` and is not used again.
        unsafe { gr_vp8_decoder_free(self.raw.as_ptr()) }
    }
}

/// Look at a frame's uncompressed header: is it a key frame? Refuses what libvpx would take as a lost frame or as a
/// picture of absurd size.
fn check_header(data: &[u8]) -> Result<bool> {
    let Some(&[first, ..]) = data.first_chunk::<3>() else {
        return Err(CodecError::corrupt("a VP8 frame has at least 3 bytes"));
    };
    if data.len() > u32::MAX as usize {
        return Err(CodecError::corrupt("a VP8 frame of more than 4 GiB"));
    }
    if first & 1 != 0 {
        return Ok(false);
    }
    let Some(&[_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1]) = data.first_chunk::<10>() else {
        return Err(CodecError::corrupt("a VP8 key frame without its start code"));
    };
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    let (width, height) = (side(w0, w1), side(h0, h1));
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Err(CodecError::corrupt(format!("a VP8 picture of {width}x{height}")));
    }
    Ok(true)
}

/// # Safety
///
/// The planes must be those of a libvpx picture of that size that lives for `'a`.
unsafe fn borrow_picture<'a>(picture: &Image) -> Result<Option<I420Ref<'a>>> {
    if picture.planes.iter().any(|plane| plane.is_null()) || picture.width == 0 || picture.height == 0 {
        return Ok(None);
    }
    let rows = [picture.height, picture.height.div_ceil(2), picture.height.div_ceil(2)];
    let row = [picture.width, picture.width.div_ceil(2), picture.width.div_ceil(2)];
    let strides = picture.strides.map(|stride| stride.max(0) as usize);
    let planes = [0, 1, 2].map(|index| {
        let length = strides[index] * (rows[index] as usize - 1) + row[index] as usize;
        // SAFETY: a libvpx plane has `rows` rows of `stride` bytes (the caller's promise); this ends with the last pixel.
        unsafe { std::slice::from_raw_parts(picture.planes[index], length) }
    });
    I420Ref::new(picture.width, picture.height, planes, strides).map(Some)
}

fn describe(code: i32) -> String {
    // SAFETY: libvpx returns a static, terminated string for every number.
    let text = unsafe { CStr::from_ptr(gr_vp8_error_text(code)) };
    text.to_string_lossy().into_owned()
}
