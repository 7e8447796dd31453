"""Joins several recordings in order, with pauses between them; the result is cached by content."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import ffmpeg

from hallo_cli.errors import SettingsError, SpeechError
from hallo_cli.media.audio import Stretch
from hallo_cli.media.ffmpeg import DETERMINISTIC, address, run
from hallo_cli.media.files import require_file
from hallo_cli.media.kept_sounds import kept_path, note_of, sources_of
from hallo_cli.media.pcm import pcm
from hallo_cli.store.digests import file_digest
from hallo_cli.store.writing import copy_whole, write_whole

MAX_PAUSE_S = 60.0
MAX_RECORDINGS = 1000
RATE, LAYOUT = 48_000, "stereo"  # the format that all are converted to


def composed(recordings: Sequence[Path], pause_s: float = 0.0) -> Path:
    """One recording that contains all of them in full; a single one is returned unchanged.

    Raises SpeechError, SettingsError, EncoderError or OutputError.
    """
    files = [require_file(file, SpeechError, "recording") for file in recordings]
    if not 0 <= pause_s <= MAX_PAUSE_S or not 1 <= len(files) <= MAX_RECORDINGS:
        raise SettingsError(
            f"--pause {pause_s:g} between {len(files)} recordings is too much: give up to {MAX_RECORDINGS} "
            f"recordings and a pause from 0 to {MAX_PAUSE_S:g} seconds."
        )
    if len(files) == 1:
        return recordings[0]
    return _kept(files, [1, pause_s], lambda target: _make(files, pause_s, target))


def mixed(recordings: Sequence[Path]) -> Path:
    """One recording in which all of them are heard at once, from the beginning.

    Raises SpeechError, SettingsError, EncoderError or OutputError.
    """
    files = [require_file(file, SpeechError, "recording") for file in recordings]
    return _kept(files, ["mixed"], lambda target: _mix(files, target))


def _kept(files: Sequence[Path], how: list[object], make: Callable[[Path], None]) -> Path:
    """What `make` makes of the files, from the cache if it was made before."""
    digests = [*map(file_digest, files)]
    key = json.dumps([*how, *digests]).encode()
    target = kept_path("recordings", f"{hashlib.sha256(key).hexdigest()[:40]}.flac")
    if not target.exists():
        make(target)
    if tuple(digests) != sources_of(target):
        write_whole(note_of(target), json.dumps(digests).encode())
    return target


def _make(files: Sequence[Path], pause_s: float, target: Path) -> None:
    last = len(files) - 1
    with tempfile.TemporaryDirectory(prefix="hallo-") as folder:
        parts = [Path(folder) / f"{number}.flac" for number in range(len(files))]
        for number, (file, part) in enumerate(zip(files, parts, strict=True)):
            _make_alike(file, part, pause_s if number < last else 0.0)
        made = Path(folder) / "composed.flac"
        whole = ffmpeg.concat(*(ffmpeg.input(address(part))["a:0"] for part in parts), v=0, a=1)
        run(ffmpeg.output(whole, address(made), format="flac", sample_fmt="s32", **DETERMINISTIC))
        copy_whole(made, target)


def _mix(files: Sequence[Path], target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hallo-") as folder:
        parts = [Path(folder) / f"{number}.flac" for number in range(len(files))]
        for file, part in zip(files, parts, strict=True):
            _make_alike(file, part, 0.0)
        made = Path(folder) / "mixed.flac"
        voices = [ffmpeg.input(address(part))["a:0"] for part in parts]
        # the peaks of voices that speak at once are held below full scale
        whole = ffmpeg.filter(voices, "amix", inputs=len(voices), duration="longest", normalize=0)
        whole = whole.filter("alimiter", limit=0.95, level="disabled")
        run(ffmpeg.output(whole, address(made), format="flac", sample_fmt="s32", **DETERMINISTIC))
        copy_whole(made, target)


def _make_alike(file: Path, part: Path, pause_s: float) -> None:
    """Convert a recording to the common rate and channels, with a pause after it."""
    with pcm(file, Stretch()) as samples:
        same = samples.as_input().filter("aresample", RATE).filter("aformat", channel_layouts=LAYOUT)
        padded = same.filter("apad", pad_dur=pause_s) if pause_s else same
        written = ffmpeg.output(padded, address(part), format="flac", sample_fmt="s32", **DETERMINISTIC)
        run(written, feed=samples.whole())
