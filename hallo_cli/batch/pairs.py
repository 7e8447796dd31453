"""Pairs the pictures of one folder with the recordings of another, in place of a manifest.

No file is left out silently: one that finds no partner is a bad row.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from hallo_cli.batch.places import Layout
from hallo_cli.batch.rows import BadRow, Row, make_row
from hallo_cli.batch.spelling import same_name
from hallo_cli.errors import ManifestError, printable

_PICTURES = ("avif", "bmp", "gif", "heic", "jfif", "jpeg", "jpg", "png", "tif", "tiff", "webp")
_RECORDINGS = (
    *("aac", "aif", "aiff", "amr", "caf", "flac", "m4a", "mp3", "oga", "ogg", "opus", "wav", "wma"),
    *("3gp", "mkv", "mov", "mp4", "webm"),
)
_Alone = tuple[Path, str]  # a file without a partner, and why
_Pairs = Iterator[tuple[Path, Path] | _Alone]
_log = logging.getLogger(__name__)


def pair_folders(
    portraits: Path, audios: Path, how: str, layout: Layout, *, may_be_alone: bool = False
) -> Iterator[Row | BadRow]:
    """Rows by `how`: cross (each with each), zip (in order) or stem (same name).

    Files without a partner are bad rows, or warnings if they are allowed. Raises ManifestError.
    """
    pictures = _files(portraits, _PICTURES, "pictures")
    recordings = _files(audios, _RECORDINGS, "recordings")
    numbers = itertools.count(1)
    for first, second in _PAIRINGS[how](pictures, recordings):
        if isinstance(second, Path):
            yield make_row(next(numbers), {"portrait": str(first), "audio": str(second)}, layout)
        elif may_be_alone:
            _log.warning("%s is left out: %s", first, second)
        else:
            yield _bad_row(next(numbers), first, second)


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


def _bad_row(number: int, file: Path, why: str) -> BadRow:
    advice = "Add its partner, or leave such files out with --allow-unmatched."
    return BadRow(number, f"row-{number}", f"{printable(file)}: {why}. {advice}")


def _zip(pictures: list[Path], recordings: list[Path]) -> _Pairs:
    if len(pictures) != len(recordings):
        raise ManifestError(
            f"{len(pictures)} pictures and {len(recordings)} recordings cannot be paired in order; "
            "give as many of both, or use --pair cross or stem."
        )
    return iter(zip(pictures, recordings, strict=True))


def _stem(pictures: list[Path], recordings: list[Path]) -> _Pairs:
    by_stem = [_by_stem(files) for files in (pictures, recordings)]
    if not by_stem[0].keys() & by_stem[1].keys():
        raise ManifestError("no picture and recording share a name; use --pair cross or zip.")
    return itertools.chain.from_iterable(
        _same_stem(*(files.get(stem, []) for files in by_stem))
        for stem in sorted({**by_stem[0], **by_stem[1]})
    )


def _by_stem(files: list[Path]) -> dict[str, list[Path]]:
    """The files by name without suffix, in normalised Unicode."""
    found: dict[str, list[Path]] = {}
    for file in files:
        found.setdefault(same_name(file.stem), []).append(file)
    return found


def _same_stem(pictures: list[Path], recordings: list[Path]) -> _Pairs:
    """The one pair of a name, or each file of it with the reason why it has no partner."""
    if len(pictures) == len(recordings) == 1:
        yield pictures[0], recordings[0]
        return
    for file in (*pictures, *recordings):
        others, what = (recordings, "recording") if file in pictures else (pictures, "picture")
        several = " and ".join(other.name for other in (*pictures, *recordings) if other != file)
        yield file, f"no {what} has the same name" if not others else f"{several} have the same name"


_PAIRINGS: dict[str, Callable[[list[Path], list[Path]], _Pairs]] = {
    "cross": itertools.product,
    "zip": _zip,
    "stem": _stem,
}
