"""Reads SubRip subtitles and puts them into a video: as a track of their own, or drawn into the pictures."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np

from hallo_cli.errors import EncoderError, InputError
from hallo_cli.media.ffmpeg import DETERMINISTIC, address, run
from hallo_cli.media.files import require_file, shown
from hallo_cli.media.video import SegmentWriter, encoded, read_frames
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.store.writing import rename, reporting_write_errors, write_whole

LIMIT = 4 << 20  # bytes
FONT_SHARE = 0.06  # height of drawn letters, as a share of the video's shorter side
SCRIPT_HEIGHT = 288  # of the page on which ffmpeg lays out SubRip
_STAMP = r"(\d{1,3}):(\d{2}):(\d{2})[,.](\d{1,3})"
_TIMES = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cue:
    """One subtitle."""

    start_s: float
    stop_s: float
    text: str  # lines, with SubRip's own marks


def read_subtitles(file: Path) -> list[Cue]:
    """The subtitles of a SubRip (.srt) file, in order. Raises InputError."""
    checked = require_file(file, InputError, "subtitles")
    try:
        if checked.stat().st_size > LIMIT:
            raise ValueError("the file is too large for subtitles")
        cues = list(_cues(checked.read_text(encoding="utf-8-sig")))
    except (OSError, ValueError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise InputError(
            f"The subtitles {shown(file)} cannot be read: {reason}. Give a .srt file."
        ) from error
    if not cues:
        raise InputError(f"The subtitles {shown(file)} hold no lines. Give a .srt file with times and texts.")
    return sorted(cues, key=lambda cue: cue.start_s)


def cut_out(cues: list[Cue], start_s: float, length_s: float) -> list[Cue]:
    """The cues of a part of the recording, with times from the start of the part."""
    moved = (
        Cue(max(0.0, cue.start_s - start_s), min(length_s, cue.stop_s - start_s), cue.text) for cue in cues
    )
    return [cue for cue in moved if cue.stop_s > cue.start_s]


def add_subtitles(video: Path, cues: list[Cue], work: Path) -> None:
    """Put a track of subtitles into a finished video, in its place; pictures and sound are copied.

    work: a temporary file. Raises EncoderError, OutputError.
    """
    part = work.with_suffix(video.suffix)
    with reporting_write_errors(video):
        try:
            write_whole(work, _written(cues).encode())
            run(_adding(video, work, part))
            rename(part, video)
        finally:
            work.unlink(missing_ok=True)
            part.unlink(missing_ok=True)


def burn_subtitles(segment: Path, target: Path, cues: list[Cue], video: VideoFormat) -> None:
    """Draw subtitles into the pictures of a video-only segment, which are encoded anew. Raises EncoderError.

    The cues are written to a file of a plain name beside `target`, since ffmpeg's filters read names in their
    own way. The letters have the same size in tall and wide videos.
    """
    words = target.with_name("burned.srt")
    unit = FONT_SHARE * min(video.width, video.height) / video.height * SCRIPT_HEIGHT
    style = f"Fontsize={unit:.1f},MarginV={unit:.1f}"
    try:
        write_whole(words, _written(cues).encode())
        pictures = ffmpeg.input(address(segment)).video
        drawn = pictures.filter("subtitles", filename=words.name, charenc="UTF-8", force_style=style)
        output = encoded(drawn.filter("format", "yuv420p"), target, video)
        said = run(output, cwd=target.parent, level="warning")
    finally:
        words.unlink(missing_ok=True)
    if b"failed to find any fallback" in said:
        log.warning(
            "the fonts of this machine lack characters of the subtitles: install others, or use --soft"
        )


@cache
def require_burning() -> None:
    """Draw a letter on a trial picture. Raises EncoderError if this ffmpeg, or this machine, cannot."""
    video = VideoFormat(256, 256, 25.0, crf=0)
    try:
        with tempfile.TemporaryDirectory(prefix="hallo-") as name:
            plain, drawn = Path(name, "plain.mp4"), Path(name, "drawn.mp4")
            with SegmentWriter(plain, video) as writer:
                writer.write(np.zeros((1, video.height, video.width, 3), np.uint8))
                writer.commit()
            burn_subtitles(plain, drawn, [Cue(0.0, 1.0, "H")], video)
            is_drawn = max(int(frame.max()) for frame in read_frames(drawn)) > 128
    except EncoderError as error:
        raise EncoderError(
            f"--burn: this ffmpeg cannot draw subtitles, which needs libass ({error}). Set HALLO_FFMPEG to "
            "another one, or use --soft."
        ) from error
    if not is_drawn:
        raise EncoderError("--burn: this machine has no font. Install one, such as DejaVu, or use --soft.")


def _adding(video: Path, subtitles: Path, part: Path) -> Any:
    source, words = ffmpeg.input(address(video)), ffmpeg.input(address(subtitles), format="srt")
    is_webm = video.suffix.lower() == ".webm"
    fast = {} if is_webm else {"movflags": "+faststart"}
    options = {**DETERMINISTIC, "map_metadata": "0", "scodec": "webvtt" if is_webm else "mov_text", **fast}
    tracks = [source["v"], source["a?"], words["s"]]
    kind = video.suffix.lower().removeprefix(".")
    return ffmpeg.output(*tracks, address(part), format=kind, c="copy", **options)


def _cues(text: str) -> Iterator[Cue]:
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n").strip()):
        lines = block.split("\n")
        if len(lines) > 1 and "-->" not in lines[0]:
            lines = lines[1:]  # its number
        found = _TIMES.match(lines[0])
        if not found:
            if block.strip():
                raise ValueError(f"{lines[0][:60]!r} is not a line of times (00:00:01,000 --> 00:00:02,500)")
            continue
        start_s, stop_s = (_seconds(found.groups()[at : at + 4]) for at in (0, 4))
        yield Cue(start_s, stop_s, "\n".join(lines[1:]).strip())


def _seconds(stamp: tuple[str, ...]) -> float:
    hours, minutes, seconds = map(int, stamp[:3])
    return hours * 3600 + minutes * 60 + seconds + int(stamp[3].ljust(3, "0")) / 1000


def _written(cues: list[Cue]) -> str:
    blocks = (
        f"{number}\n{_stamp(cue.start_s)} --> {_stamp(cue.stop_s)}\n{cue.text}\n"
        for number, cue in enumerate(cues, 1)
    )
    return "\n".join(blocks)


def _stamp(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02},{whole % 1000:03}"
