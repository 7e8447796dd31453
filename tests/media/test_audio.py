"""Any sound becomes 16 kHz mono; what is none is refused with a reason."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from hallo_cli.domain import SAMPLE_RATE
from hallo_cli.errors import SpeechError
from hallo_cli.media import audio
from hallo_cli.media.audio import Recording, decode, read_sound
from hallo_cli.media.sound_track import MAX_LEVEL, Stretch

Ffmpeg = Callable[..., None]


def write_wav(file: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    wavfile.write(file, rate, samples)
    return file


def test_pcm_at_16_khz_is_returned_unchanged(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    assert np.array_equal(read_sound(write_wav(tmp_path / "a.wav", samples)), samples)


def test_channels_are_averaged(wav: Path, speechlike: np.ndarray) -> None:
    sound = read_sound(wav)
    expected = speechlike.mean(axis=1)[::3]  # 48 to 16 kHz: the tone lies far below both limits
    assert abs(len(sound) - len(expected)) <= 1
    assert np.abs(sound[200:30_000] - expected[200:30_000]).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp3", ("-c:a", "libmp3lame")),
        ("a.m4a", ("-c:a", "aac")),
        ("a.flac", ("-c:a", "flac")),
        ("a.ogg", ("-c:a", "libvorbis")),
        ("a.opus", ("-c:a", "libopus")),
        ("a.aiff", ("-c:a", "pcm_s24be")),
        ("a.mka", ("-c:a", "pcm_f64le")),
        ("u8.wav", ("-c:a", "pcm_u8", "-ar", "8000")),
        ("adpcm.wav", ("-c:a", "adpcm_ima_wav")),
    ],
)
def test_every_format_gives_the_same_sound(
    wav: Path, ffmpeg_run: Ffmpeg, name: str, options: tuple[str, ...]
) -> None:
    reference = read_sound(wav)
    ffmpeg_run("-i", wav, *options, wav.with_name(name))
    sound = read_sound(wav.with_name(name))
    # Lossy codecs may pad the end; the envelope must stay where it was to within 10 ms.
    assert abs(len(sound) - len(reference)) < 0.12 * SAMPLE_RATE
    n = min(len(sound), len(reference)) // 160 * 160
    envelopes = [np.sqrt((x[:n].reshape(-1, 160) ** 2).mean(axis=1)) for x in (sound, reference)]
    assert np.corrcoef(*envelopes)[0, 1] > 0.98


@pytest.mark.parametrize("rate", ["16000", "48000"])
def test_encoders_padding_is_no_part_of_the_recording(wav: Path, ffmpeg_run: Ffmpeg, rate: str) -> None:
    ffmpeg_run("-i", wav, "-ar", rate, wav.with_name("a.m4a"))
    assert len(read_sound(wav.with_name("a.m4a"))) == pytest.approx(2 * SAMPLE_RATE, abs=2)


def test_sound_of_a_video_is_used(wav: Path, ffmpeg_run: Ffmpeg) -> None:
    video = wav.with_name("v.mp4")
    ffmpeg_run("-f", "lavfi", "-i", "testsrc=d=2:s=64x64", "-i", wav, "-c:v", "libx264", "-shortest", video)
    assert abs(len(read_sound(video)) - 2 * SAMPLE_RATE) < 2000


@pytest.mark.parametrize("n_channels", [1, 3, 5, 7, 11, 24])
def test_any_number_of_channels_is_accepted(tmp_path: Path, n_channels: int) -> None:
    tone = np.sin(np.arange(8000) / 9).astype(np.float32)
    sound = read_sound(write_wav(tmp_path / "a.wav", np.repeat(tone[:, None], n_channels, axis=1)))
    assert np.allclose(sound, tone, atol=1e-6)


@pytest.mark.parametrize("rate", [4000, 11025, 22050, 96000, 192000])
def test_any_rate_keeps_the_duration(tmp_path: Path, rate: int) -> None:
    file = write_wav(tmp_path / "a.wav", np.zeros(rate, np.int16), rate)
    assert len(read_sound(file)) == pytest.approx(SAMPLE_RATE, abs=3)


def test_start_and_duration_cut_exactly(tmp_path: Path) -> None:
    samples = np.arange(16_000, dtype=np.float32) / 16_000
    file = write_wav(tmp_path / "a.wav", samples)
    assert np.array_equal(read_sound(file, Stretch(0.25, 0.5)), samples[4000:12_000])
    assert np.array_equal(read_sound(file, Stretch(0.75)), samples[12_000:])


def test_start_behind_the_end_is_refused(tmp_path: Path) -> None:
    file = write_wav(tmp_path / "a.wav", np.zeros(16_000, np.float32))
    with pytest.raises(SpeechError, match=r"is 1\.00 s long, but it should start at 3 s"):
        read_sound(file, Stretch(3))


def test_samples_that_are_no_number_become_zero(tmp_path: Path) -> None:
    samples = np.full(1600, 0.5, np.float32)
    samples[[10, 20, 30]] = np.nan, np.inf, -np.inf
    samples[40] = 1e30
    sound = read_sound(write_wav(tmp_path / "a.wav", samples))
    assert np.isfinite(sound).all()
    assert sound[[10, 20, 30]].tolist() == [0, 0, 0]
    assert sound[40] == MAX_LEVEL


@pytest.mark.parametrize("n_samples", [1, 640, 641])
def test_shortest_sounds_are_read_whole(tmp_path: Path, n_samples: int) -> None:
    assert len(read_sound(write_wav(tmp_path / "a.wav", np.ones(n_samples, np.float32)))) == n_samples


def test_no_samples_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="holds no sound"):
        read_sound(write_wav(tmp_path / "a.wav", np.zeros(0, np.int16)))


def test_decoded_file_reads_like_the_whole(tmp_path: Path, wav: Path) -> None:
    whole = read_sound(wav)
    recording = decode(wav, tmp_path / "sound.f32")
    assert recording.n_samples == len(whole)
    assert np.array_equal(np.concatenate(list(recording.blocks(777))), whole)
    assert np.array_equal(recording.read(100, 300), whole[100:300])
    assert [p.name for p in tmp_path.glob("*.part")] == []


def test_reading_outside_the_recording_gives_zeros(tmp_path: Path) -> None:
    np.arange(1, 11, dtype="<f4").tofile(tmp_path / "a.f32")
    recording = Recording(tmp_path / "a.f32", 10)
    assert recording.read(-3, 2).tolist() == [0, 0, 0, 1, 2]
    assert recording.read(8, 12).tolist() == [9, 10, 0, 0]
    assert recording.read(20, 22).tolist() == [0, 0]
    assert recording.read(-5, -3).tolist() == [0, 0]


def test_cut_off_wav_is_refused(tmp_path: Path, wav: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(wav.read_bytes()[:200_000])
    with pytest.raises(SpeechError, match=r"cut off|cannot be decoded"):
        read_sound(cut)


def test_cut_off_sound_can_be_used_up_to_there(tmp_path: Path, wav: Path) -> None:
    cut = tmp_path / "cut.wav"
    cut.write_bytes(wav.read_bytes()[:200_000])
    assert len(read_sound(cut, Stretch(duration_s=0.2))) == 3200


def test_too_long_a_recording_is_refused(monkeypatch: pytest.MonkeyPatch, wav: Path) -> None:
    monkeypatch.setattr(audio, "MAX_DURATION_S", 1.0)
    with pytest.raises(SpeechError, match="--start and --duration"):
        read_sound(wav)


def test_picture_without_sound_is_refused(tmp_path: Path, ffmpeg_run: Ffmpeg) -> None:
    ffmpeg_run("-f", "lavfi", "-i", "testsrc=d=1:s=64x64", tmp_path / "v.mp4")
    with pytest.raises(SpeechError, match="no sound track"):
        read_sound(tmp_path / "v.mp4")


def test_names_like_options_and_in_any_script_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-i", "--help.wav", "ünï 声 🎤.wav", "a'b\"c.wav", "pipe:0", "%03d.wav", "http:x"):
        write_wav(tmp_path / "x.wav", np.ones(100, np.float32))
        (tmp_path / "x.wav").rename(name)
        assert len(read_sound(Path(name))) == 100


def test_playlists_are_not_followed(tmp_path: Path, wav: Path) -> None:
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:2,\n{wav.name}\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.txt").write_text(f"ffconcat version 1.0\nfile '{wav.name}'\n")
    for name in ("list.m3u8", "list.txt"):
        with pytest.raises(SpeechError):
            read_sound(tmp_path / name)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name, reason in [
        ("fifo", "pipe or device"),
        ("folder", "is a folder"),
        ("empty", "0 bytes"),
        ("loop", "cannot be found"),
        ("dangling", "does not exist"),
        ("none", "does not exist"),
        ("nul\0", "cannot be found"),
        ("x" * 5000, "cannot be found"),
    ]:
        with pytest.raises(SpeechError, match=reason) as caught:
            read_sound(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_end_in_sound_or_in_a_speech_error(
    tmp_path: Path, wav: Path, ffmpeg_run: Ffmpeg, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    suffix = ("mp3", "m4a", "flac", "ogg", "wav")[seed % 5]
    source = tmp_path / f"whole.{suffix}"
    ffmpeg_run("-i", wav, "-t", "0.5", source)
    content = bytearray(source.read_bytes())
    damage = seed // 5
    if damage % 2:
        content = content[: int(rng.integers(1, len(content)))]
    for _ in range(8 * damage):
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
    broken = tmp_path / f"broken.{suffix}"
    broken.write_bytes(bytes(content))
    outcome = sound_or_reason(broken)
    assert isinstance(outcome, np.ndarray) or damage


def test_impossible_seeks_are_refused_without_a_trace(
    tmp_path: Path, wav: Path, ffmpeg_run: Ffmpeg, capfd: pytest.CaptureFixture[str]
) -> None:
    ffmpeg_run("-i", wav, tmp_path / "a.w64")
    content = bytearray((tmp_path / "a.w64").read_bytes())
    start = content.index(b"data")
    content[start] = 0  # an unknown chunk, to be skipped
    content[start + 16 : start + 24] = b"\x00" * 7 + b"\x7f"  # which ends where no file does
    (tmp_path / "a.w64").write_bytes(bytes(content))
    with pytest.raises(SpeechError, match=r"cannot be decoded|holds no sound|cut off"):
        read_sound(tmp_path / "a.w64")
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_are_refused(tmp_path: Path, seed: int) -> None:
    file = tmp_path / ("noise" + (".mp3", ".wav", ".m4a", ".ogg", "")[seed % 5])
    file.write_bytes(np.random.default_rng(seed).bytes(5000))
    assert "cannot be decoded" in sound_or_reason(file)


def sound_or_reason(file: Path) -> np.ndarray | str:
    """Load a file that may be damaged; anything but sound or a one-line SpeechError fails the test."""
    try:
        sound = read_sound(file)
    except SpeechError as error:
        reason = str(error)
        assert len(reason.splitlines()) == 1
        return reason
    assert np.isfinite(sound).all()
    return sound


@pytest.mark.parametrize(
    "address", ["https://example.com/a.mp3?b=1", "http://x/y.wav", "s3://bucket/key.mp3"]
)
def test_web_addresses_are_told_as_they_were_given(address: str, tmp_path: Path) -> None:
    for path in (Path(address), tmp_path / address):  # a row's path lies in the manifest's folder
        with pytest.raises(SpeechError) as caught:
            read_sound(path)
        assert f"{address} is a web address. Download it first" in str(caught.value)
