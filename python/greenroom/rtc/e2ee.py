"""End-to-end encryption: who has which key, and what is encrypted with it.

Media and data are encrypted before they leave this process and decrypted after they have arrived in it; servers carry
what they cannot read. What does not decrypt is dropped and told with the event `e2ee_state_changed`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greenroom import _arguments as check
from greenroom import _engine
from greenroom.errors import ConfigError, StateError
from greenroom.rtc.enums import EncryptionState, EncryptionType, KeyDerivationFunction
from greenroom.wire import messages as m

if TYPE_CHECKING:
    from greenroom.rtc._connection import Connection
    from greenroom.rtc.participant import Participant
    from greenroom.rtc.room import Room

__all__ = ["E2EEManager", "E2EEOptions", "FrameCryptor", "KeyProvider", "KeyProviderOptions"]

DEFAULT_SALT = b"LKFrameEncryptionKey"
DEFAULT_WINDOW = 16
DEFAULT_RING = 16

#: What is encrypted of data packets; the rest is for servers and bridges.
_PRIVATE = frozenset(
    (
        "user",
        "chat_message",
        "rpc_request",
        "rpc_ack",
        "rpc_response",
        "stream_header",
        "stream_chunk",
        "stream_trailer",
    )
)


@dataclass
class KeyProviderOptions:
    """How keys are made."""

    shared_key: bytes | None = None
    """Everyone's key. None = set keys with the `KeyProvider`."""
    ratchet_salt: bytes = DEFAULT_SALT
    ratchet_window_size: int = DEFAULT_WINDOW
    """Steps that a sender may be ahead with `ratchet_key`; 0 = keys have to be set anew."""
    failure_tolerance: int = -1
    """Frames in a row that may fail before a key is given up until another is set; -1 = never."""
    key_ring_size: int = DEFAULT_RING
    """Key indexes, 1 to 256."""
    key_derivation_function: KeyDerivationFunction = KeyDerivationFunction.PBKDF2
    """PBKDF2 for pass phrases, HKDF for random keys."""


@dataclass
class E2EEOptions:
    """What a room is encrypted with."""

    key_provider_options: KeyProviderOptions = field(default_factory=KeyProviderOptions)
    encryption_type: EncryptionType = EncryptionType.GCM


class KeyProvider:
    """The keys of a room. Every call takes effect with the next frame; setting one takes some 50 ms with PBKDF2."""

    def __init__(self, options: KeyProviderOptions) -> None:
        self._options = check.instance("key_provider_options", options, KeyProviderOptions)
        #: What new tracks and data are encrypted with.
        self.key_index = 0
        tolerance = check.whole("failure_tolerance", options.failure_tolerance, -1, 2**31 - 1)
        derivation = check.member("key_derivation_function", options.key_derivation_function, KeyDerivationFunction)
        try:
            self._keys = _engine.Keyring(
                salt=check.octets("ratchet_salt", options.ratchet_salt),
                ratchet_window=check.whole("ratchet_window_size", options.ratchet_window_size, 0, 2**31 - 1),
                failure_tolerance=tolerance if tolerance >= 0 else None,
                ring_size=check.whole("key_ring_size", options.key_ring_size, 1, 256),
                hkdf=derivation is KeyDerivationFunction.HKDF,
            )
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"the key options cannot be used: {error}") from error
        if options.shared_key is not None:
            self.set_shared_key(options.shared_key, 0)

    @property
    def options(self) -> KeyProviderOptions:
        """How keys are made."""
        return self._options

    def set_shared_key(self, key: bytes, key_index: int) -> None:
        """Take a key for everyone.

        Raises:
            ConfigError: there is no such index.
        """
        self._set(None, key, key_index)

    def export_shared_key(self, key_index: int) -> bytes:
        """Everyone's key as it was set or made by the ratchet; b"" when there is none."""
        return self._keys.export(None, _checked(key_index)) or b""

    def ratchet_shared_key(self, key_index: int) -> bytes:
        """Replace everyone's key by its successor, which others find by themselves, and return that.

        Raises:
            ConfigError: there is no such key.
        """
        return self._ratchet(None, key_index)

    def set_key(self, participant_identity: str, key: bytes, key_index: int) -> None:
        """Take a key for what one participant sends, ourselves included.

        Raises:
            ConfigError: there is no such index.
        """
        self._set(check.text("participant_identity", participant_identity), key, key_index)

    def export_key(self, participant_identity: str, key_index: int) -> bytes:
        """A participant's key, or else everyone's; b"" when there is none."""
        identity = check.text("participant_identity", participant_identity)
        return self._keys.export(identity, _checked(key_index)) or b""

    def ratchet_key(self, participant_identity: str, key_index: int) -> bytes:
        """Replace a participant's key by its successor and return that.

        Raises:
            ConfigError: there is no such key.
        """
        return self._ratchet(check.text("participant_identity", participant_identity), key_index)

    def _set(self, identity: str | None, key: bytes, index: int) -> None:
        try:
            self._keys.set(identity, _checked(index), check.octets("key", key))
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def _ratchet(self, identity: str | None, index: int) -> bytes:
        try:
            return self._keys.ratchet(identity, _checked(index))
        except ValueError as error:
            raise ConfigError(str(error)) from error


