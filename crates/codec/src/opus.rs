//! Opus encoder and decoder (libopus).

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::ptr::NonNull;

use opusic_sys as ffi;

use crate::{CodecError, Result};

/// Longest packet that libopus makes for one frame, in bytes.
const MAX_PACKET: usize = 1276;
/// Longest audio that one packet can hold, in milliseconds.
const MAX_PACKET_MS: usize = 120;
/// What libopus returns when all is well.
const OK: c_int = ffi::OPUS_OK;

/// What an encoder is tuned for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Application {
    /// Speech: intelligibility first. The only mode in which in-band FEC works at every rate.
    #[default]
    Voip,
    /// Music and mixed content: fidelity first.
    Audio,
}

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Target in bit/s, 500 to 510 000; 0 lets libopus choose by rate and channels.
    pub bitrate: u32,
    /// Send next to nothing while the input is silent.
    pub dtx: bool,
    /// Carry a coarse copy of the previous frame in each packet, so that a receiver can repair single losses.
    pub fec: bool,
    /// Packet loss to expect, 0 to 100 percent. FEC costs bits only when this is above 0.
    pub expected_loss: u8,
    /// Speech or music.
    pub application: Application,
    /// Effort, 0 (least) to 10.
    pub complexity: u8,
}

impl Default for Options {
    /// Speech at an automatic rate, FEC on for a little loss, DTX off, the effort that browsers use.
    fn default() -> Self {
        Self { bitrate: 0, dtx: false, fec: true, expected_loss: 5, application: Application::Voip, complexity: 9 }
    }
}

/// What became of one frame of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// The encoder is in DTX and this packet says nothing new: it need not be sent.
    pub silent: bool,
}

/// Turns 10, 20, 40 or 60 ms of 16-bit audio into one packet.
pub struct Encoder {
    state: NonNull<ffi::OpusEncoder>,
    sample_rate: u32,
    channels: u8,
}

// SAFETY: the state is a plain heap block without thread affinity, and `&mut self` guards every use of it.
unsafe impl Send for Encoder {}

impl Encoder {
    /// Create an encoder for interleaved audio at 8, 12, 16, 24 or 48 kHz with one or two channels.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] for another rate or channel count, or an option out of its range.
    pub fn new(sample_rate: u32, channels: u8, options: Options) -> Result<Self> {
        check_format(sample_rate, channels)?;
        let application = match options.application {
            Application::Voip => ffi::OPUS_APPLICATION_VOIP,
            Application::Audio => ffi::OPUS_APPLICATION_AUDIO,
        };
        let mut error = OK;
        // SAFETY: the arguments are in libopus' ranges (checked above) and `error` outlives the call.
        let state =
            unsafe { ffi::opus_encoder_create(sample_rate as i32, c_int::from(channels), application, &raw mut error) };
        let state = NonNull::new(state).ok_or_else(|| failed(error))?;
        let mut encoder = Self { state, sample_rate, channels };
        encoder.control(ffi::OPUS_SET_COMPLEXITY_REQUEST, ranged("complexity", options.complexity, 10)?)?;
        encoder.control(ffi::OPUS_SET_INBAND_FEC_REQUEST, i32::from(options.fec))?;
        encoder.set_bitrate(options.bitrate)?;
        encoder.set_dtx(options.dtx)?;
        encoder.set_expected_loss(options.expected_loss)?;
        Ok(encoder)
    }

    /// Encode one frame of interleaved samples, replacing what `out` held.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] when `pcm` is not 10, 20, 40 or 60 ms long.
    pub fn encode(&mut self, pcm: &[i16], out: &mut Vec<u8>) -> Result<Encoded> {
        let unit = self.sample_rate as usize / 100 * usize::from(self.channels);
        if ![1, 2, 4, 6].contains(&(pcm.len() / unit)) || !pcm.len().is_multiple_of(unit) {
            return Err(CodecError::invalid(format!(
                "an audio frame has 10, 20, 40 or 60 ms, here 1, 2, 4 or 6 times {unit} samples; got {}",
                pcm.len()
            )));
        }
        let samples = pcm.len() / usize::from(self.channels);
        // 60 ms may become three frames in one packet.
        out.resize(3 * MAX_PACKET, 0);
        // SAFETY: `pcm` holds `samples` samples for each channel and `out` as many bytes as is said.
        let length = unsafe {
            ffi::opus_encode(self.state.as_ptr(), pcm.as_ptr(), samples as c_int, out.as_mut_ptr(), out.len() as i32)
        };
        let length = usize::try_from(length).map_err(|_| failed(length))?;
        out.truncate(length);
        // libopus: a packet of up to two bytes does not need to be transmitted.
        Ok(Encoded { silent: length <= 2 })
    }

