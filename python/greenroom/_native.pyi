"""Typed face of the compiled media engine. `greenroom._engine` is its only importer.

Handles are 64-bit integers that the caller chooses (`_engine.new_handle()`), so that no event can name something
the caller does not know yet. Commands never block and never fail late: a bad argument raises at once, everything
else comes back as an event from `Engine.drain()`. Times are seconds, rates are Hz, bit rates are bit/s.
"""

from collections.abc import Sequence
from typing import Self, final

from typing_extensions import Buffer

VERSION: str

@final
class Engine:
    """One media thread with its sockets, rooms and peers, and one queue of events for Python."""

    def __new__(cls, name: str = "media") -> Self: ...
    def fileno(self) -> int:
        """A descriptor that is readable while events wait. It stays the same until `close()`."""

    def drain(self) -> list[tuple[object, ...]]:
        """All events since the last call, oldest first, at most 4096; clears the descriptor when none is left.

        Each event is `(name, handle, *rest)`:

        | name | handle | rest |
        |---|---|---|
        | `peer_state` | peer | `state: str` ("connected", "disconnected", "failed", "closed"), `detail: str` |
        | `offer` | peer | `offer_id: int, sdp: str, sections: list[Section]` |
        | `answer` | peer | `offer_id: int, sdp: str, sections: list[Section]` |
        | `negotiated` | peer | `offer_id: int, sections: list[Section]` (the other side's answer was applied) |
        | `negotiation_failed` | peer | `offer_id: int, message: str` |
        | `sections_needed` | peer | `audio: int, video: int`: an answering peer has tracks to send and no free section |
        | `data_open` | peer | `label: str` |
        | `data` | peer | `label: str, payload: bytes` |
        | `data_sent` | peer | `request: int, error: str` ("" when the payload left our queue) |
        | `stream_state` | subscriber peer | `track: int, paused: bool`: for want of bandwidth |
        | `subscription_bound` | subscriber peer | `track: int, mid: str` |
        | `speakers` | room | `list[tuple[track: int, level: float, active: bool]]`: changes only, every 0.4 s |
        | `quality` | room | `list[tuple[peer, rtt: float, sent_loss: float, received_loss: float, jitter: float]]`, every 5 s |
        | `track_media` | track | `mime: str`: the first packet of a published track has arrived |
        | `encryption` | client peer | `sender: int, mid: str, state: int`: a sender (or, with 0, the section received on)
          has another EncryptionState |
        | `captured` | source | `request: int` : the waiting capture has returned |
        | `drained` | source | `request: int` : everything captured so far has been played, or was cleared |
        | `readable` | sink | - : `read()` has something and the reader was waiting |
        | `ended` | sink | - : nothing more will come; what is buffered can still be read |
        | `engine_failed` | room, or 0 for the whole engine | `message: str` |
        | `log` | 0 | `line: str`: a warning or error of the engine |
        """

    def close(self) -> None:
        """Close every peer and socket and join the thread. Idempotent; every handle becomes unknown."""

    def statistics(self) -> dict[str, int]:
        """Counters: rooms, peers, tracks, subscriptions, sources, sinks, packets_in, packets_out, bytes_in, bytes_out,
        datagrams_dropped, wakeups, events."""

    # -- server side -------------------------------------------------------------------------------------------------

    def listen(self, host: str, udp_port: int, tcp_port: int, advertise: Sequence[str]) -> tuple[int, int]:
        """Bind the one UDP and the one ICE-TCP port for server peers; 0 chooses a port. Returns the ports.

        Args:
            host: address to bind, "0.0.0.0", "::" or one address.
            advertise: IP addresses put into candidates; empty = the bound address, or all local ones for a wildcard.

        Raises:
            OSError: a port is in use or the address is not local.
        """

    def open_room(self, room: int) -> None: ...
    def close_room(self, room: int) -> None:
        """Close the room and every peer, track and subscription in it."""

    def open_server_peer(self, room: int, peer: int, *, offers: bool) -> None:
        """One ICE-lite connection of a participant. `offers`: we make the offers (dual mode's subscriber side)."""

    def add_track(
        self,
        room: int,
        track: int,
        peer: int,
        mid: str,
        *,
        kind: str,
        layers: Sequence[tuple[str, int, int, int]],
        detect_speaker: bool,
        priority: int = 1,
        encrypted: bool = False,
    ) -> None:
        """Make the media that `peer` sends on `mid` a track others can subscribe to.

        Args:
            kind: "audio" or "video".
            layers: `(rid, quality 0..2, width, height)` per simulcast layer; rid "" when there is one.
            priority: who gets bandwidth first, 0..255, higher before lower.
            encrypted: end to end; the room then adds no media of its own (silence after a mute).
        """

    def remove_track(self, track: int) -> None: ...
    def prefer(self, peer: int, track_id: str, *, codecs: Sequence[str], stereo: bool, dtx: bool) -> None:
        """Answer offers of a track, by the id that the client gave it, with these MIME types first from now on.

        Just "audio/opus" rules redundant audio out; an empty list is the usual order.
        """

    def forget_preference(self, peer: int, track_id: str) -> None:
        """Answer offers of that track in the usual way again."""

    def mute_track(self, track: int, muted: bool) -> None: ...
    def subscribe(self, track: int, peer: int, *, stream_id: str, track_id: str, cname: str) -> None:
        """Send `track` to `peer`. Binds at the next negotiation: `sections_needed`, or `offer`, follows by itself."""

    def unsubscribe(self, track: int, peer: int) -> None: ...
    def set_subscription(self, track: int, peer: int, *, paused: bool, quality: int, fps: int) -> None:
        """quality 0..2 = highest layer to send; fps 0 = no limit."""

    # -- both ends ---------------------------------------------------------------------------------------------------

    def close_peer(self, peer: int) -> None: ...
    def accept_offer(self, peer: int, offer_id: int, sdp: str) -> None:
        """-> `answer` or `negotiation_failed`."""

    def create_offer(self, peer: int, *, audio: int = 0, video: int = 0, ice_restart: bool = False) -> None:
        """-> `offer` (or nothing when an offer is outstanding: it follows after its answer).

        Args:
            audio, video: how many recvonly sections to add (single connection mode, client).
        """

    def accept_answer(self, peer: int, offer_id: int, sdp: str) -> None:
        """-> `negotiated` or `negotiation_failed`."""

    def add_candidate(self, peer: int, candidate: str) -> None:
        """A remote `candidate:...` line. Unparsable ones, mDNS names and duplicates are ignored."""

    def send_data(self, peers: Sequence[int], label: str, payload: bytes, *, request: int = 0) -> None:
        """Queue one message on the channel called `label` of each peer. With request != 0: `data_sent` follows per peer."""

    # -- client side -------------------------------------------------------------------------------------------------

    def open_client_peer(self, peer: int, *, local_addresses: Sequence[str], data_channels: bool) -> None:
        """One full-ICE connection. `data_channels`: create `_reliable`, `_lossy` and `_data_track`."""

    def add_sender(
        self,
        peer: int,
        sender: int,
        source: AudioSource | VideoSource,
        *,
        cid: str,
        stream_id: str,
        codec: str,
        bitrate: int,
        fps: int,
        layers: Sequence[tuple[str, int, int, int, int]],
        dtx: bool,
        red: bool,
    ) -> None:
        """Send a source on a new sendonly section of the next offer.

        Args:
            cid: the msid track id, equal to AddTrackRequest.cid.
            codec: "opus", "vp8" or "h264".
            layers: video simulcast, low to high: `(rid, width, height, bitrate, fps)`; empty = one encoding.
        """

    def remove_sender(self, sender: int) -> None:
        """Stop and inactivate its section (in the next offer)."""

    def mute_sender(self, sender: int, muted: bool) -> None: ...
    def set_sender_layers(self, sender: int, enabled: Sequence[bool]) -> None: ...
    def encrypt_sender(self, sender: int, keys: Keyring | None, identity: str, index: int) -> None:
        """Encrypt what is sent with the key `index` of `identity`; without `keys` send it clear."""

    def decrypt_receiver(
        self, peer: int, mid: str, keys: Keyring | None, identity: str, *, trailer: bytes, enabled: bool
    ) -> None:
        """Decrypt what `identity` sends on a section. What cannot be decrypted reaches nobody.

        Args:
            keys: None = refuse every frame.
            trailer: the end of frames that the server made in the sender's place.
            enabled: False = only frames that are not encrypted are let through.
        """

    def leave_receiver_clear(self, peer: int, mid: str) -> None:
        """What arrives on a section is not encrypted."""

    def sender_statistics(self, sender: int) -> dict[str, int | float | str]: ...
    def receiver_statistics(self, peer: int, mid: str) -> dict[str, int | float | str]: ...
    def peer_statistics(self, peer: int) -> dict[str, int | float | str]: ...

