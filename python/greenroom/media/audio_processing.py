"""Echo cancellation, noise suppression, gain control and high-pass filter for 10 ms frames."""

from __future__ import annotations

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import FrameError
from greenroom.media.audio import AudioFrame
from greenroom.media.frame_processor import FrameProcessor

__all__ = ["AudioProcessingModule", "NoiseSuppressor"]


class AudioProcessingModule:
    """Cleans what a microphone heard, in place.

    Frames last a multiple of 10 ms, have up to 8 channels and a rate that is a multiple of 100 Hz from 8 to 384 kHz.
    The format may change from frame to frame; then what was learnt is lost.
    """

    def __init__(
        self,
        *,
        echo_cancellation: bool = False,
        noise_suppression: bool = False,
        high_pass_filter: bool = False,
        auto_gain_control: bool = False,
    ) -> None:
        """Choose what is done; without any of it frames pass untouched.

        Args:
            echo_cancellation: remove what of `process_reverse_stream` comes back in `process_stream`.
            noise_suppression: lower steady noise by about 12 dB.
            high_pass_filter: remove rumble below the voice.
            auto_gain_control: bring speech to an even level.
        """
        self._native = _engine.AudioProcessor(
            echo_cancellation=check.flag("echo_cancellation", echo_cancellation),
            noise_suppression=check.flag("noise_suppression", noise_suppression),
            high_pass_filter=check.flag("high_pass_filter", high_pass_filter),
            auto_gain_control=check.flag("auto_gain_control", auto_gain_control),
        )

    def process_stream(self, data: AudioFrame) -> None:
        """Process the near end, what the microphone heard, in place. A read-only frame gets memory of its own.

        Raises:
            FrameError: a format that is not processed, or a length that is not a multiple of 10 ms.
        """
        check.instance("data", data, AudioFrame)
        try:
            done = self._native.process(data.samples(), data.sample_rate, data.num_channels)
        except (ValueError, OverflowError) as error:
            raise FrameError(str(error)) from None
        data.replace_samples(done)

    def process_reverse_stream(self, data: AudioFrame) -> None:
        """Listen to the far end, what the loudspeaker is about to play. The frame is not changed.

        Raises:
            FrameError: a format that is not processed, or a length that is not a multiple of 10 ms.
        """
        check.instance("data", data, AudioFrame)
        try:
            self._native.process_reverse(data.samples(), data.sample_rate, data.num_channels)
        except (ValueError, OverflowError) as error:
            raise FrameError(str(error)) from None

    def set_stream_delay_ms(self, delay_ms: int) -> None:
        """Tell how long after `process_reverse_stream` a sound's echo reaches `process_stream`.

        A hint for the echo canceller, which finds the delay by itself, too.

        Args:
            delay_ms: in milliseconds, 0 to 500; capped.
        """
        self._native.set_delay_ms(min(max(0, check.index("delay_ms", delay_ms)), 500))


class NoiseSuppressor(FrameProcessor[AudioFrame]):
    """Lowers steady noise in a received stream: pass it as `noise_cancellation=` to an `AudioStream`."""

    def __init__(self, *, high_pass_filter: bool = True, auto_gain_control: bool = False) -> None:
        self._module = AudioProcessingModule(
            noise_suppression=True, high_pass_filter=high_pass_filter, auto_gain_control=auto_gain_control
        )
        self._enabled = True

    @property
    def enabled(self) -> bool:
        """Whether frames are processed; otherwise they pass untouched."""
        return self._enabled

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._enabled = value

    def _process(self, frame: AudioFrame) -> AudioFrame:
        self._module.process_stream(frame)
        return frame

    def _close(self) -> None:
        self._enabled = False
