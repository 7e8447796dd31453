"""Writes one page that shows every row of a plan before it is rendered: picture, length and time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from hallo_cli.batch.batch_events import RowPlanned
from hallo_cli.batch.pages import fill, inline, jpeg
from hallo_cli.errors import HalloError
from hallo_cli.media.addresses import is_address

if TYPE_CHECKING:
    from hallo_cli.jobs.still import Still

MAX_PICTURES = 500  # the page grows by about 40 kB for each
WIDTH = 560  # pixels of a picture
Draw = Callable[[RowPlanned], "Still | None"]  # what the row would make; None: it has no picture

STATES = {
    "ready": "to be rendered",
    "waiting": "to be rendered in parts",
    "skipped": "done before",
    "left out": "failed before",
    "invalid": "cannot be rendered",
}


@dataclass(frozen=True)
class Picture:
    """A row's picture and its outlook, or the reason why it cannot be drawn; empty: it has none."""

    address: str = ""
    outlook: str = ""
    reasons: tuple[str, ...] = ()
    problem: str = ""


def write_sheet(
    path: Path, rows: Iterable[RowPlanned], draw: Draw, *, title: str, lines: Sequence[str] = ()
) -> int:
    """Write the page row by row, `lines` above them; returns how many rows have a picture.

    Raises OutputError.
    """
    n_pictures = 0

    def pictured() -> Iterator[tuple[RowPlanned, Picture]]:
        nonlocal n_pictures
        for row in rows:
            picture = _picture(row, draw) if n_pictures < MAX_PICTURES else Picture()
            n_pictures += bool(picture.address)
            yield row, picture

    values = {"title": title, "lines": lines, "rows": pictured(), "states": STATES}
    fill("sheet.html", path, {**values, "named": _named, "said": _said})
    return n_pictures


def _said(audio: str) -> str:
    """What is heard in a row: files without their folders, or the text."""
    return " ".join(map(_named, re.split(r" (?=[1-9][0-9]?=)", audio)))


def _named(file: str) -> str:
    """A file or an address without its folders, behind the face that says it; a text as it is."""
    face, path = re.match(r"((?:[1-9][0-9]?=)?)(.*)", file, re.S).groups()  # type: ignore[union-attr]
    is_file = path.startswith("/") or is_address(path)
    return f"{face}{Path(path).name}" if is_file else file


def _picture(row: RowPlanned, draw: Draw) -> Picture:
    try:
        still = None if row.message else draw(row)
    except HalloError as error:
        return Picture(problem=str(error))
    if still is None:
        return Picture()
    small = Image.fromarray(still.panels)
    small.thumbnail((WIDTH, WIDTH))
    return Picture(inline("image/jpeg", jpeg(small, quality=82)), still.outlook, tuple(still.reasons))