@final
class Keyring:
    """Keys for end-to-end encryption by participant and index; identity None = everyone's."""

    def __new__(
        cls, *, salt: bytes, ratchet_window: int, failure_tolerance: int | None, ring_size: int, hkdf: bool
    ) -> Self:
        """failure_tolerance None = never give a key up. Raises ValueError for a size out of range."""

    def set(self, identity: str | None, index: int, key: bytes) -> None:
        """Takes some 50 ms with PBKDF2. Raises ValueError for an index that the ring does not have."""

    def export(self, identity: str | None, index: int) -> bytes | None:
        """The material of a key."""

    def ratchet(self, identity: str | None, index: int) -> bytes:
        """Replace a key by its successor and return the material. Raises ValueError when there is none."""

    def seal(self, identity: str, index: int, data: bytes) -> tuple[bytes, bytes]:
        """Nonce and ciphertext of data. Raises ValueError when there is no key."""

    def open(self, identity: str, index: int, nonce: bytes, sealed: bytes) -> bytes | None:
        """The data, None if the key does not fit."""

@final
class Section:
    """One m-line of a description that was just applied or made."""

    mid: str
    kind: str  # "audio" | "video" | "application"
    #: What *we* receive on it: the remote msid's stream and track id ("" when it sends nothing), and its simulcast rids.
    receiving: bool
    stream_id: str
    track_id: str
    rids: list[str]
    #: What we send on it: the track handle (server) or sender handle (client), 0 = nothing.
    sending: int
    #: e.g. ["audio/opus", "audio/red"]: codecs both sides accepted, in order.
    codecs: list[str]

