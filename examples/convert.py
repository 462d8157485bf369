"""Save the first picture of a video as a PPM file: `python examples/convert.py URL TOKEN picture.ppm`.

Frames arrive in the decoder's encoding, I420; `convert` turns them into any of the other ten.
"""

import asyncio
import sys
from pathlib import Path

from greenroom import rtc


def save(frame: rtc.VideoFrame, path: Path) -> None:
    rgb = frame.convert(rtc.VideoBufferType.RGB24)
    path.write_bytes(b"P6 %d %d 255\n" % (rgb.width, rgb.height) + bytes(rgb.data))


async def main(url: str, token: str, path: str) -> None:
    async with rtc.Room() as room:
        await room.connect(url, token)
        while True:
            track, _, participant = await room.wait_for("track_subscribed")
            if track.kind == rtc.TrackKind.KIND_VIDEO:
                break
        stream = rtc.VideoStream(track)
        async for event in stream:
            print(f"{participant.identity} sends {event.frame.type.name}")
            save(event.frame, Path(path))
            break
        await stream.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
