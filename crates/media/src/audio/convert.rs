use super::error::{AudioError, check_format};
use super::{Quality, Resampler, remix};

/// Makes one rate and channel count out of whatever comes in, also when that changes in mid-stream.
#[derive(Debug)]
pub struct AudioConverter {
    out_rate: u32,
    out_channels: usize,
    quality: Quality,
    stage: Option<Stage>,
}

/// The resampler for the format that is coming in now.
#[derive(Debug)]
struct Stage {
    in_channels: usize,
    resampler: Resampler,
}

impl AudioConverter {
    /// # Errors
    /// A rate or channel count outside of what is accepted.
    pub fn new(out_rate: u32, out_channels: usize, quality: Quality) -> Result<Self, AudioError> {
        check_format(out_rate, out_channels)?;
        Ok(Self {
            out_rate,
            out_channels,
            quality,
            stage: None,
        })
    }

    /// Output rate in Hz.
    #[must_use]
    pub fn out_rate(&self) -> u32 {
        self.out_rate
    }

    /// Output channels.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.out_channels
    }

    /// Takes interleaved samples of the given format and appends what is ready to `out`.
    ///
    /// When the format is another one than before, the earlier one's rest comes first.
    ///
    /// # Errors
    /// A rate or channel count outside of what is accepted; nothing has changed then.
    pub fn push(
        &mut self,
        input: &[i16],
        in_rate: u32,
        in_channels: usize,
        out: &mut Vec<i16>,
    ) -> Result<(), AudioError> {
        check_format(in_rate, in_channels)?;
        let fits = |stage: &Stage| {
            stage.in_channels == in_channels && stage.resampler.in_rate() == in_rate
        };
        if !self.stage.as_ref().is_some_and(fits) {
            let inner = in_channels.min(self.out_channels);
            let resampler = Resampler::new(in_rate, self.out_rate, inner, self.quality)?;
            self.flush(out);
            self.stage = Some(Stage {
                in_channels,
                resampler,
            });
        }
        if let Some(stage) = &mut self.stage {
            stage.push(input, self.out_channels, out);
        }
        Ok(())
    }

    /// Appends all that is left, as if silence followed, and starts over.
    pub fn flush(&mut self, out: &mut Vec<i16>) {
        if let Some(stage) = &mut self.stage {
            stage.flush(self.out_channels, out);
        }
    }
}

impl Stage {
    /// Resamples in the smaller of the two channel counts.
    fn push(&mut self, input: &[i16], out_channels: usize, out: &mut Vec<i16>) {
        let inner = self.resampler.channels();
        if inner == self.in_channels && inner == out_channels {
            return self.resampler.push(input, out);
        }
        if inner == out_channels {
            let mut narrow = Vec::new();
            remix(input, self.in_channels, inner, &mut narrow);
            return self.resampler.push(&narrow, out);
        }
        let mut resampled = Vec::new();
        self.resampler.push(input, &mut resampled);
        remix(&resampled, inner, out_channels, out);
    }

    fn flush(&mut self, out_channels: usize, out: &mut Vec<i16>) {
        let inner = self.resampler.channels();
        if inner == out_channels {
            return self.resampler.flush(out);
        }
        let mut rest = Vec::new();
        self.resampler.flush(&mut rest);
        remix(&rest, inner, out_channels, out);
    }
}
