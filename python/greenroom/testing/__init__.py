"""Test a program that takes part in calls: a real server in this process, real codecs, and people who follow a script.

People alone, and a call with an agent:

    async with testing.server() as stage:
        ada, bob = await stage.join("ada"), await stage.join("bob")
        await ada.speak(testing.tone(440))
        await bob.hears(testing.tone(440), of="ada")

    async with testing.room(entrypoint) as call:
        await call.speak("question.wav")
        await call.hears(testing.tone(440), of=call.agent)
"""

from greenroom.testing.call import Call, room
from greenroom.testing.link import Link
from greenroom.testing.person import Person
from greenroom.testing.signals import Colour, Silence, Sound, Tone, colour, silence, tone
from greenroom.testing.stage import Stage, server
from greenroom.testing.transcript import Moment, Transcript

__all__ = [
    "Call",
    "Colour",
    "Link",
    "Moment",
    "Person",
    "Silence",
    "Sound",
    "Stage",
    "Tone",
    "Transcript",
    "colour",
    "room",
    "server",
    "silence",
    "tone",
]