    /// Change the target rate in bit/s; 0 is automatic.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] outside 500 to 510 000.
    pub fn set_bitrate(&mut self, bitrate: u32) -> Result<()> {
        let value = match bitrate {
            0 => ffi::OPUS_AUTO,
            500..=510_000 => bitrate as i32,
            _ => return Err(CodecError::invalid(format!("an Opus bit rate is 500 to 510000 bit/s; got {bitrate}"))),
        };
        self.control(ffi::OPUS_SET_BITRATE_REQUEST, value)
    }

    /// Tell the encoder how many percent of packets get lost; this decides how many bits FEC gets.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] above 100.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<()> {
        self.control(ffi::OPUS_SET_PACKET_LOSS_PERC_REQUEST, ranged("expected loss", percent, 100)?)
    }

    /// Switch discontinuous transmission.
    ///
    /// # Errors
    ///
    /// None in practice.
    pub fn set_dtx(&mut self, dtx: bool) -> Result<()> {
        self.control(ffi::OPUS_SET_DTX_REQUEST, i32::from(dtx))
    }

    fn control(&mut self, request: c_int, value: i32) -> Result<()> {
        // SAFETY: every request used here is a setter that takes exactly one 32-bit integer.
        match unsafe { ffi::opus_encoder_ctl(self.state.as_ptr(), request, value) } {
            OK => Ok(()),
            error => Err(failed(error)),
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the state came from `opus_encoder_create` and is not used again.
        unsafe { ffi::opus_encoder_destroy(self.state.as_ptr()) }
    }
}

/// Turns packets into 16-bit audio, and invents audio for packets that are missing.
pub struct Decoder {
    state: NonNull<ffi::OpusDecoder>,
    sample_rate: u32,
    channels: u8,
}

