"""The demo's own judges: they must accept what is right and refuse what is not."""

from __future__ import annotations

import subprocess
import wave

import numpy as np
import pytest

from greenroom.cli.demo import files, scene, speech


def noise(seed: int, samples: int) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=samples) * 3000).astype(np.int16)


@pytest.mark.parametrize("number", [0, 1, 77, 1234, 4095, 5000])
def test_a_picture_tells_its_number_even_smaller_and_noisy(number):
    picture = scene.paint(number)
    assert picture.shape == (scene.HEIGHT, scene.WIDTH, 4)
    small = picture[::2, ::2].astype(int) + np.random.default_rng(1).integers(-20, 20, (180, 320, 4))
    assert scene.frame_number(np.clip(small, 0, 255).astype(np.uint8)) == number % 4096


def test_other_pictures_have_no_number():
    assert scene.frame_number(np.full((360, 640, 3), 30, np.uint8)) is None
    assert scene.frame_number(np.full((360, 640, 3), 220, np.uint8)) is None


def test_text_is_drawn_inside_the_picture():
    picture = scene.paint(5)
    before = picture.copy()
    scene.draw_text(picture, "12:34:56.7", top=10, left=20, scale=4)
    changed = np.argwhere((picture != before).any(axis=2))
    assert changed.min(axis=0).tolist() == [10, 20]
    assert changed.max(axis=0).tolist() == [10 + 7 * 4 - 1, 20 + (10 * 4 + 2) * 4 - 1]
    scene.draw_text(picture, "88", top=scene.HEIGHT - 3, left=scene.WIDTH - 3, scale=4)


def test_speech_is_heard_when_late_and_echoed_and_nothing_else_is():
    said, rate = speech.speech()
    assert 3 < len(said) / rate < 30
    assert np.abs(said).max() > 5000
    echoed = speech.Echo(rate)(said)
    heard = np.concatenate([np.zeros(rate // 5, np.int16), echoed]) + noise(2, len(said) + rate // 5) // 10
    likeness = speech.compare(echoed, rate, heard, rate)
    assert likeness.correlation > 0.9
    assert likeness.lag == pytest.approx(0.2, abs=0.001)
    assert speech.compare(echoed, rate, noise(3, len(heard)), rate).correlation < 0.2
    assert speech.compare(echoed, rate, echoed[::-1], rate).correlation < 0.3
    assert speech.compare(echoed, rate, np.zeros(rate, np.int16), rate).correlation == 0
    assert speech.compare(echoed, rate, np.empty(0, np.int16), rate).correlation == 0


def test_speech_is_heard_through_a_jitter_buffer_that_stretches_time():
    said, rate = speech.speech()
    parts = np.array_split(said, 12)
    stretched = np.concatenate(
        [np.concatenate([part, part[-150 * number - 50 :]]) for number, part in enumerate(parts)]
    )
    assert speech.compare(said, rate, stretched, rate).correlation > 0.8


def test_the_synthesized_voice_can_stand_in(monkeypatch):
    monkeypatch.setattr(speech.shutil, "which", lambda _: None)
    said, rate = speech.speech()
    assert len(said) == 5 * rate
    assert speech.compare(said, rate, said, rate).correlation > 0.99
    assert speech.compare(said, rate, noise(4, len(said)), rate).correlation < 0.2


def test_an_echo_in_pieces_is_the_echo_of_the_whole():
    samples = noise(5, 4800)
    whole, pieces = speech.Echo(8000), speech.Echo(8000)
    assert np.array_equal(whole(samples), np.concatenate([pieces(part) for part in np.split(samples, 10)]))


def test_without_ffmpeg_pictures_are_written(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(files.shutil, "which", lambda _: None)
    film = files.Film(scene.WIDTH, scene.HEIGHT, tmp_path)
    for number in range(61):
        film.add(number / 30, scene.paint(number)[..., :3])
    assert film.write(tmp_path, tmp_path / "none.wav", 30) == "3 pictures"
    film.close()
    image = np.asarray(Image.open(tmp_path / "out-01.png"))
    assert np.array_equal(image, scene.paint(30)[..., :3])


def test_film_and_sound_are_written(tmp_path):
    import av

    samples = noise(6, 48000)
    files.write_wav(tmp_path / "out.wav", samples, 48000)
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, 48000, 48000)
    film = files.Film(scene.WIDTH, scene.HEIGHT, tmp_path)
    for number in range(0, 31, 2):
        film.add(number / 30, scene.paint(number)[..., :3])
    film.add(1.0, np.zeros((90, 160, 3), np.uint8))
    try:
        subprocess.run(["ffmpeg", "-version"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("ffmpeg is not installed")
    assert film.write(tmp_path, tmp_path / "out.wav", 30) == "out.mp4"
    film.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [scene.frame_number(picture) for picture in pictures[::2]] == list(range(0, 2 * len(pictures[::2]), 2))
