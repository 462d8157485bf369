"""The test kit, tested with itself: what is there passes, and what is not fails with words that help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from greenroom import rtc, testing
from greenroom.errors import ConfigError
from greenroom.media.wav import write_wav

pytestmark = pytest.mark.loopback


async def test_what_is_spoken_is_heard_and_nothing_else():
    async with testing.server() as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        await ada.speak(testing.tone(440))
        await bob.hears(testing.tone(440), of="ada")
        with pytest.raises(AssertionError, match=r"bob did not hear a tone of 600 Hz from ada.*mostly 4[34]\d Hz"):
            await bob.hears(testing.tone(600), of="ada", within=0.5)
        with pytest.raises(AssertionError, match="no audio track came"):
            await ada.hears(testing.tone(440), within=0.1)
        await ada.hush()
        await bob.hears(testing.silence(), of="ada")


async def test_a_file_is_spoken_to_its_end(tmp_path: Path):
    samples = testing.tone(880).samples(0, 22_050, 22_050)
    write_wav(tmp_path / "beep.wav", rtc.AudioFrame(np.repeat(samples, 2).tobytes(), 22_050, 2, 22_050))
    async with testing.server() as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        await ada.speak(tmp_path / "beep.wav")
        await bob.hears(testing.tone(880), of="ada")
        await ada.speak(testing.tone(300, seconds=0.5))
        await bob.hears(testing.tone(300))


async def test_a_tone_is_heard_all_the_time_or_the_gap_is_told():
    async with testing.server() as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        await ada.speak(testing.tone(440))
        async with bob.keeps_hearing(testing.tone(440), of="ada"):
            await ada.send("one"), await bob.receives("one")
        with pytest.raises(AssertionError, match=r"did not hear a tone of 440 Hz from ada for \d\.\d+ s"):
            async with bob.keeps_hearing(testing.tone(440), of="ada", gap=0.2):
                await ada.speak(testing.tone(700, seconds=1.0))
                await ada.speak(testing.tone(440))


async def test_what_is_shown_is_seen_and_nothing_else():
    async with testing.server() as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        await ada.show(testing.colour("red"))
        await bob.sees(testing.colour("red"), of="ada")
        await ada.show(testing.colour("green"))
        await bob.sees(testing.colour("green"))
        with pytest.raises(AssertionError, match="bob did not see the colour"):
            await bob.sees(testing.colour("blue"), within=0.5)
        await ada.hide()


async def test_events_are_written_down_and_waited_for():
    async with testing.server() as stage:
        ada = await stage.join("ada")
        bob = await stage.join("bob")
        await ada.happens("participant_connected", about="bob")
        await bob.send("hello", topic="greeting")
        moment = await ada.receives("hello")
        assert moment.args[0].topic == "greeting"
        await bob.leave()
        await ada.happens("participant_disconnected", about="bob")
        order = ada.transcript.events("participant_connected", "data_received", "participant_disconnected")
        assert order == ["participant_connected", "data_received", "participant_disconnected"]
        with pytest.raises(
            AssertionError, match=r"(?s)track_published about bob did not happen.*participant_connected"
        ):
            await ada.happens("track_published", about="bob", within=0.05)


@pytest.mark.parametrize("full", [False, True], ids=["resumed", "anew"])
async def test_somebody_loses_the_connection_and_finds_back(full: bool):
    async with testing.server() as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        await ada.speak(testing.tone(440))
        await bob.hears(testing.tone(440))
        await ada.reconnect(full=full)
        await bob.hears(testing.tone(440), within=20)


async def test_a_bad_network_loses_and_delays_and_the_call_goes_on():
    link = testing.Link(loss=0.1, delay=0.03, jitter=0.01, seed=7)
    async with testing.server(link=link) as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        await ada.speak(testing.tone(440))
        await bob.hears(testing.tone(440), within=20)
        assert link.lost > 0 and link.passed > link.lost
        link.up = False
        await bob.hears(testing.silence(), within=20)
        link.up = True
        await bob.hears(testing.tone(440), within=20)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="50 to 7000"):
        testing.tone(20_000)
    with pytest.raises(ConfigError, match="known are red"):
        testing.colour("mauve")
    with pytest.raises(ConfigError, match="loss must be"):
        testing.Link(loss=2)