@final
class AudioSource:
    """A real-time queue of PCM in front of any number of encoders and local sinks. It drains whether published or not."""

    def __new__(cls, engine: Engine, source: int, sample_rate: int, num_channels: int, queue_size: float) -> Self:
        """queue_size is in seconds; 0 = no queue: each capture must be 10 ms and returns at once."""

    def capture(self, request: int, data: Buffer, samples_per_channel: int) -> bool:
        """Take int16 samples in, after any capture that is still waiting (FIFO); the data is copied before this returns.

        True when the whole frame is within the queue now; otherwise `captured` follows with `request`.
        """

    def cancel(self, request: int) -> None:
        """Drop what that waiting capture has not put into the queue yet. `captured` does not follow."""

    def clear(self) -> None:
        """Empty the queue and release every waiting capture (`captured` follows for each) and `drained` waiters."""

    def notify_drained(self, request: int) -> None:
        """`drained` follows when the last sample captured so far was played; a tail under 10 ms is padded with silence."""

    @property
    def queued(self) -> float:
        """Seconds of audio waiting to be played, waiting captures included."""

    def close(self) -> None: ...

@final
class VideoSource:
    """The newest picture, in front of any number of encoders and local sinks. No queue."""

    def __new__(cls, engine: Engine, source: int, width: int, height: int, is_screencast: bool) -> Self: ...
    def capture(self, format: int, width: int, height: int, data: Buffer, timestamp_us: int, rotation: int) -> None:
        """Convert to I420 and hand over, with the GIL released. timestamp_us 0 = now; rotation 0, 90, 180 or 270."""

    def close(self) -> None: ...

@final
class AudioSink:
    """Decoded, resampled audio of one received track or local source, in a bounded ring (drops the oldest)."""

    def __new__(
        cls, engine: Engine, sink: int, *, sample_rate: int, num_channels: int, frame_samples: int, capacity: int
    ) -> Self:
        """frame_samples per channel in each `read()`; capacity in frames, 0 = 10 s worth."""

    def attach_receiver(self, peer: int, mid: str) -> None: ...
    def attach_source(self, source: AudioSource) -> None: ...
    def read(self) -> bytearray | None:
        """The oldest whole frame (int16 interleaved), or None: then `readable` or `ended` follows."""

    @property
    def dropped(self) -> int: ...
    def close(self) -> None: ...

@final
class VideoSink:
    """Decoded frames of one received track or local source, converted to one format, in a bounded ring (drops the oldest)."""

    def __new__(cls, engine: Engine, sink: int, *, format: int, capacity: int) -> Self:
        """format: a VideoBufferType, or -1 for the decoder's own (I420). capacity in frames, 0 = 8."""

    def attach_receiver(self, peer: int, mid: str) -> None: ...
    def attach_source(self, source: VideoSource) -> None: ...
    def read(self) -> tuple[int, int, int, bytearray, int, int] | None:
        """`(format, width, height, data, timestamp_us, rotation)`, or None: then `readable` or `ended` follows."""

    @property
    def dropped(self) -> int: ...
    def close(self) -> None: ...

