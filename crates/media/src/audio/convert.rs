use super::error::{AudioError, check_format};
use super::{Quality, Resampler, remix};

/// Makes one rate and channel count out of whatever comes in, also when that changes in mid-stream.
#[derive(Debug)]
pub struct AudioConverter {
    out_rate: u32,
    out_channels: usize,
    quality: Quality,
    in_step: bool,
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
        Ok(Self { out_rate, out_channels, quality, in_step: false, stage: None })
    }

    /// Begins with silence for as long as the output lags behind, so that each push gives as much as it takes: whoever
    /// gathers pieces as long as the pushes need not wait for the next push.
    #[must_use]
    pub fn in_step(self) -> Self {
        Self { in_step: true, ..self }
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
        let fits = |stage: &Stage| stage.in_channels == in_channels && stage.resampler.in_rate() == in_rate;
        if !self.stage.as_ref().is_some_and(fits) {
            check_format(in_rate, in_channels)?;
            self.switch(input, in_rate, in_channels, out)?;
        }
        if let Some(stage) = &mut self.stage {
            stage.push(input, self.out_channels, out);
        }
        Ok(())
    }

    /// Goes over to another format. The old stage ends and the new one begins on the level of the samples at the seam,
    /// so that neither hears a step to silence there.
    fn switch(
        &mut self,
        input: &[i16],
        in_rate: u32,
        in_channels: usize,
        out: &mut Vec<i16>,
    ) -> Result<(), AudioError> {
        let inner = in_channels.min(self.out_channels);
        let resampler = match &self.stage {
            Some(stage) if stage.resampler.in_rate() == in_rate => stage.resampler.with_channels(inner),
            _ => Resampler::new(in_rate, self.out_rate, inner, self.quality)?,
        };
        let mut next = Stage { in_channels, resampler };
        if let Some(mut previous) = self.stage.take() {
            previous.finish(Resampler::flush_held, self.out_channels, out);
            next.begin_held(input);
        } else if self.in_step {
            let lag = (next.resampler.delay() as u64 * u64::from(self.out_rate)).div_ceil(in_rate.into());
            out.resize(out.len() + lag as usize * self.out_channels, 0);
        }
        self.stage = Some(next);
        Ok(())
    }

    /// Appends all that is left, as if silence followed, and starts over.
    pub fn flush(&mut self, out: &mut Vec<i16>) {
        if let Some(stage) = &mut self.stage {
            stage.finish(Resampler::flush, self.out_channels, out);
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

    fn begin_held(&mut self, input: &[i16]) {
        let inner = self.resampler.channels();
        let mut first = Vec::new();
        if let Some(frame) = input.get(..self.in_channels) {
            remix(frame, self.in_channels, inner, &mut first);
        }
        self.resampler.begin_held(&first);
    }

    /// Ends the resampler's stream in one of its ways.
    fn finish(&mut self, flush: fn(&mut Resampler, &mut Vec<i16>), out_channels: usize, out: &mut Vec<i16>) {
        let inner = self.resampler.channels();
        if inner == out_channels {
            return flush(&mut self.resampler, out);
        }
        let mut rest = Vec::new();
        flush(&mut self.resampler, &mut rest);
        remix(&rest, inner, out_channels, out);
    }
}
