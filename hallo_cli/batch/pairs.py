"""Pairs the pictures of one folder with the recordings of another, in place of a manifest."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from hallo_cli.batch.rows import BadRow, Layout, Row, make_row
from hallo_cli.errors import ManifestError

_PICTURES = ("avif", "bmp", "gif", "heic", "jfif", "jpeg", "jpg", "png", "tif", "tiff", "webp")
_RECORDINGS = (
    *("aac", "aif", "aiff", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav", "wma"),
    *("mkv", "mov", "mp4", "webm"),
)
_Pairs = Iterator[tuple[Path, Path]]


def pair_folders(portraits: Path, audios: Path, how: str, layout: Layout) -> Iterator[Row | BadRow]:
    """Rows by `how`: cross (each with each), zip (in order) or stem (same name). Raises ManifestError."""
    pictures = _files(portraits, _PICTURES, "pictures")
    recordings = _files(audios, _RECORDINGS, "recordings")
    for number, (portrait, audio) in enumerate(_PAIRINGS[how](pictures, recordings), 1):
        yield make_row(number, {"portrait": str(portrait), "audio": str(audio)}, layout)


def _files(folder: Path, suffixes: tuple[str, ...], what: str) -> list[Path]:
    """The fitting files of a folder by name, hidden ones left out."""
    try:
        files = sorted(path.absolute() for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ManifestError(f"folder {folder} cannot be read: {error.strerror}.") from error
    found = [path for path in files if path.suffix.lower()[1:] in suffixes]
    if not found:
        raise ManifestError(f"folder {folder} holds no {what} ({', '.join(suffixes)}).")
    return found


def _cross(pictures: list[Path], recordings: list[Path]) -> _Pairs:
    return itertools.product(pictures, recordings)


def _zip(pictures: list[Path], recordings: list[Path]) -> _Pairs:
    if len(pictures) != len(recordings):
        raise ManifestError(
            f"{len(pictures)} pictures and {len(recordings)} recordings cannot be zipped; "
            "make them as many, or use --pair cross or stem."
        )
    return iter(zip(pictures, recordings, strict=True))


def _stem(pictures: list[Path], recordings: list[Path]) -> _Pairs:
    by_stem = {path.stem: path for path in recordings}
    pairs = [(path, by_stem[path.stem]) for path in pictures if path.stem in by_stem]
    if not pairs:
        raise ManifestError("no picture and recording share a name; use --pair cross or zip.")
    return iter(pairs)


_PAIRINGS: dict[str, Callable[[list[Path], list[Path]], _Pairs]] = {
    "cross": _cross,
    "zip": _zip,
    "stem": _stem,
}
