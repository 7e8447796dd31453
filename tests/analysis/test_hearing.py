"""A voice is told from noise and music, found among sound tracks, and trouble with a recording is said."""

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hallo_cli.analysis.hearing import Heard, choose_track, listen, listen_to
from hallo_cli.errors import SpeechError
from hallo_cli.media.audio import read_sound
from hallo_cli.media.sound_track import Stretch
from tests.media import conftest

RATE = 16_000
ffmpeg_run = conftest.ffmpeg_run
Sound = np.ndarray
EXAMPLES = Path(__file__).parents[2] / "hallo_cli" / "assets" / "examples"
T = np.arange(4 * RATE) / RATE
RNG = np.random.default_rng(0)


def coloured(slope: float) -> Sound:
    """Noise whose amplitude falls with frequency to the power of `slope`."""
    spectrum = np.fft.rfft(RNG.normal(size=len(T))) / np.maximum(np.arange(len(T) // 2 + 1), 1) ** slope
    noise = np.fft.irfft(spectrum)
    return np.float32(0.2 * noise / np.abs(noise).max())


def notes() -> Sound:
    """A melody of decaying notes in a room that is not quite silent."""
    at = np.arange(8000)
    pitches = RNG.choice([131, 147, 165, 175, 196], size=(len(T) // 8000, 3))
    played = [
        sum(np.sin(2 * np.pi * f * k * at / RATE) / k for k, f in enumerate(chord, 1)) * np.exp(-at / 3000)
        for chord in pitches
    ]
    return np.float32(np.concatenate(played) * 0.1 + RNG.normal(size=8000 * len(played)) * 0.002)


NO_VOICE = {
    "white noise": coloured(0),
    "pink noise": coloured(0.5),
    "brown noise": coloured(1),
    "wind": np.float32(coloured(0.8) * (1 + np.sin(2 * np.pi * 0.7 * T))),
    "hum": np.float32(0.1 * sum(np.sin(2 * np.pi * 50 * k * T) / k for k in range(1, 12))),
    "a chord": np.float32(0.1 * sum(np.sin(2 * np.pi * f * T) for f in (220, 277, 330))),
    "a melody": notes(),
    "a swelling chord": np.float32(
        0.1
        * sum(np.sin(2 * np.pi * f * T) for f in (220, 277, 330, 440))
        * (1 + np.sin(2 * np.pi * 0.5 * T))
        / 2
    ),
    "a drum": np.float32(coloured(0) * np.exp(-20 * ((4 * T) % 1))),
    "silence": np.zeros(len(T), np.float32),
}


@pytest.fixture(scope="module")
def speech() -> Sound:
    return read_sound(EXAMPLES / "sense_and_sensibility_01_austen_64kb-0870.wav")[: 4 * RATE]


def heard(sound: Sound) -> Heard:
    return listen([sound])


def write(file: Path, *channels: Sound) -> Path:
    with wave.open(str(file), "wb") as opened:
        opened.setnchannels(len(channels))
        opened.setsampwidth(2)
        opened.setframerate(RATE)
        opened.writeframes((np.stack(channels, axis=1).clip(-1, 1) * 32767).astype("<i2").tobytes())
    return file


@pytest.mark.parametrize("name", NO_VOICE)
def test_what_is_no_voice_counts_as_none(name: str) -> None:
    assert heard(NO_VOICE[name]).speech_share == 0
    assert "silen" in heard(NO_VOICE[name]).warnings()[0] or "no voice" in heard(NO_VOICE[name]).warnings()[0]


@pytest.mark.parametrize("snr_db", [None, 20, 10])
def test_speech_is_heard_through_noise_without_a_warning(speech: Sound, snr_db: float | None) -> None:
    noise = coloured(0.3)
    gain = 0 if snr_db is None else np.std(speech) / np.std(noise) * 10 ** (-snr_db / 20)
    found = heard(np.float32(speech + gain * noise))
    assert found.speech_share > 0.6
    assert found.warnings() == ()


def test_blocks_of_any_length_are_heard_alike(speech: Sound) -> None:
    assert listen([speech]) == listen([speech[i : i + 777] for i in range(0, len(speech), 777)])


@pytest.mark.parametrize(
    ("gain", "words"), [(0.0, "is silent"), (0.01, "very quiet"), (40.0, "samples are clipped")]
)
def test_recordings_that_are_silent_quiet_or_clipped_are_warned_of(
    speech: Sound, gain: float, words: str
) -> None:
    assert any(words in warning for warning in heard(np.clip(gain * speech, -1, 1)).warnings())


def test_a_voice_in_opposite_phase_is_heard_and_spoken_of(speech: Sound, tmp_path: Path) -> None:
    found = listen_to(write(tmp_path / "a.wav", speech, -speech), Stretch())
    assert found.speech_share > 0.6
    assert [("cancel each other" in warning) for warning in found.warnings()] == [True]


def test_a_voice_in_one_channel_only_is_heard_without_a_warning(speech: Sound, tmp_path: Path) -> None:
    found = listen_to(write(tmp_path / "a.wav", 0 * speech, speech), Stretch())
    assert found.speech_share > 0.6
    assert found.warnings() == ()


@pytest.mark.parametrize("voice_at", [0, 1, 2])
def test_the_sound_track_with_the_voice_is_taken_and_said(
    tmp_path: Path,
    speech: Sound,
    ffmpeg_run: Callable[..., None],
    voice_at: int,
) -> None:
    tracks = [NO_VOICE["white noise"] * 0.1, NO_VOICE["a chord"]]
    tracks.insert(voice_at, speech)
    files = [write(tmp_path / f"{i}.wav", track) for i, track in enumerate(tracks)]
    inputs = [word for file in files for word in ("-i", file)]
    maps = [word for i in range(3) for word in ("-map", f"{i}:a")]
    ffmpeg_run(*inputs, *maps, "-c:a", "aac", tmp_path / "three.mp4")
    choice = choose_track(tmp_path / "three.mp4", None)
    assert choice.track == voice_at
    assert f"track {voice_at} is used" in choice.notes[0]
    assert "--audio-track" in choice.notes[0]
    assert choose_track(tmp_path / "three.mp4", 2).track == 2
    with pytest.raises(SpeechError, match="no sound track 3: it has 3"):
        read_sound(tmp_path / "three.mp4", Stretch(track=3))


def test_of_two_tracks_with_a_voice_the_first_is_taken(
    tmp_path: Path,
    speech: Sound,
    ffmpeg_run: Callable[..., None],
) -> None:
    source = write(tmp_path / "a.wav", speech)
    ffmpeg_run("-i", source, "-i", source, "-map", "0:a", "-map", "1:a", "-c:a", "aac", tmp_path / "two.mka")
    assert choose_track(tmp_path / "two.mka", None).track == 0


def test_one_track_needs_no_word(tmp_path: Path, speech: Sound) -> None:
    assert choose_track(write(tmp_path / "a.wav", speech), None).notes == ()
