"""A room's peer connections in the engine, and what is awaited of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence

from greenroom import _engine
from greenroom.errors import DisconnectedError
from greenroom.protocol import client_io as io
from greenroom.rtc._waiters import Waiters, silent_future
from greenroom.runtime.bridge import bridge_for_loop

__all__ = ["NegotiationCommand", "Peers"]

#: Sections to receive on that the first offer of a single connection has, of each kind.
SPARE_SECTIONS = 3

NegotiationCommand = io.CreateOffer | io.AcceptOffer | io.AcceptAnswer | io.AddCandidate


class Peers:
    """One or two connections. Events that are not consumed here go to `on_event`."""

    def __init__(self, on_event: Callable[[io.Target, _engine.Event], None]) -> None:
        self.bridge = bridge_for_loop()
        self._on_event = on_event
        self._handles: dict[io.Target, int] = {}
        self._sending = Waiters()
        self._channels: dict[str, asyncio.Future[None]] = {}
        self._senders: dict[int, asyncio.Future[None]] = {}
        self._leaving: dict[int, asyncio.Future[None]] = {}
        self._first_offer: asyncio.Future[_engine.Offer] | None = None

    @property
    def engine(self) -> _engine.Engine:
        """The media engine."""
        return self.bridge.engine

    def open(self, targets: Sequence[io.Target], local_addresses: Sequence[str]) -> None:
        """Make the connections, with candidates of these IP addresses; the publisher has the data channels."""
        for target in targets:
            handle = self._handles[target] = _engine.new_handle()
            self.bridge.attach(handle, functools.partial(self._engine_event, target, handle))
            self.engine.open_client_peer(
                handle, local_addresses=local_addresses, data_channels=target is io.Target.PUBLISHER
            )

    def close(self, error: Exception) -> None:
        """Close the connections; what was under way on them fails with `error`."""
        for handle in self._handles.values():
            self.bridge.detach(handle)
            try:
                self.engine.close_peer(handle)
            except _engine.EngineClosedError:
                continue
        self._handles.clear()
        self._sending.fail_all(error)
        for done in self._senders.values():
            if not done.done():
                done.set_exception(error)
        for sender in list(self._leaving):
            self._left(sender)
        self._channels = {label: opened for label, opened in self._channels.items() if not opened.done()}

    def end(self, error: Exception) -> None:
        """Like `close`, for good: nobody waits for a channel any more."""
        self.close(error)
        self.fail_first_offer(error)
        for opened in self._channels.values():
            if not opened.done():
                opened.set_exception(error)

    @property
    def publisher(self) -> int:
        """The engine's handle of the connection that we send on. Raises DisconnectedError when there is none."""
        return self.handle(io.Target.PUBLISHER)

    def handle(self, target: io.Target) -> int:
        """The engine's handle of a connection.

        Raises:
            DisconnectedError: there is none at the moment.
        """
        try:
            return self._handles[target]
        except KeyError:
            raise DisconnectedError("the media connection is down at the moment") from None

    # -- negotiation -----------------------------------------------------------------------------------------------

    async def first_offer(self) -> _engine.Offer:
        """The offer that travels in the join request of a single connection."""
        self._first_offer = asyncio.get_running_loop().create_future()
        try:
            self.engine.create_offer(self.handle(io.Target.PUBLISHER), audio=SPARE_SECTIONS, video=SPARE_SECTIONS)
            return await self._first_offer
        finally:
            self._first_offer = None

    def fail_first_offer(self, error: Exception) -> None:
        """It will not come."""
        if self._first_offer is not None and not self._first_offer.done():
            self._first_offer.set_exception(error)

    def command(self, command: NegotiationCommand) -> None:
        """Carry out a command, if its connection exists."""
        peer = self._handles.get(command.target)
        if peer is None:
            return
        match command:
            case io.CreateOffer(audio=audio, video=video, ice_restart=restart):
                self.engine.create_offer(peer, audio=audio, video=video, ice_restart=restart)
            case io.AcceptOffer(offer_id=offer_id, sdp=sdp):
                self.engine.accept_offer(peer, offer_id, sdp)
            case io.AcceptAnswer(offer_id=offer_id, sdp=sdp):
                self.engine.accept_answer(peer, offer_id, sdp)
            case io.AddCandidate(candidate=candidate):
                self.engine.add_candidate(peer, candidate)

    async def negotiated(self, sender: int, limit: float) -> None:
        """Offer what was added; returns when the server has accepted the section of this sender.

        Raises:
            TimeoutError: it did not within `limit` seconds.
            DisconnectedError: the connection ended first.
        """
        done = self._senders[sender] = silent_future()
        try:
            self.command(io.CreateOffer(io.Target.PUBLISHER))
            async with asyncio.timeout(limit):
                await done
        finally:
            self._senders.pop(sender, None)

    def offer_removal(self, sender: int) -> None:
        """Offer that this sender is gone."""
        if io.Target.PUBLISHER in self._handles:
            self._leaving[sender] = silent_future()
            self.command(io.CreateOffer(io.Target.PUBLISHER))

    async def removals_negotiated(self) -> None:
        """Return when the server knows that every removed sender is gone: until then no other may take its section."""
        while self._leaving:
            await asyncio.shield(next(iter(self._leaving.values())))

    # -- data ------------------------------------------------------------------------------------------------------

    async def channel_open(self, label: str) -> None:
        """Return when the data channel with this label is open."""
        while not (opened := self._channel(label)).done():
            await asyncio.shield(opened)
        opened.result()

    async def send(self, label: str, payload: bytes) -> None:
        """Send on an open channel; returns when it has left our queue.

        Raises:
            DisconnectedError: the connection ended first.
        """
        with self._sending.wait() as (key, sent):
            self.engine.send_data([self.handle(io.Target.PUBLISHER)], label, payload, request=key)
            await sent

    def send_now(self, label: str, payload: bytes) -> bool:
        """Send without waiting. False = the channel is not open."""
        opened = self._channels.get(label)
        if opened is None or not opened.done() or opened.exception() is not None:
            return False
        self.engine.send_data([self.handle(io.Target.PUBLISHER)], label, payload)
        return True

    def figures(self, target: io.Target) -> Mapping[str, int | float | str]:
        """What the engine counts for a connection; nothing for one that does not exist."""
        return self.engine.peer_statistics(self._handles[target]) if target in self._handles else {}

    # -- inside ----------------------------------------------------------------------------------------------------

    def _engine_event(self, target: io.Target, handle: int, event: _engine.Event) -> None:
        if self._handles.get(target) != handle:
            return
        match event:
            case _engine.Offer() if self._first_offer is not None:
                if not self._first_offer.done():
                    self._first_offer.set_result(event)
            case _engine.DataOpen(label=label):
                opened = self._channel(label)
                if target is io.Target.PUBLISHER and not opened.done():
                    opened.set_result(None)
            case _engine.DataSent(request=request, error=error):
                failure = DisconnectedError(f"the packet was not sent: {error}") if error else None
                self._sending.settle(request, failure)
            case _:
                self._on_event(target, event)
                if isinstance(event, _engine.Negotiated):
                    self._accepted(event.sections)

    def _accepted(self, sections: list[_engine.Section]) -> None:
        for sender in self._leaving.keys() - {section.sending for section in sections}:
            self._left(sender)
        for section in sections:
            done = self._senders.get(section.sending)
            if done is not None and not done.done():
                done.set_result(None)

    def _left(self, sender: int) -> None:
        done = self._leaving.pop(sender)
        if not done.done():
            done.set_result(None)

    def _channel(self, label: str) -> asyncio.Future[None]:
        if label not in self._channels:
            self._channels[label] = silent_future()
        return self._channels[label]
