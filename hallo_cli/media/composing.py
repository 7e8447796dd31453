"""Joins or mixes several recordings; the result is cached by content."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ffmpeg

from hallo_cli.errors import SettingsError, SpeechError
from hallo_cli.media.ffmpeg import FLAC, address, run
from hallo_cli.media.files import require_file
from hallo_cli.media.kept_sounds import RECORDINGS, kept_path, note_of, sources_of
from hallo_cli.media.pcm import pcm
from hallo_cli.media.sound_track import Stretch
from hallo_cli.store.digests import file_digest
from hallo_cli.store.writing import copy_whole, write_whole

MAX_PAUSE_S = 60.0
MAX_RECORDINGS = 1000
RATE, LAYOUT = 48_000, "stereo"  # the format that all are converted to


def composed(recordings: Sequence[Path], pause_s: float = 0.0) -> Path:
    """One recording that contains all of them in full, in order; a single one is returned unchanged.

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
    return _kept(files, [1, pause_s], lambda parts: ffmpeg.concat(*parts, v=0, a=1), pause_s)


def mixed(recordings: Sequence[Path]) -> Path:
    """One recording in which all of them are heard at once, from the beginning.

    Raises SpeechError, SettingsError, EncoderError or OutputError.
    """
    files = [require_file(file, SpeechError, "recording") for file in recordings]
    return _kept(files, ["mixed"], _mix)


def _mix(voices: Sequence[Any]) -> Any:
    whole = ffmpeg.filter(voices, "amix", inputs=len(voices), duration="longest", normalize=0)
    # the peaks of voices that speak at once are held below full scale
    return whole.filter("alimiter", limit=0.95, level="disabled")


def _kept(
    files: Sequence[Path], how: list[object], combine: Callable[[Sequence[Any]], Any], pause_s: float = 0.0
) -> Path:
    """What `combine` makes of the files as streams, from the cache if it was made before."""
    digests = [*map(file_digest, files)]
    key = json.dumps([*how, *digests]).encode()
    target = kept_path(RECORDINGS, f"{hashlib.sha256(key).hexdigest()[:40]}.flac")
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="hallo-") as folder:
            parts = [Path(folder) / f"{number}.flac" for number in range(len(files))]
            for file, part in zip(files, parts, strict=True):
                _make_alike(file, part, 0.0 if part is parts[-1] else pause_s)
            made = Path(folder) / "whole.flac"
            whole = combine([ffmpeg.input(address(part))["a:0"] for part in parts])
            run(ffmpeg.output(whole, address(made), **FLAC))
            copy_whole(made, target)
    if tuple(digests) != sources_of(target):
        write_whole(note_of(target), json.dumps(digests).encode())
    return target


def _make_alike(file: Path, part: Path, pause_s: float) -> None:
    """Convert a recording to the common rate and channels, with a pause after it."""
    with pcm(file, Stretch()) as samples:
        same = samples.as_input().filter("aresample", RATE).filter("aformat", channel_layouts=LAYOUT)
        padded = same.filter("apad", pad_dur=pause_s) if pause_s else same
        run(ffmpeg.output(padded, address(part), **FLAC), feed=samples.whole())
