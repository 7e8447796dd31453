"""The picture in the README: a loop of what `hallo demo` renders.

`hallo demo -o demo.mp4 && python -m hallo_cli.workshop.demo_picture demo.mp4`
"""

from __future__ import annotations

import argparse
import io
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from hallo_cli.domain import Bytes
from hallo_cli.media.video import read_frames
from hallo_cli.store.writing import write_whole

TARGET = Path(__file__).parents[1] / "docs" / "demo.webp"
SIDE = 320  # pixels
EVERY = 2  # frames of the video for one of the loop
SECONDS = 3.0
FPS = 25.0
QUALITY = 55


def loop(video: Path) -> bytes:
    """The video's first seconds as an animated WebP file."""
    frames = islice(read_frames(video), 0, int(SECONDS * FPS), EVERY)
    first, *others = [Image.fromarray(_small(frame)) for frame in frames]
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=round(1000 * EVERY / FPS),
        loop=0,
        quality=QUALITY,
        method=6,
    )
    return buffer.getvalue()


def main() -> None:
    """Write the loop of a video that was rendered before."""
    parser = argparse.ArgumentParser(description="Make the README's picture from the demo's video.")
    parser.add_argument("video", type=Path)
    parser.add_argument("output", nargs="?", type=Path, default=TARGET)
    arguments = parser.parse_args()
    write_whole(arguments.output, loop(arguments.video))


def _small(frame: Bytes) -> Bytes:
    return np.asarray(cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    main()