# -- frames and samples: greenroom.media ---------------------------------------------------------------------------
# (the media crate's functions are declared here by their owners)

@final
class Resampler:
    """Streaming conversion of int16 samples from one rate to another; bit-identical whatever the chunking."""

    def __new__(cls, in_rate: int, out_rate: int, num_channels: int, quality: int) -> Self:
        """quality 0 (quick) to 4 (very high). Raises ValueError for a rate or channel count out of range."""

    @property
    def delay(self) -> int:
        """Input samples per channel by which output lags; 0 when the rates are equal."""

    def push(self, data: Buffer) -> bytearray: ...
    def flush(self) -> bytearray:
        """What is left, so that the total is exactly the input's length at the new rate; then it starts over."""

@final
class AudioConverter:
    """One rate and channel count out of whatever comes in, also when that changes in mid-stream."""

    def __new__(cls, out_rate: int, out_channels: int, quality: int) -> Self: ...
    def push(self, data: Buffer, sample_rate: int, num_channels: int) -> bytearray: ...
    def flush(self) -> bytearray: ...

@final
class AudioProcessor:
    """Echo cancellation, noise suppression, gain control and high-pass filter, on multiples of 10 ms."""

    def __new__(
        cls,
        *,
        echo_cancellation: bool,
        noise_suppression: bool,
        high_pass_filter: bool,
        auto_gain_control: bool,
    ) -> Self: ...
    def process(self, data: Buffer, sample_rate: int, num_channels: int) -> bytearray: ...
    def process_reverse(self, data: Buffer, sample_rate: int, num_channels: int) -> None: ...
    def set_delay_ms(self, delay: int) -> None: ...

def mix_samples(inputs: Sequence[Buffer]) -> bytearray:
    """The saturated sum, as long as the longest input."""

def scale_samples(data: Buffer, factor: float) -> bytearray:
    """Samples times a factor, rounded and clipped."""

def sample_levels(data: Buffer) -> tuple[float, float]:
    """RMS and peak in dB relative to full scale, -127.0 for silence."""

@final
class FrameBuffer:
    """Writable memory of one picture, reused when the last view of it is gone."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class FlatBuffer:
    """The bytes of a contiguous buffer, whatever its items are."""

    def __new__(cls, buffer: Buffer) -> Self: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def new_frame_buffer(format: int, width: int, height: int) -> FrameBuffer:
    """Memory of the right length for a packed picture, with arbitrary content."""

def plane_shapes(format: int, width: int, height: int) -> list[tuple[int, int]]:
    """Bytes per row and number of rows of each plane, in memory order. Raises FrameError for a bad type or size."""

def convert_frame(
    source: int,
    size: tuple[int, int],
    data: Buffer,
    target: int,
    out: Buffer,
    *,
    flip_y: bool,
    matrix: int,
    range: int,
    isa: str | None = None,
) -> None:
    """Convert a packed picture into `out`, without the GIL. Buffers are of unsigned bytes and of exactly the right length.

    Args:
        size: width and height in pixels.
        matrix: 0 BT.601, 1 BT.709.
        range: 0 limited, 1 full.
        isa: one of `instruction_sets()`; None = the best.

    Raises:
        FrameError: a type, size or length is wrong, or `out` is read-only or overlaps `data`.
    """

def convert_planes(
    source: int,
    size: tuple[int, int],
    planes: Sequence[tuple[Buffer, int]],
    target: int,
    out: Sequence[tuple[Buffer, int]],
) -> None:
    """The same for pictures given as planes with strides in bytes."""

def crop_frame(
    format: int, size: tuple[int, int], data: Buffer, rectangle: tuple[int, int, int, int], out: Buffer
) -> None:
    """Copy the rectangle (x, y, width, height) into `out`."""

def resize_frame(
    format: int, size: tuple[int, int], data: Buffer, out_size: tuple[int, int], filter: int, out: Buffer
) -> None:
    """Scale into `out`. filter: 0 nearest, 1 bilinear, 2 area."""

def rotate_frame(format: int, size: tuple[int, int], data: Buffer, degrees: int, out: Buffer) -> None:
    """Turn clockwise by 0, 90, 180 or 270 degrees into `out`."""

def instruction_sets() -> list[str]:
    """What conversions can use on this machine, slowest first."""