class FrameCryptor:
    """What encrypts or decrypts one track."""

    def __init__(self, manager: E2EEManager, participant_identity: str, track_sid: str, where: _Where) -> None:
        self._manager = manager
        self._participant_identity = participant_identity
        self._track_sid = track_sid
        self._where = where
        self._enabled = manager.enabled
        self._key_index = manager._key_provider.key_index if manager._key_provider is not None else 0

    @property
    def participant_identity(self) -> str:
        """Who publishes the track."""
        return self._participant_identity

    @property
    def track_sid(self) -> str:
        """The track."""
        return self._track_sid

    @property
    def key_index(self) -> int:
        """The key that we encrypt with; what we receive names its own."""
        return self._key_index

    @property
    def enabled(self) -> bool:
        """Whether the track is encrypted or decrypted."""
        return self._enabled

    def set_enabled(self, enabled: bool) -> None:
        """Stop, or go on. While it is off we send clear frames, and of what we receive only clear frames pass."""
        self._enabled = check.flag("enabled", enabled)
        self._apply()

    def set_key_index(self, key_index: int) -> None:
        """Encrypt with another key of the ring."""
        self._key_index = _checked(key_index)
        self._apply()

    def _apply(self) -> None:
        self._manager._apply(self)


@dataclass(frozen=True, slots=True)
class _Where:
    """A sender, or with sender 0 the section of a connection that a track arrives on."""

    peer: int
    mid: str
    sender: int = 0


