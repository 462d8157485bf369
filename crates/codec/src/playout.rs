//! The receiving end of an audio track: packets go in as they come, 10 ms of audio come out whenever asked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use greenroom_media::jitter::audio::{Adjust, AudioJitter, CLOCK_RATE, Config, Next, STEP, Statistics};

use crate::opus::Decoder;
use crate::{Result, stretch};

/// Decisions of the jitter buffer that one pull may take before it plays silence: guards against packets that decode
/// to nothing.
const MAX_ROUNDS: usize = 8;

/// What 10 ms of output are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulled {
    /// Received audio.
    Audio,
    /// At least partly invented, because packets are missing, or comfort noise in a pause.
    Concealed,
    /// Nothing: the stream has not begun, or has stopped. The samples are zeros.
    Silence,
}

/// Jitter buffer, Opus decoder and time stretching of one stream.
///
/// Call [`AudioPlayout::pull`] every 10 ms, whether packets come or not. Audio is delayed as little as the arrival
/// jitter allows; when the delay has to change, single periods are left out or repeated.
pub struct AudioPlayout {
    decoder: Decoder,
    jitter: AudioJitter,
    /// Decoded and not played yet, interleaved, and what it is.
    queue: VecDeque<i16>,
    quality: Pulled,
    /// Something has been decoded since the last silence.
    sounding: bool,
    delay: Option<Duration>,
    scratch: Vec<i16>,
}

impl AudioPlayout {
    /// Create a player whose output has this rate (8, 12, 16, 24 or 48 kHz) and channel count (1 or 2).
    ///
    /// # Errors
    ///
    /// [`CodecError::Invalid`](crate::CodecError::Invalid) for any other format.
    pub fn new(sample_rate: u32, channels: u8, config: Config) -> Result<Self> {
        Ok(Self {
            decoder: Decoder::new(sample_rate, channels)?,
            jitter: AudioJitter::new(config),
            queue: VecDeque::new(),
            quality: Pulled::Silence,
            sounding: false,
            delay: None,
            scratch: Vec::new(),
        })
    }

    /// Take one Opus packet. `seq` is the extended sequence number, `timestamp` the RTP timestamp; redundant copies may
    /// come under the numbers of their originals.
    pub fn insert(&mut self, seq: u64, timestamp: u32, payload: Bytes, now: Instant) {
        self.jitter.insert(seq, timestamp, payload, now);
    }

    /// Replace `out` with the next 10 ms, interleaved.
    pub fn pull(&mut self, now: Instant, out: &mut Vec<i16>) -> Pulled {
        let channels = usize::from(self.decoder.channels());
        let wanted = self.decoder.sample_rate() as usize / 100 * channels;
        let mut pulled = if self.queue.is_empty() { None } else { Some(self.quality) };
        for _ in 0..MAX_ROUNDS {
            if self.queue.len() >= wanted {
                break;
            }
            let pending = self.pending();
            let next = self.jitter.next(now, pending);
            self.quality = self.render(next);
            self.queue.extend(self.scratch.iter().copied());
            pulled = Some(pulled.map_or(self.quality, |before| worse(before, self.quality)));
        }
        self.delay = self.jitter.delay(now + self.pending());
        out.clear();
        out.extend(self.queue.drain(..wanted.min(self.queue.len())));
        out.resize(wanted, 0);
        pulled.unwrap_or(Pulled::Silence)
    }

    /// How long the fastest packet is held before it is played.
    pub fn target_delay(&self, now: Instant) -> Duration {
        self.jitter.target_delay(now)
    }

    /// How long it was held at the last pull; `None` while nothing plays.
    pub fn delay(&self) -> Option<Duration> {
        self.delay
    }

    /// Counters of the jitter buffer.
    pub fn statistics(&self) -> Statistics {
        self.jitter.statistics()
    }

    fn pending(&self) -> Duration {
        let samples = self.queue.len() / usize::from(self.decoder.channels());
        Duration::from_secs_f64(samples as f64 / f64::from(self.decoder.sample_rate()))
    }

    /// Do what the jitter buffer wants; the audio is in `scratch` afterwards.
    fn render(&mut self, next: Next) -> Pulled {
        let (rate, channels) = (self.decoder.sample_rate(), usize::from(self.decoder.channels()));
        match next {
            Next::Decode { payload, adjust } => {
                self.sounding = true;
                if self.decoder.decode(&payload, &mut self.scratch).is_err() {
                    return self.conceal(STEP);
                }
                match adjust {
                    Adjust::Keep => false,
                    Adjust::Shrink { most, must } => {
                        let most = self.output_samples(most);
                        stretch::shrink(&mut self.scratch, rate, channels, most, must)
                    }
                    Adjust::Stretch => stretch::stretch(&mut self.scratch, rate, channels),
                };
                Pulled::Audio
            }
            Next::DecodeFec { payload, samples } => {
                let samples = self.output_samples(samples);
                match self.decoder.decode_fec(&payload, samples, &mut self.scratch) {
                    Ok(_) => Pulled::Concealed,
                    Err(_) => self.conceal(STEP),
                }
            }
            Next::Conceal { samples } => self.conceal(samples),
            Next::Silence { samples } if std::mem::take(&mut self.sounding) => {
                // Concealment never fades away altogether.
                let pulled = self.conceal(samples);
                fade_out(&mut self.scratch, channels);
                pulled
            }
            Next::Silence { samples } => {
                self.scratch.clear();
                self.scratch.resize(self.output_samples(samples) * channels, 0);
                Pulled::Silence
            }
        }
    }

    fn conceal(&mut self, samples: u32) -> Pulled {
        let samples = self.output_samples(samples);
        if self.decoder.conceal(samples, &mut self.scratch).is_err() {
            self.scratch.clear();
            self.scratch.resize(samples * usize::from(self.decoder.channels()), 0);
        }
        Pulled::Concealed
    }

    fn output_samples(&self, samples: u32) -> usize {
        (u64::from(samples) * u64::from(self.decoder.sample_rate()) / u64::from(CLOCK_RATE)) as usize
    }
}

fn fade_out(pcm: &mut [i16], channels: usize) {
    let steps = (pcm.len() / channels).max(1) as f32;
    for (index, frame) in pcm.chunks_mut(channels).enumerate() {
        let share = 1.0 - (index as f32 + 0.5) / steps;
        frame.iter_mut().for_each(|sample| *sample = (f32::from(*sample) * share) as i16);
    }
}

fn worse(left: Pulled, right: Pulled) -> Pulled {
    match (left, right) {
        (Pulled::Audio, Pulled::Audio) => Pulled::Audio,
        (Pulled::Silence, Pulled::Silence) => Pulled::Silence,
        _ => Pulled::Concealed,
    }
}
