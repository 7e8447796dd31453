"""Lengths in headers are believed only where the file's size does not contradict them by far."""

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hallo_cli.errors import SpeechError
from hallo_cli.media.audio import Decoding, read_sound
from hallo_cli.media.ffmpeg import find_ffmpeg

RATE = 16_000
SECONDS = 3
TONE = (8000 * np.sin(np.arange(RATE * SECONDS) / 9)).astype("<i2")


def wave(riff: int, data: int, *, tail: bytes = b"") -> bytes:
    layout = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + layout + b"data" + struct.pack("<I", data)
    return head + TONE.tobytes() + tail


@pytest.mark.parametrize(
    ("riff", "data"),
    [
        (0x7FFFF024, 0x7FFFF000),
        (0x7FFFFFFF, 0x7FFFFFFF),
        (2_000_000_036, 2_000_000_000),
        (0xFFFFFFFF, 0xFFFFFFFF),
        (0x80000000, 0x80000000),
        (0, 0),
        (36, 0),
        (1_234_567_890, 1_234_567_854),
        (44, 8),  # far too short
        (96_036, 0x7FFFFFFF),
        (0x7FFFFFFF, 96_000),
    ],
)
def test_wav_whose_header_cannot_be_true_is_read_to_its_end(tmp_path: Path, riff: int, data: int) -> None:
    (tmp_path / "a.wav").write_bytes(wave(riff, data))
    assert np.allclose(read_sound(tmp_path / "a.wav"), TONE / 32768, atol=1e-4)


def test_a_header_that_is_not_believed_is_spoken_of(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wave(0x7FFFFFFF, 0x7FFFFFFF))
    decoding = Decoding(tmp_path / "a.wav")
    list(decoding)
    assert any("wrong length" in note for note in decoding.notes)


@pytest.mark.parametrize("share", [0.03, 0.2, 0.5, 0.85])
def test_a_wav_that_is_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    whole = wave(36 + len(TONE) * 2, len(TONE) * 2)
    (tmp_path / "a.wav").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SpeechError, match="cut off"):
        read_sound(tmp_path / "a.wav")


def test_chunks_behind_the_sound_are_not_heard(tmp_path: Path) -> None:
    tail = b"LIST" + struct.pack("<I", 20_000) + bytes(range(250)) * 80
    (tmp_path / "a.wav").write_bytes(wave(36 + len(TONE) * 2 + len(tail), len(TONE) * 2, tail=tail))
    assert len(read_sound(tmp_path / "a.wav")) == len(TONE)


@pytest.mark.parametrize("kind", ["wav", "aiff", "au", "caf", "w64", "flac", "matroska", "ogg", "mp3", "avi"])
def test_sound_that_was_piped_is_read_whole(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.wav").write_bytes(wave(36 + len(TONE) * 2, len(TONE) * 2))
    piped(tmp_path / "a.wav", tmp_path / "piped", "-f", kind)
    assert len(read_sound(tmp_path / "piped")) == pytest.approx(len(TONE), abs=0.15 * RATE)


def test_long_wav_that_was_piped_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wave(36 + len(TONE) * 2, len(TONE) * 2))
    piped(tmp_path / "a.wav", tmp_path / "piped", "-f", "wav", "-rf64", "always")
    assert len(read_sound(tmp_path / "piped")) == len(TONE)


def piped(source: Path, target: Path, *options: str) -> None:
    """Have ffmpeg write into a pipe, where it cannot go back to fill in lengths."""
    command = [str(find_ffmpeg()), "-loglevel", "error", "-i", str(source), *options, "-"]
    target.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)


def test_playing_time_of_a_flac_that_no_file_could_hold_is_not_believed(
    tmp_path: Path, ffmpeg_run: Callable[..., None]
) -> None:
    (tmp_path / "a.wav").write_bytes(wave(36 + len(TONE) * 2, len(TONE) * 2))
    ffmpeg_run("-i", tmp_path / "a.wav", tmp_path / "a.flac")
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] |= 0x0F  # the upper bits of the number of samples
    (tmp_path / "a.flac").write_bytes(bytes(content))
    assert len(read_sound(tmp_path / "a.flac")) == len(TONE)