// SAFETY: as for `Encoder`.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Create a decoder whose output has this rate and channel count, whatever the packets hold.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] for a rate other than 8, 12, 16, 24 or 48 kHz or more than two channels.
    pub fn new(sample_rate: u32, channels: u8) -> Result<Self> {
        check_format(sample_rate, channels)?;
        let mut error = OK;
        // SAFETY: the arguments are in libopus' ranges (checked above) and `error` outlives the call.
        let state = unsafe { ffi::opus_decoder_create(sample_rate as i32, c_int::from(channels), &raw mut error) };
        let state = NonNull::new(state).ok_or_else(|| failed(error))?;
        Ok(Self { state, sample_rate, channels })
    }

    /// Rate of the output in Hz.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Channels of the output.
    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// Decode a packet into interleaved samples that replace `out`. Returns the samples per channel.
    ///
    /// # Errors
    ///
    /// [`CodecError::Corrupt`] when this is no Opus packet; `out` is empty then and the decoder stays usable.
    pub fn decode(&mut self, packet: &[u8], out: &mut Vec<i16>) -> Result<usize> {
        if packet.is_empty() {
            out.clear();
            return Err(CodecError::corrupt("an empty Opus packet"));
        }
        self.run(packet, self.max_samples(), false, out)
    }

    /// Rebuild the lost packet before `next_packet` from the copy in it, or conceal it when there is none.
    ///
    /// `samples` per channel is how long the lost packet was: a multiple of 2.5 ms.
    ///
    /// # Errors
    ///
    /// [`CodecError::Corrupt`] when `next_packet` is no Opus packet, [`CodecError::Invalid`] for a wrong duration.
    pub fn decode_fec(&mut self, next_packet: &[u8], samples: usize, out: &mut Vec<i16>) -> Result<usize> {
        if next_packet.is_empty() {
            return self.conceal(samples, out);
        }
        self.check_duration(samples)?;
        self.run(next_packet, samples, true, out)
    }

    /// Invent `samples` per channel that continue what was decoded last; fades to silence when it goes on.
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`] when `samples` is not a multiple of 2.5 ms of at most 120 ms.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) -> Result<usize> {
        self.check_duration(samples)?;
        self.run(&[], samples, false, out)
    }

    fn run(&mut self, packet: &[u8], samples: usize, fec: bool, out: &mut Vec<i16>) -> Result<usize> {
        let channels = usize::from(self.channels);
        out.clear();
        let Ok(length) = i32::try_from(packet.len()) else {
            return Err(CodecError::corrupt("an Opus packet of more than 2 GiB"));
        };
        let data = if packet.is_empty() { std::ptr::null() } else { packet.as_ptr() };
        out.resize(samples * channels, 0);
        // SAFETY: `data` holds `length` bytes (null with 0 asks for concealment) and `out` room for `samples` of each
        // channel.
        let decoded = unsafe {
            ffi::opus_decode(self.state.as_ptr(), data, length, out.as_mut_ptr(), samples as c_int, c_int::from(fec))
        };
        let decoded = usize::try_from(decoded).map_err(|_| {
            out.clear();
            CodecError::corrupt(describe(decoded))
        })?;
        out.truncate(decoded * channels);
        Ok(decoded)
    }

    fn max_samples(&self) -> usize {
        self.sample_rate as usize * MAX_PACKET_MS / 1000
    }

    fn check_duration(&self, samples: usize) -> Result<()> {
        let unit = self.sample_rate as usize / 400;
        if samples == 0 || !samples.is_multiple_of(unit) || samples > self.max_samples() {
            return Err(CodecError::invalid(format!(
                "concealed audio comes in multiples of {unit} samples (2.5 ms) up to {}; got {samples}",
                self.max_samples()
            )));
        }
        Ok(())
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the state came from `opus_decoder_create` and is not used again.
        unsafe { ffi::opus_decoder_destroy(self.state.as_ptr()) }
    }
}

/// How long the audio in a packet is, in samples per channel at `sample_rate`.
///
/// # Errors
///
/// [`CodecError::Corrupt`] when this is no Opus packet.
pub fn packet_samples(packet: &[u8], sample_rate: u32) -> Result<usize> {
    check_format(sample_rate, 1)?;
    if packet.is_empty() || packet.len() > i32::MAX as usize {
        return Err(CodecError::corrupt("an empty Opus packet"));
    }
    // SAFETY: `packet` holds as many bytes as is said.
    let samples = unsafe { ffi::opus_packet_get_nb_samples(packet.as_ptr(), packet.len() as i32, sample_rate as i32) };
    usize::try_from(samples).map_err(|_| CodecError::corrupt(describe(samples)))
}

/// Whether a packet carries a copy of the one before it.
pub fn has_fec(packet: &[u8]) -> bool {
    if packet.is_empty() || packet.len() > i32::MAX as usize {
        return false;
    }
    // SAFETY: `packet` holds as many bytes as is said.
    unsafe { ffi::opus_packet_has_lbrr(packet.as_ptr(), packet.len() as i32) == 1 }
}

fn check_format(sample_rate: u32, channels: u8) -> Result<()> {
    if ![8_000, 12_000, 16_000, 24_000, 48_000].contains(&sample_rate) {
        return Err(CodecError::invalid(format!(
            "Opus works at 8000, 12000, 16000, 24000 or 48000 Hz; got {sample_rate}"
        )));
    }
    if !(1..=2).contains(&channels) {
        return Err(CodecError::invalid(format!("Opus takes 1 or 2 channels; got {channels}")));
    }
    Ok(())
}

fn ranged(name: &str, value: u8, most: u8) -> Result<i32> {
    if value > most {
        return Err(CodecError::invalid(format!("{name} is 0 to {most}; got {value}")));
    }
    Ok(i32::from(value))
}

fn failed(error: c_int) -> CodecError {
    CodecError::failed("libopus", describe(error))
}

fn describe(error: c_int) -> String {
    // SAFETY: libopus returns a static, terminated string for every number.
    let text = unsafe { CStr::from_ptr(ffi::opus_strerror(error)) };
    text.to_string_lossy().into_owned()
}
