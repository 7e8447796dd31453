from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from hallo_cli.errors import SettingsError, SpeechError
from hallo_cli.media.audio import read_sound
from hallo_cli.media.composing import composed


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Half a second loud at 16 kHz mono, half a second softer at 44.1 kHz stereo."""
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    wavfile.write(tmp_path / "a.wav", 16_000, rng.normal(0, 6000, 8000).astype(np.int16))
    wavfile.write(
        tmp_path / "b.wav", 44_100, np.repeat(rng.normal(0, 2000, (22_050, 1)), 2, axis=1).astype(np.int16)
    )
    return [tmp_path / "a.wav", tmp_path / "b.wav"]


def test_recordings_are_heard_in_order_with_a_pause(files: list[Path]) -> None:
    heard = read_sound(composed(files, 0.25))
    first, pause, second = np.split(heard, [8000, 12_000])
    assert len(heard) == pytest.approx(20_000, abs=2)
    assert np.abs(pause[50:-50]).max() < 0.001
    assert first.std() > 2 * second.std() > 0.01


def test_order_and_pause_make_another_recording(files: list[Path]) -> None:
    made = {composed(files), composed(files[::-1]), composed(files, 0.1)}
    assert len(made) == 3
    assert composed(files) in made


@pytest.mark.parametrize("pause_s", [-0.1, 60.1, float("nan")])
def test_pause_is_up_to_a_minute(files: list[Path], pause_s: float) -> None:
    with pytest.raises(SettingsError, match="a pause from 0 to 60 seconds"):
        composed(files, pause_s)


def test_a_single_recording_is_itself(files: list[Path]) -> None:
    assert composed(files[:1], 1.0) == files[0]


def test_recordings_that_cannot_be_are_told(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(SpeechError, match=r"text\.wav"):
        composed([*files, tmp_path / "text.wav"])
    with pytest.raises(SpeechError, match="does not exist"):
        composed([*files, tmp_path / "gone.wav"])
    with pytest.raises(SettingsError, match="from 0 to 60 seconds"):
        composed(files, -1)
