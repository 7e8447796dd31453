from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile
from scipy.signal import resample_poly

from hallo_cli.media.joining import Sound
from hallo_cli.media.levelling import levelled, loudness_and_peak
from hallo_cli.media.pcm import pcm
from hallo_cli.media.probe import probe
from hallo_cli.media.sound_track import Stretch

RATE = 16_000
EXAMPLES = Path(__file__).parent.parent.parent / "hallo_cli/assets/examples"
SPEECH = EXAMPLES / "sense_and_sensibility_01_austen_64kb-0870.wav"


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
    assert loudness_and_peak(made)[0] == pytest.approx(lufs, abs=1.0)  # EBU R128 allows 1 LU for live speech


@pytest.mark.parametrize(("lufs", "seconds"), [(-16.0, 1.0), (-16.0, 7.0), (-14.0, 7.0)])
def test_loudness_is_met_where_peaks_have_to_be_limited(tmp_path: Path, lufs: float, seconds: float) -> None:
    spoken = Sound(SPEECH, Stretch(0.0, seconds))  # -25 LUFS with peaks of -7 dB
    made = levelled(spoken, lufs, tmp_path / "out.flac")
    assert loudness_and_peak(made)[0] == pytest.approx(lufs, abs=0.3)
    with pcm(made.file, Stretch()) as decoded:
        samples = np.concatenate(list(decoded.samples))[:, 0]
    assert np.abs(resample_poly(samples, 8, 1)).max() <= 10 ** (-1.3 / 20)  # 0.2 dB: another resampler


def test_peaks_of_sound_at_44100_hz_are_limited(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).normal(0, 0.02, (44_100 * 2, 2))
    wave[44_100] = 0.5
    wavfile.write(tmp_path / "a.wav", 44_100, wave.astype(np.float32))
    made = levelled(Sound(tmp_path / "a.wav"), -16, tmp_path / "out.flac")
    assert loudness_and_peak(made)[0] == pytest.approx(-16, abs=0.3)


def test_loudness_that_peaks_do_not_allow_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wave = np.zeros(RATE * 2, np.float32)
    wave[:: RATE // 4] = 0.5  # clicks
    wavfile.write(tmp_path / "a.wav", RATE, wave)
    levelled(Sound(tmp_path / "a.wav"), -5, tmp_path / "out.flac")
    assert "LUFS instead of -5: its peaks allow no more" in caplog.text


def test_length_and_rate_stay(tmp_path: Path) -> None:
    made = levelled(Sound(speech(tmp_path / "a.wav", level=0.05)), -16, tmp_path / "out.flac")
    track = probe(made.file).audio
    assert track is not None
    assert track.sample_rate == RATE
    assert track.duration_s == pytest.approx(6.0, abs=0.001)


def test_only_the_rendered_stretch_counts(tmp_path: Path) -> None:
    quiet, loud = (wavfile.read(speech(tmp_path / f"{level}.wav", level=level))[1] for level in (0.01, 0.3))
    wavfile.write(tmp_path / "both.wav", RATE, np.concatenate([loud, quiet]))
    made = levelled(Sound(tmp_path / "both.wav", Stretch(6.0, 4.0)), -20, tmp_path / "out.flac")
    track = probe(made.file).audio
    assert track is not None
    assert track.duration_s == pytest.approx(4.0, abs=0.001)
    assert loudness_and_peak(made)[0] == pytest.approx(-20, abs=1.0)


def test_silence_stays_as_it_is(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "a.wav", RATE, np.zeros(RATE * 2, np.int16))
    sound = Sound(tmp_path / "a.wav")
    assert loudness_and_peak(sound) is None
    assert levelled(sound, -16, tmp_path / "out.flac") is sound
