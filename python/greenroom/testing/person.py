"""A scripted participant: it speaks, shows, sends, and says whether it heard, saw and received what it should."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from greenroom import rtc
from greenroom.runtime.tasks import TaskSet
from greenroom.testing.performing import Camera, Voice
from greenroom.testing.senses import FRAME_MS, Ear, Senses
from greenroom.testing.signals import Colour, Silence, Sound, Tone
from greenroom.testing.transcript import Moment, Transcript

__all__ = ["Person"]

log = logging.getLogger("greenroom.testing")

#: Frames of sound that are judged at once, 0.2 s, and from one judgement to the next.
_WINDOW = 200 // FRAME_MS
_HOP = 5


class Person:
    """One participant of a test's room. `room` is its own `rtc.Room`, for everything that has no word here.

    `hears`, `sees`, `receives` and `happens` look at what came since this person's last own act (`speak`, `hush`,
    `show`, `hide`, `send`) or last met expectation, and wait for the rest of it.
    """

    def __init__(self, identity: str, room: rtc.Room) -> None:
        self.identity = identity
        self.room = room
        self.transcript = Transcript(room)
        self._senses = Senses(room)
        self._acts = TaskSet(log)
        self._voice: Voice | None = None
        self._camera: Camera | None = None
        self._talk: asyncio.Task[None] | None = None
        self._scene: asyncio.Task[None] | None = None
        self._marks: dict[str, int] = {}
        self._events_from = 0

    # -- acting ----------------------------------------------------------------------------------------------------

    async def speak(self, sound: Sound) -> None:
        """Play a WAV file or a tone into this person's microphone track, which is published at first use.

        Returns when the last sample has left; for a tone without `seconds`, as soon as it sounds, until `hush`.

        Raises:
            FrameError: the file is no WAV file.
        """
        await self._silence()
        if self._voice is None:
            self._voice = await Voice.publish(self.room)
        self._act()
        if isinstance(sound, Tone) and sound.seconds is None:
            self._talk = self._acts.spawn(self._voice.play(sound), name=f"{self.identity} speaking")
        else:
            await self._voice.play(sound)

    async def hush(self) -> None:
        """Stop speaking at once: what is queued is dropped."""
        await self._silence()
        self._act()

    async def show(self, colour: Colour, *, size: tuple[int, int] = (320, 240)) -> None:
        """Show a colour on this person's camera track, which is published at first use, until `hide` or another.

        Args:
            colour: what to show.
            size: width and height in pixels; that of the first call stays.
        """
        await _stop(self._scene)
        if self._camera is None:
            self._camera = await Camera.publish(self.room, size)
        self._act()
        self._scene = self._acts.spawn(self._camera.show(colour), name=f"{self.identity} showing")

    async def hide(self) -> None:
        """Stop showing; the track stays, without new pictures."""
        await _stop(self._scene)
        self._act()

    async def send(self, text: str, *, topic: str = "", to: list[str] | None = None) -> None:
        """Send a data packet.

        Args:
            text: its content.
            topic: its topic.
            to: identities; None = everybody.
        """
        self._act()
        await self.room.local_participant.publish_data(text, topic=topic, destination_identities=to or [])

    async def reconnect(self, *, full: bool = False, within: float = 15.0) -> None:
        """Lose the signalling connection, and return when the room has found back by itself.

        Args:
            full: the server also forgets the session, so that everything is made anew.
            within: seconds it may take.

        Raises:
            AssertionError: it did not.
        """
        since = len(self.transcript)
        kinds = rtc.SimulateScenarioKind
        kind = kinds.SIMULATE_FULL_RECONNECT if full else kinds.SIMULATE_SIGNAL_RECONNECT
        await self.room.simulate_scenario(kind)
        await self._event("reconnected", None, since, within)

    async def leave(self) -> None:
        """Leave the room. Idempotent; what was heard and seen, and the transcript, stay."""
        await self._acts.close()
        await self.room.disconnect()
        await self._senses.close()
        if self._voice is not None:
            await self._voice.source.aclose()
        if self._camera is not None:
            await self._camera.source.aclose()

    # -- expecting -------------------------------------------------------------------------------------------------

    async def hears(self, sound: Tone | Silence, *, of: str | None = None, within: float = 10.0) -> None:
        """Return when 0.2 s of a track sounded like this.

        Args:
            sound: a tone, or silence.
            of: whose track; None = anybody's.
            within: seconds to wait.

        Raises:
            AssertionError: it did not; the message says what was heard instead.
        """
        places = dict(self._marks)
        try:
            async with asyncio.timeout(within):
                while not self._heard(sound, of, places):
                    self._senses.changed.clear()
                    await self._senses.changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"{self.identity} did not hear {sound}{_of(of)} within {within:g} s, but {self._account(of)}"
            ) from None
        self._act()

    @contextlib.asynccontextmanager
    async def keeps_hearing(self, sound: Tone, *, of: str | None = None, gap: float = 0.3) -> AsyncIterator[None]:
        """Hear a tone as long as the block lasts.

        Args:
            sound: the tone.
            of: whose track; None = anybody's.
            gap: seconds for which it may be missing at a time.

        Raises:
            AssertionError: it was missing for longer, or was not there at the beginning or the end.
        """
        await self.hears(sound, of=of)
        starts = {sid: ear.heard for sid, ear in self._ears(of).items()}
        yield
        await self.hears(sound, of=of)
        worst = min((_longest_gap(ear, starts.get(sid, 0), sound) for sid, ear in self._ears(of).items()), default=0.0)
        if worst > gap:
            raise AssertionError(f"{self.identity} did not hear {sound}{_of(of)} for {worst:.2f} s")

    async def sees(self, colour: Colour, *, of: str | None = None, within: float = 10.0) -> None:
        """Return when a track's picture had this colour in its middle.

        Args:
            colour: what to see.
            of: whose track; None = anybody's.
            within: seconds to wait.

        Raises:
            AssertionError: it did not; the message says what was seen instead.
        """
        try:
            async with asyncio.timeout(within):
                while not self._saw(colour, of):
                    self._senses.changed.clear()
                    await self._senses.changed.wait()
        except TimeoutError:
            seen = {eye.owner: eye.colours_from(eye.seen - 1) for eye in self._senses.eyes.values()}
            raise AssertionError(
                f"{self.identity} did not see {colour}{_of(of)} within {within:g} s; the last pictures were {seen}"
            ) from None
        self._act()

    async def receives(self, text: str, *, within: float = 10.0) -> Moment:
        """Return when a data packet with this text came.

        Raises:
            AssertionError: it did not within so many seconds.
        """
        return await self.happens("data_received", about=text, within=within)

    async def happens(self, event: str, *, about: str | None = None, within: float = 10.0) -> Moment:
        """Return when this event happened.

        Args:
            event: its name, as in `room.on`.
            about: an identity, track name or value among its arguments; None = any.
            within: seconds to wait.

        Raises:
            AssertionError: it did not; the message holds the transcript.
        """
        moment = await self._event(event, about, self._events_from, within)
        self._events_from = list(self.transcript).index(moment) + 1
        return moment

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _event(self, event: str, about: str | None, since: int, within: float) -> Moment:
        try:
            return await self.transcript.next(event, about, since, within)
        except TimeoutError:
            what = f"{event} about {about}" if about is not None else event
            raise AssertionError(
                f"{what} did not happen to {self.identity} within {within:g} s; this did:\n{self.transcript}"
            ) from None

    def _act(self) -> None:
        self._marks = {sid: ear.heard for sid, ear in self._senses.ears.items()}
        self._marks |= {sid: eye.seen for sid, eye in self._senses.eyes.items()}

    async def _silence(self) -> None:
        await _stop(self._talk)
        if self._voice is not None:
            self._voice.source.clear_queue()

    def _ears(self, of: str | None) -> dict[str, Ear]:
        return {sid: ear for sid, ear in self._senses.ears.items() if of is None or ear.owner == of}

    def _heard(self, sound: Tone | Silence, of: str | None, places: dict[str, int]) -> bool:
        """Judge what came since `places` (frame per track), and move those on."""
        for sid, ear in self._ears(of).items():
            for start in range(places.get(sid, 0), ear.heard - _WINDOW + 1, _HOP):
                places[sid] = start + _HOP
                if ear.sounds_like(sound, start, _WINDOW):
                    return True
        return False

    def _saw(self, colour: Colour, of: str | None) -> bool:
        for sid, eye in self._senses.eyes.items():
            if of is None or eye.owner == of:
                if any(map(colour.matches, eye.colours_from(self._marks.get(sid, 0)))):
                    return True
        return False

    def _account(self, of: str | None) -> str:
        """What was heard lately, in words."""
        ears = self._ears(of).values()
        return "; ".join(f"{ear.describe(_WINDOW)} from {ear.owner}" for ear in ears) or "no audio track came"


async def _stop(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


def _of(owner: str | None) -> str:
    return f" from {owner}" if owner is not None else ""


def _longest_gap(ear: Ear, start: int, tone: Tone) -> float:
    """The longest time without the tone since frame `start`, in seconds."""
    longest = missing = 0
    for place in range(start, ear.heard - _HOP + 1, _HOP):
        missing = 0 if ear.sounds_like(tone, place, _HOP) else missing + _HOP
        longest = max(longest, missing)
    return longest * FRAME_MS / 1000
