"""Publish one colour, ten frames a second: `python examples/still_colour.py URL TOKEN`.

A picture that does not change is sent again and again all the same: who joins later sees it at once.
"""

import asyncio
import sys

from greenroom import rtc

WIDTH = 640
HEIGHT = 480
# The type names the order of the bytes: the same four are red as ARGB, and would be yellow as RGBA.
COLOUR = [255, 255, 0, 0]
TYPE = rtc.VideoBufferType.ARGB


async def main(url: str, token: str, type: rtc.VideoBufferType = TYPE) -> None:
    async with rtc.Room() as room:
        await room.connect(url, token)
        source = rtc.VideoSource(WIDTH, HEIGHT)
        track = rtc.LocalVideoTrack.create_video_track("example-track", source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA)
        await room.local_participant.publish_track(track, options)
        data = bytearray(COLOUR * WIDTH * HEIGHT)
        while room.isconnected():
            source.capture_frame(rtc.VideoFrame(WIDTH, HEIGHT, type, data))  # not a coroutine: nothing is queued
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
