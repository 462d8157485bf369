"""One call in one process: a tone is published through a server and must be heard as that tone."""

import asyncio

import numpy as np

from greenroom import rtc, server

RATE, TONE = 48000, 440


async def main() -> None:
    async with server.Server(host="127.0.0.1", port=0, keys={"key": "secret"}) as host:
        listener, speaker = rtc.Room(), rtc.Room()
        heard: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()

        @listener.on("track_subscribed")
        async def listen(track: rtc.Track, *_: object) -> None:
            samples = np.empty(0, np.int16)
            async for event in rtc.AudioStream(track):
                samples = np.concatenate([samples, np.frombuffer(event.frame.data, np.int16)])
                if np.abs(samples[-RATE // 2 :]).max(initial=0) > 3000 and len(samples) > RATE:
                    heard.set_result(samples[-RATE // 2 :])
                    return

        await listener.connect(host.url, host.token("listener", "room"))
        await speaker.connect(host.url, host.token("speaker", "room"))
        source = rtc.AudioSource(RATE, 1)
        await speaker.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("tone", source))
        speaking = asyncio.create_task(speak(source))
        samples = await asyncio.wait_for(heard, 20)
        speaking.cancel()
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        print(f"heard {round(int(spectrum.argmax()) * RATE / len(samples))} Hz")
        await speaker.disconnect()
        await listener.disconnect()


async def speak(source: rtc.AudioSource) -> None:
    moment = np.arange(RATE // 100) / RATE
    for tick in range(10_000):
        wave = np.sin(2 * np.pi * TONE * (moment + tick / 100))
        await source.capture_frame(rtc.AudioFrame((wave * 10000).astype(np.int16).tobytes(), RATE, 1, RATE // 100))


asyncio.run(main())
