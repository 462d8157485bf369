"""Test a program that takes part in calls: a real server in this process, real codecs, and people who follow a script.

async with testing.server() as stage:
    ada, bob = await stage.join("ada"), await stage.join("bob")
    await ada.speak(testing.tone(440))
    await bob.hears(testing.tone(440), of="ada")
"""

from greenroom.testing.link import Link
from greenroom.testing.person import Person
from greenroom.testing.signals import Colour, Silence, Sound, Tone, colour, silence, tone
from greenroom.testing.stage import Stage, server
from greenroom.testing.transcript import Moment, Transcript

__all__ = [
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
    "server",
    "silence",
    "tone",
]
