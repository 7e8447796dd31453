"""Where takes come from: videos, or the data set layout of Hallo's published preprocessing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.domain import Bytes
from hallo_cli.errors import InputError
from hallo_cli.media.image import read_image
from hallo_cli.media.video import read_frames
from hallo_cli.training.footage import FPS

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts")
PICTURES, SOUNDS, VOICES = "images", "audios", "vocals"  # folders of the published layout


@dataclass(frozen=True)
class Source:
    """One recording of somebody who talks."""

    name: str  # names its takes: the path below the folder
    pictures: Path  # a video, or a folder of numbered pictures at 25 a second
    sound: Path

    def frames(self) -> Iterator[Bytes]:
        """The frames at 25 a second, uint8 RGB [height, width, 3]. Raises InputError."""
        if not self.pictures.is_dir():
            yield from read_frames(self.pictures, fps=FPS)
            return
        files = sorted(self.pictures.glob("*.png"))
        if not files:
            raise InputError(f"{self.pictures} contains no PNG pictures")
        size: tuple[int, ...] | None = None
        for file in files:
            frame = read_image(file)
            if frame.shape != (size or frame.shape):
                raise InputError(f"{file} has another size than the pictures before it")
            size = frame.shape
            yield frame


def find_sources(folder: Path) -> list[Source]:
    """The videos below a folder, or the recordings of a published data set, in the order of their names.

    A published data set has `images/NAME/0001.png` and so on at 25 pictures a second, and `audios/NAME.wav`;
    `vocals/NAME.wav`, the separated voice, is preferred. Its masks and embeddings are not read: they are made
    again, and its .pt files could run code. Raises InputError if there is nothing.
    """
    if (folder / PICTURES).is_dir() and (folder / SOUNDS).is_dir():
        stems = sorted(path.name for path in (folder / PICTURES).iterdir() if path.is_dir())
        found = [Source(stem, folder / PICTURES / stem, _sound_of(folder, stem)) for stem in stems]
    else:
        files = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
        found = [Source(path.relative_to(folder).as_posix(), path, path) for path in sorted(files)]
    if not found:
        raise InputError(f"{folder} contains no videos ({', '.join(SUFFIXES)})")
    return found


def _sound_of(folder: Path, stem: str) -> Path:
    voice = folder / VOICES / f"{stem}.wav"
    return voice if voice.is_file() else folder / SOUNDS / f"{stem}.wav"
