"""Describes the tracks of a media file, by PyAV: no ffprobe is needed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from hallo_cli.errors import InputError
from hallo_cli.media.files import reason_of, require_file, shown
from hallo_cli.media.headers import read_header

NO_PROTOCOLS = {"protocol_whitelist": "none"}
# Errors of PyAV on damaged files; plain OSError if a broken index leads it to an invalid position.
DECODING_ERRORS = (av.FFmpegError, OSError, ValueError, ArithmeticError, RuntimeError)


class _MediaFile(io.BufferedReader):
    """A file for PyAV that hides seek errors: on damaged files PyAV seeks to invalid positions."""

    def __init__(self, file: Path) -> None:
        self._header = read_header(file)
        super().__init__(io.FileIO(file))

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on, with the repaired parts of the file's header."""
        start = self.tell()
        return self._header.patched(super().read(size), start)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


@contextmanager
def open_media(file: Path) -> Iterator[av.container.InputContainer]:
    """Open a file that `require_file` has checked; other files that it points to are not followed.

    Raises one of DECODING_ERRORS.
    """
    with _MediaFile(file) as opened, av.open(opened, mode="r", options=NO_PROTOCOLS) as container:
        yield container


@dataclass(frozen=True)
class VideoTrack:
    """The first video track of a file."""

    codec: str
    width: int
    height: int
    fps: Fraction
    n_frames: int  # counted, not taken from the header
    duration_s: float


@dataclass(frozen=True)
class AudioTrack:
    """One sound track of a file."""

    codec: str
    profile: str  # such as LC, of AAC; empty where the codec knows none
    sample_rate: int
    n_channels: int
    start_s: float
    duration_s: float | None  # as declared; None if the file does not say


@dataclass(frozen=True)
class MediaInfo:
    """The tracks of a file."""

    video: VideoTrack | None
    audio: AudioTrack | None
    n_audio_tracks: int = 0


def probe(
    file: Path, *, what: str = "file", error: type[InputError] = InputError, audio_track: int = 0
) -> MediaInfo:
    """Return the tracks of a media file; video frames are counted packet by packet. Raises `error`."""
    checked = require_file(file, error, what)
    try:
        with open_media(checked) as container:
            audio = _audio_track(container, audio_track)
            n_tracks = len(container.streams.audio)
            return MediaInfo(_video_track(container), audio, n_tracks)
    except DECODING_ERRORS as reason:
        raise error(
            f"The {what} {shown(file)} cannot be read: {reason_of(reason)}. Give a sound or video file."
        ) from reason


def frame_hashes(file: Path) -> Iterator[str]:
    """Yield the SHA-256 of every decoded video frame's planes: equal for equal pictures only."""
    checked = require_file(file, InputError, "video")
    with open_media(checked) as container:
        for frame in container.decode(video=0):
            yield hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()


def _video_track(container: av.container.InputContainer) -> VideoTrack | None:
    # Pictures embedded in music files appear as video tracks of one frame; they do not count.
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    if not streams:
        return None
    stream = streams[0]
    fps = stream.average_rate or stream.guessed_rate or Fraction(0)
    n_frames = sum(1 for packet in container.demux(stream) if packet.size)
    if stream.duration is not None and stream.time_base is not None:
        duration_s = float(stream.duration * stream.time_base)
    else:
        duration_s = float(n_frames / fps) if fps else 0.0
    return VideoTrack(stream.codec_context.name, stream.width, stream.height, fps, n_frames, duration_s)


def _audio_track(container: av.container.InputContainer, track: int) -> AudioTrack | None:
    if track >= len(container.streams.audio):
        return None
    stream = container.streams.audio[track]
    base = stream.time_base
    return AudioTrack(
        codec=stream.codec_context.name.removesuffix("float"),  # MP3's decoder is called mp3float
        profile=stream.codec_context.profile or "",
        sample_rate=stream.sample_rate or 0,
        n_channels=stream.channels or 0,
        start_s=float(stream.start_time * base) if stream.start_time is not None and base else 0.0,
        duration_s=float(stream.duration * base) if stream.duration is not None and base else None,
    )
