from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from hallo_cli.media.joining import Sound
from hallo_cli.media.levelling import levelled, loudness_of
from hallo_cli.media.probe import probe

RATE = 16_000


def speech(path: Path, *, level: float, seconds: float = 6.0) -> Path:
    """Bursts of noise with pauses, as loud as asked, with a single higher peak."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, level, round(RATE * seconds))
    samples *= (np.arange(len(samples)) // (RATE // 2)) % 3 != 2
    samples[RATE] = 4 * level
    wavfile.write(path, RATE, np.clip(samples, -1, 1).astype(np.float32))
    return path


@pytest.mark.parametrize("level", [0.005, 0.05, 0.3])
@pytest.mark.parametrize("lufs", [-16.0, -23.0])
def test_quiet_and_loud_speech_get_the_same_loudness(tmp_path: Path, level: float, lufs: float) -> None:
    made = levelled(Sound(speech(tmp_path / "a.wav", level=level)), lufs, tmp_path / "out.flac")
    assert loudness_of(made) == pytest.approx(lufs, abs=1.0)  # EBU R128 allows 1 LU for live speech


def test_length_and_rate_stay(tmp_path: Path) -> None:
    made = levelled(Sound(speech(tmp_path / "a.wav", level=0.05)), -16, tmp_path / "out.flac")
    track = probe(made.file).audio
    assert track is not None
    assert track.sample_rate == RATE
    assert track.duration_s == pytest.approx(6.0, abs=0.001)


def test_only_the_rendered_stretch_counts(tmp_path: Path) -> None:
    quiet, loud = (wavfile.read(speech(tmp_path / f"{level}.wav", level=level))[1] for level in (0.01, 0.3))
    wavfile.write(tmp_path / "both.wav", RATE, np.concatenate([loud, quiet]))
    made = levelled(Sound(tmp_path / "both.wav", start_s=6.0, duration_s=4.0), -20, tmp_path / "out.flac")
    track = probe(made.file).audio
    assert track is not None
    assert track.duration_s == pytest.approx(4.0, abs=0.001)
    assert loudness_of(made) == pytest.approx(-20, abs=1.0)


def test_silence_stays_as_it_is(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", RATE, np.zeros(RATE * 2, np.int16))
    sound = Sound(tmp_path / "a.wav")
    assert loudness_of(sound) is None
    assert levelled(sound, -16, tmp_path / "out.flac") is sound
