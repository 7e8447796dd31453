"""Small pictures and videos of finished rows, made to be embedded in a page."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

from hallo_cli.batch.pages import jpeg
from hallo_cli.errors import InputError
from hallo_cli.media.files import require_file
from hallo_cli.media.probe import open_media

WIDTH = 240  # pixels
SECONDS = 3.0
FPS = 12
_JPEG_QUALITY = 70
_VIDEO_OPTIONS = {"crf": "32", "preset": "veryfast", "tune": "stillimage"}


def poster(video: Path) -> bytes:
    """A JPEG of the middle of the preview. Raises InputError or OSError if the video cannot be read."""
    pictures = list(itertools.islice(_pictures(video), int(SECONDS * FPS)))
    if not pictures:
        raise OSError(f"{video} holds no frames")
    return jpeg(pictures[len(pictures) // 2], _JPEG_QUALITY)


def preview(video: Path) -> bytes:
    """The first seconds with sound, as a small MP4. Raises OSError if the video cannot be read."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as target:
        pictures = _pictures(video)
        first = next(pictures, None)
        if first is None:
            raise OSError(f"{video} holds no frames")
        stream = target.add_stream("libx264", rate=FPS, options=_VIDEO_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = *first.size, "yuv420p"
        sound = target.add_stream("aac", rate=22_050, layout="mono")
        sound.bit_rate = 32_000
        for picture in itertools.islice(itertools.chain([first], pictures), int(SECONDS * FPS)):
            target.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
        target.mux(stream.encode(None))
        for frame in _sound(video):
            target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
    return buffer.getvalue()


def _pictures(video: Path) -> Iterator[Image.Image]:
    """Small pictures at the preview's rate; sides are even, as encoders ask."""
    with open_media(require_file(video, InputError, "video")) as source:
        stream = source.streams.video[0]
        height = max(2, round(WIDTH * stream.height / max(1, stream.width) / 2) * 2)
        due = 0.0
        for frame in source.decode(stream):
            if frame.time is None or frame.time + 1e-6 >= due:
                due += 1 / FPS
                small = frame.reformat(width=WIDTH, height=height, format="rgb24")
                yield Image.fromarray(small.to_ndarray())


def _sound(video: Path) -> Iterator[av.AudioFrame]:
    with open_media(require_file(video, InputError, "video")) as source:
        if not source.streams.audio:
            return
        resampler = av.AudioResampler("fltp", "mono", 22_050)
        for frame in source.decode(source.streams.audio[0]):
            if frame.time is not None and frame.time >= SECONDS:
                return
            frame.pts = None
            yield from resampler.resample(frame)