class E2EEManager:
    """The encryption of a room: `room.e2ee_manager`."""

    def __init__(self, room: Room, options: E2EEOptions | None, *, data: bool = False) -> None:
        self._room = room
        self.options = options
        if options is not None:
            kind = check.member("encryption_type", options.encryption_type, EncryptionType)
            if kind is EncryptionType.NONE:
                raise ConfigError("encryption_type cannot be NONE: leave `encryption` out to join without encryption")
        self._enabled = options is not None
        self._encrypts_data = data
        self._key_provider = KeyProvider(options.key_provider_options) if options is not None else None
        self._cryptors: dict[_Where, FrameCryptor] = {}

    @property
    def key_provider(self) -> KeyProvider | None:
        """The keys; None in a room without encryption."""
        return self._key_provider

    @property
    def enabled(self) -> bool:
        """Whether tracks are encrypted and decrypted."""
        return self._enabled

    def set_enabled(self, enabled: bool) -> None:
        """Stop encrypting and decrypting every track and data packet, or go on.

        Raises:
            StateError: the room was joined without encryption.
        """
        if self._key_provider is None:
            raise StateError("the room was joined without encryption: pass `encryption` in RoomOptions")
        self._enabled = check.flag("enabled", enabled)
        for cryptor in self._cryptors.values():
            cryptor.set_enabled(enabled)

    def frame_cryptors(self) -> list[FrameCryptor]:
        """One per encrypted track that we publish or receive."""
        return list(self._cryptors.values())

    # -- tracks ----------------------------------------------------------------------------------------------------

    @property
    def _type(self) -> int:
        """How our tracks are announced."""
        return int(self.options.encryption_type) if self.options is not None else m.Encryption.NONE

    def _send(self, sender: int) -> None:
        """Encrypt what this sender sends."""
        if self._key_provider is not None:
            connection = self._room._require_connection()
            where = _Where(connection.peers.publisher, "", sender)
            # Senders of an earlier connection are gone.
            stale = [each for each in self._cryptors if each.sender and each.peer != where.peer]
            for each in stale:
                del self._cryptors[each]
            self._add(FrameCryptor(self, self._room.local_participant.identity, "", where))

    def _sent_as(self, sender: int, sid: str) -> None:
        for cryptor in self._cryptors.values():
            if cryptor._where.sender == sender:
                cryptor._track_sid = sid

    def _stopped(self, sender: int) -> None:
        self._cryptors = {where: each for where, each in self._cryptors.items() if where.sender != sender}

    def _ended(self, sid: str) -> None:
        self._cryptors = {where: each for where, each in self._cryptors.items() if each.track_sid != sid}

    def _receive(self, identity: str, sid: str, encrypted: bool, peer: int, mid: str) -> None:
        """Decrypt what arrives on this section from now on, if it is encrypted."""
        where = _Where(peer, mid)
        self._cryptors.pop(where, None)
        self._ended(sid)
        if not encrypted:
            self._room._require_connection().engine.leave_receiver_clear(peer, mid)
            return
        self._add(FrameCryptor(self, identity, sid, where))

    def _add(self, cryptor: FrameCryptor) -> None:
        self._cryptors[cryptor._where] = cryptor
        cryptor._apply()

    def _apply(self, cryptor: FrameCryptor) -> None:
        where, identity = cryptor._where, cryptor.participant_identity
        connection = self._room._connection
        if self._cryptors.get(where) is not cryptor or connection is None:
            return
        keys = self._key_provider._keys if self._key_provider is not None else None
        if where.sender:
            used = keys if cryptor.enabled else None
            connection.engine.encrypt_sender(where.sender, used, identity, cryptor.key_index)
            return
        connection.engine.decrypt_receiver(
            where.peer,
            where.mid,
            keys,
            identity,
            trailer=_sif_trailer(connection),
            enabled=cryptor.enabled,
        )

    def _changed(self, event: _engine.EncryptionChanged) -> None:
        cryptor = self._cryptors.get(_Where(event.handle, "" if event.sender else event.mid, event.sender))
        if cryptor is not None:
            self._tell(cryptor.participant_identity, EncryptionState(event.state))

    def _tell(self, identity: str, state: EncryptionState) -> None:
        local = self._room.local_participant
        participant: Participant | None = local
        if identity != local.identity:
            participant = self._room.remote_participants.get(identity)
        if participant is not None:
            self._room.emit("e2ee_state_changed", participant, state)

    # -- data ------------------------------------------------------------------------------------------------------

    def _seal(self, packet: m.DataPacket) -> m.DataPacket:
        """The packet as it is sent.

        Raises:
            StateError: it is to be encrypted and there is no key.
        """
        kind = packet.WhichOneof("value")
        if self._key_provider is None or not (self._encrypts_data and self._enabled) or kind not in _PRIVATE:
            return packet
        if kind == "stream_header":
            packet.stream_header.encryption_type = self._type  # type: ignore[assignment]
        payload = m.EncryptedPacketPayload()
        getattr(payload, kind).CopyFrom(getattr(packet, kind))
        index, identity = self._key_provider.key_index, self._room.local_participant.identity
        try:
            iv, value = self._key_provider._keys.seal(identity, index, payload.SerializeToString())
        except ValueError as error:
            self._tell(identity, EncryptionState.MISSING_KEY)
            raise StateError(f"the data was not sent: {error}") from error
        sealed = m.DataPacket()
        sealed.CopyFrom(packet)
        sealed.ClearField(kind)
        sealed.encrypted_packet.encryption_type = self._type  # type: ignore[assignment]
        sealed.encrypted_packet.iv, sealed.encrypted_packet.encrypted_value = iv, value
        sealed.encrypted_packet.key_index = index
        return sealed

    def _open(self, packet: m.DataPacket) -> m.DataPacket | None:
        """The packet as it was before it was encrypted, None if it cannot be read."""
        if packet.WhichOneof("value") != "encrypted_packet":
            return packet
        sealed, identity = packet.encrypted_packet, packet.participant_identity
        provider = self._key_provider
        data = None
        if provider is not None and sealed.key_index < provider.options.key_ring_size:
            data = provider._keys.open(identity, sealed.key_index, sealed.iv, sealed.encrypted_value)
        payload = m.EncryptedPacketPayload()
        try:
            payload.ParseFromString(data or b"")
        except ValueError:
            data = None
        kind = payload.WhichOneof("value")
        if data is None or kind is None:
            known = provider is not None and provider.export_key(identity, min(sealed.key_index, 255))
            self._tell(identity, EncryptionState.DECRYPTION_FAILED if known else EncryptionState.MISSING_KEY)
            return None
        opened = m.DataPacket()
        opened.CopyFrom(packet)
        opened.ClearField("encrypted_packet")
        getattr(opened, kind).CopyFrom(getattr(payload, kind))
        return opened


def _sif_trailer(connection: Connection) -> bytes:
    view = connection.session.view
    return view.sif_trailer if view is not None else b""


def _checked(index: int) -> int:
    return check.whole("key_index", index, 0, 255)
