"""Receive microphones only, each by its own decision: `python examples/manual_subscription.py URL TOKEN`."""

import asyncio
import sys

from greenroom import rtc


def subscribe_if_wanted(publication: rtc.RemoteTrackPublication) -> None:
    if publication.source == rtc.TrackSource.SOURCE_MICROPHONE:
        publication.set_subscribed(True)


async def main(url: str, token: str) -> None:
    room = rtc.Room()

    @room.on("track_published")
    def on_track_published(publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        subscribe_if_wanted(publication)

    @room.on("track_subscribed")
    def on_track_subscribed(
        track: rtc.RemoteTrack, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        print(f"receiving {publication.name} of {participant.identity}")

    async with room:
        await room.connect(url, token, rtc.RoomOptions(auto_subscribe=False))
        # What was published before we came is here already, without an event.
        for participant in room.remote_participants.values():
            for publication in participant.track_publications.values():
                subscribe_if_wanted(publication)
        await room.wait_disconnected()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
