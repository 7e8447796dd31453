"""Writes and reads videos: raw frames to ffmpeg and back; knows no jobs.

Segments are video-only files of closed groups of pictures, so that joining them copies packets. Encoder
settings are fixed, including threads: equal frames give equal files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Self

import av
import ffmpeg
import numpy as np

from hallo_cli.domain import Bytes
from hallo_cli.errors import EncoderError, InputError
from hallo_cli.media.ffmpeg import DETERMINISTIC, address, last_words, running_ffmpeg
from hallo_cli.media.files import reason_of, require_file, shown
from hallo_cli.media.probe import DECODING_ERRORS, open_media
from hallo_cli.media.video_format import VideoFormat, exact_rate
from hallo_cli.store.writing import PartFile, reporting_write_errors

ENCODER_THREADS = 4  # fixed: the number of threads changes what x264 writes


class SegmentWriter:
    """Encodes frames into one video-only file that gets its final name only when complete.

    Use as a context manager: write(), then commit(). Leaving without commit() discards the file.
    """

    def __init__(self, target: Path, video: VideoFormat) -> None:
        self._target = target
        self._video = video
        self._part = PartFile(target)
        self.n_frames = 0

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            with reporting_write_errors(self._target):
                opened.enter_context(self._part)
            encoding = _encoding(self._video, self._part.path)
            self._ffmpeg = opened.enter_context(running_ffmpeg(encoding, self._video.codec))
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def write(self, frames: Bytes) -> None:
        """Add frames [n, height, width, 3] uint8 RGB, or 4 with straight alpha.

        Raises EncoderError if ffmpeg has stopped.
        """
        expected = (self._video.height, self._video.width, 4 if self._video.has_alpha else 3)
        if frames.shape[1:] != expected or frames.dtype != np.uint8:
            raise ValueError(f"frames are {frames.dtype} {frames.shape[1:]}, not uint8 {expected}")
        try:
            self._ffmpeg.write(np.ascontiguousarray(_made_even(frames)).data)
        except BrokenPipeError:
            self._finish()
        self.n_frames += len(frames)

    def commit(self) -> Path:
        """Finish the file, flush it to disk and rename it. Raises EncoderError, OutputError."""
        self._finish()
        with reporting_write_errors(self._target):
            self._part.commit()
        return self._target

    def _finish(self) -> None:
        status, said = self._ffmpeg.finish()
        if status != 0 or not self._part.path.stat().st_size:
            raise EncoderError(
                f"ffmpeg's {self._video.codec} stopped (status {status}): {last_words(said)}. Free disk "
                "space, choose another --codec (hallo doctor lists what this ffmpeg has), or set "
                "HALLO_FFMPEG to an ffmpeg that has it."
            )


@cache
def require_encoder(codec: str) -> None:
    """Encode one small frame. Raises EncoderError if this ffmpeg, or this machine, cannot.

    A build of ffmpeg may list encoders that need a GPU or a driver which is not there.
    """
    video = VideoFormat(256, 256, 25.0, codec)
    frame = np.zeros((1, video.height, video.width, 4 if video.has_alpha else 3), np.uint8)
    try:
        with tempfile.TemporaryDirectory() as folder, SegmentWriter(Path(folder, "a.mp4"), video) as writer:
            writer.write(frame)
            writer.commit()
    except EncoderError as error:
        raise EncoderError(f"a trial frame cannot be encoded here. {error}") from error


def read_frames(file: Path, *, fps: float | None = None) -> Generator[Bytes]:
    """Yield a video's frames upright as [height, width, 3] uint8 RGB, one at a time.

    With fps, at that constant rate: frames are repeated or left out by their time. Raises InputError.
    """
    checked = require_file(file, InputError, "video")
    try:
        with open_media(checked) as container:
            if not container.streams.video:
                raise InputError(f"The file {shown(file)} has no picture. Give a video.")
            container.streams.video[0].thread_type = "AUTO"
            frames = container.decode(video=0)
            yield from map(_upright, frames if fps is None else _at_rate(frames, exact_rate(fps)))
    except DECODING_ERRORS as error:
        raise InputError(f"The video {shown(file)} cannot be decoded: {reason_of(error)}.") from error


def _encoding(video: VideoFormat, target: Path) -> Any:
    size = f"{video.width + video.width % 2}x{video.height + video.height % 2}"
    layout = "rgba" if video.has_alpha else "rgb24"
    raw = ffmpeg.input("pipe:0", format="rawvideo", pix_fmt=layout, s=size, r=str(video.rate))
    converted = raw.filter(
        "scale", out_color_matrix="bt709", out_range="tv", flags="accurate_rnd+full_chroma_int+bitexact"
    ).filter("format", _FORMATS.get(video.codec, "yuv420p"))
    return encoded(converted, target, video)


def encoded(pictures: Any, target: Path, video: VideoFormat) -> Any:
    """The ffmpeg output that writes yuv420p pictures of BT.709 as a segment."""
    # On the frames, too: newer ffmpegs go by what these say and drop the output's own options.
    colours = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "iec61966-2-1"}
    tagged = pictures.filter("setparams", range="tv", **colours)
    return ffmpeg.output(
        tagged,
        address(target),
        format=video.container,
        color_range="tv",
        **clock_of(video),
        **colours,
        **_codec_options(video),
        **DETERMINISTIC,
    )


def clock_of(video: VideoFormat) -> dict[str, Any]:
    """The option that makes every frame start on a tick; WebM counts milliseconds."""
    return {} if video.container == "webm" else {"video_track_timescale": video.timescale}


_FORMATS = {"libvpx-vp9": "yuva420p", "prores_ks": "yuva444p10le"}


def _made_even(frames: Bytes) -> Bytes:
    """Repeat the last row or column if their number is odd: colour has half the resolution."""
    height, width = frames.shape[1:3]
    if height % 2 == width % 2 == 0:
        return frames
    return np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _codec_options(video: VideoFormat) -> dict[str, Any]:
    group = max(1, round(2 * video.fps))
    common = {"vcodec": video.codec, "g": group, "bf": 0}  # without B-frames joins need no edit lists
    if video.codec == "libx264":
        return common | {"crf": video.crf, "preset": "medium", "threads": ENCODER_THREADS}
    if video.codec == "libx265":
        fixed = f"log-level=error:pools=none:frame-threads=1:keyint={group}:info=0"
        lossless = "" if video.crf else ":lossless=1"
        return common | {
            "crf": video.crf,
            "preset": "medium",
            "tag:v": "hvc1",
            "x265-params": fixed + lossless,
        }
    if video.has_alpha:
        return _alpha_options(video, group)
    tag = {"tag:v": "hvc1"} if video.codec.startswith("hevc") else {}
    # nvenc takes a quality of 0 to mean that it may choose one.
    quality = {"rc": "vbr", "cq": video.crf, "b:v": 0} if video.crf else {"tune": "lossless"}
    return common | {"preset": "p5"} | quality | tag


def _alpha_options(video: VideoFormat, group: int) -> dict[str, Any]:
    if video.codec == "prores_ks":
        return {"vcodec": video.codec, "profile:v": "4444", "vendor": "apl0", "alpha_bits": 16}
    quality = {"crf": round(video.crf * 63 / 51), "b:v": 0} if video.crf else {"lossless": 1}
    fixed = {"threads": ENCODER_THREADS, "row-mt": 0, "auto-alt-ref": 0, "cpu-used": 2}
    return {"vcodec": video.codec, "g": group, **quality, **fixed}


def _at_rate(frames: Iterator[av.VideoFrame], rate: Fraction) -> Iterator[av.VideoFrame]:
    """Yield at each tick of the rate the frame on screen at that time."""
    first_s: float | None = None
    shown_frame: av.VideoFrame | None = None
    tick = 0
    last_s = step_s = 0.0
    for frame in frames:
        time_s = frame.time if frame.time is not None else last_s + step_s
        first_s = time_s if first_s is None else first_s
        while shown_frame is not None and tick / rate < time_s - first_s - 1e-6:
            yield shown_frame
            tick += 1
        step_s = max(time_s - last_s, 0.0) if shown_frame is not None else step_s
        last_s, shown_frame = time_s, frame
    while shown_frame is not None and first_s is not None and tick / rate < last_s + step_s - first_s - 1e-6:
        yield shown_frame
        tick += 1


def _upright(frame: av.VideoFrame) -> Bytes:
    pixels = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
