"""Receive every audio and video track of a room: `python examples/receive.py URL TOKEN`."""

import asyncio
import sys

from greenroom import rtc


async def main(url: str, token: str) -> None:
    room = rtc.Room()

    @room.on("track_subscribed")
    async def on_track_subscribed(
        track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            frames = 0
            async for event in rtc.AudioStream(track):  # 48000 Hz, mono, 10 ms
                frames += 1
                if frames % 100 == 0:
                    print(f"{participant.identity}: audio, {event.frame}")
        elif track.kind == rtc.TrackKind.KIND_VIDEO:
            frames = 0
            async for event in rtc.VideoStream(track):
                frames += 1
                if frames % 10 == 1:
                    print(f"{participant.identity}: video, {event.frame} at {event.timestamp_us} us")
        print(f"{participant.identity}: {publication.name} ended")

    async with room:
        await room.connect(url, token)
        await room.wait_disconnected()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
