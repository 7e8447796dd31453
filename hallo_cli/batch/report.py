"""Writes the results of a batch as one self-contained page and as a table."""

import base64
import csv
import hashlib
import io
import logging
import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from markupsafe import Markup

from hallo_cli.batch.columns import TEXT, face_of
from hallo_cli.batch.curve_files import read_curves
from hallo_cli.batch.ledger import Record, stored_path
from hallo_cli.batch.pages import fill, inline
from hallo_cli.batch.preview import poster, preview
from hallo_cli.batch.rows import BadRow, Row
from hallo_cli.batch.states import STATES, Counts
from hallo_cli.errors import InputError, OutputError, printable
from hallo_cli.evaluation.plots import plots
from hallo_cli.media.addresses import bare_address
from hallo_cli.settings.quality import LOW_IS_BAD, QualityLimits
from hallo_cli.store.writing import replacing

_NUMBERS = ("seconds", "compute_s", "attempts")
COLUMNS = ("row", "id", "status", "output", "frames", *_NUMBERS, "seed", "worker", "error", "message",
           "objections", "sha256", "finished")  # fmt: skip
ASKED = ("portrait", "recording", "settings")
_UNREADABLE = (OSError, ValueError, RuntimeError, InputError)  # av's errors derive from these
# Characters that start a formula in spreadsheets, also in full width, after characters that they skip.
_FORMULA = re.compile(r"(^|;)([\s'\"\u200c\u200d]*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212])")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """What one row asks for, as people read it."""

    portrait: str = ""
    recording: str = ""  # its file, or the text that is spoken
    settings: str = ""  # as in "preset=still steps=4"; empty: those of all rows


@dataclass(frozen=True)
class ReportOptions:
    """What goes into the page."""

    title: str
    folder: Path  # of the ledger, which outputs are named relative to
    counts: Counts
    max_previews: int = 200  # the page grows by about 80 kB for each
    asked: Mapping[str, Asked] = field(default_factory=dict)  # by id: what the manifest says now
    run: str = ""  # the settings of all rows, as people read them
    curves: Path | None = None  # the folder of the videos' curves


def read_asked(
    rows: Iterable[Row | BadRow], known: Iterable[Record], ledger: Path
) -> tuple[list[Record], dict[str, Asked]]:
    """The records in the manifest's order, with one of status "pending" for each row that has none yet.

    And what the rows ask for, by id. Raises ManifestError if the manifest cannot be read.
    """
    records = {record.id: record for record in known}
    asked: dict[str, Asked] = {}
    for row in rows:
        output = stored_path(Path(row.output), ledger) if row.output else ""
        records.setdefault(row.id, Record(row.id, row.number, "pending", output, own=row.own))
        if isinstance(row, Row):
            asked[row.id] = _asked(row)
    return sorted(records.values(), key=lambda record: record.row), asked


def _asked(row: Row) -> Asked:
    settings: Mapping[str, object] = {
        **({"preset": row.preset} if row.preset else {}),
        **row.settings,
        **{name: bare_address(address) for name, address in row.far.items() if name in row.settings},
    }
    shown = row.shown
    heard = " ".join(f"{face_of(name)}={Path(shown[name]).name}" for name in row.voices) or shown["audio"]
    texts = " ".join(f"{key}={value}" for key, value in settings.items())
    return Asked(shown["portrait"], row.own.get(TEXT, heard), texts)


def write_page(path: Path, records: Iterable[Record], options: ReportOptions) -> None:
    """Write the page row by row, with the figures that the gate judges. Raises OutputError."""
    records = list(records)
    statuses = Counter(record.status for record in records)
    measured = {name for record in records for name in record.quality}
    values = {
        "title": options.title,
        "counts": options.counts,
        "run": options.run,
        "video_s": sum(record.seconds for record in records),
        "compute_s": sum(record.compute_s for record in records),
        "statuses": [(status, statuses[status]) for status in STATES if statuses[status]],
        "asked": ASKED,
        "numbers": _NUMBERS,
        "figures": [limit.name for limit in fields(QualityLimits) if limit.name in measured],
        "own": _own_columns(records),
        "rows": _rows(records, options, path.parent),
    }
    functions = {"digest": _digest, "short": _short, "limits": _limits, "shown_number": shown_number}
    fill("report.html", path, {**values, **functions})


def table_beside(page: Path) -> Path:
    """The table's path, beside its page. Raises OutputError if the two would replace a file of the user's."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"the page {str(page)!r} must end in .html.")
    table = page.with_suffix(".csv")
    if table.is_file() and not table.is_symlink():
        with table.open("rb") as file:
            head = file.read(100)
        if head and not head.startswith(",".join(COLUMNS[:4]).encode()):
            raise OutputError(
                f"the report's table would replace {str(table)!r}, which is no report. "
                "Give another name with -o."
            )
    return table


def write_table(path: Path, records: Iterable[Record], asked: Mapping[str, Asked] | None = None) -> None:
    """Write a CSV of the same rows, with one column for each figure. Raises OutputError."""
    records = list(records)
    figures = sorted({name for record in records for name in record.quality})
    own = _own_columns(records)

    with replacing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow([*COLUMNS, *ASKED, *map(harmless, (*figures, *own))])
        for record in records:
            cells = [getattr(record, name) for name in COLUMNS]
            cells = ["; ".join(cell) if isinstance(cell, tuple) else cell for cell in cells]
            cells += [getattr((asked or {}).get(record.id, Asked()), name) for name in ASKED]
            measured = [record.quality.get(name, "") for name in figures]
            kept = [harmless(record.own.get(name, "")) for name in own]
            writer.writerow([*map(harmless, cells), *measured, *kept])
        text.detach()  # the file is closed by who opened it


def _own_columns(records: Iterable[Record]) -> list[str]:
    """The user's own columns, in the order in which the manifest has them."""
    return list(dict.fromkeys(name for record in records for name in record.own))


def harmless(cell: object) -> object:
    """A cell that no spreadsheet reads as a formula, even if it splits the cell at semicolons."""
    return _FORMULA.sub(r"\1'\2", printable(cell)) if isinstance(cell, str) else cell


def _rows(records: Iterable[Record], options: ReportOptions, folder: Path) -> Iterator[dict[str, object]]:
    """What the template shows of each record; `folder` is where the page lies."""
    n_media = 0
    for record in records:
        has_media = record.is_rendered and n_media < options.max_previews
        n_media += has_media
        video = options.folder / record.output
        yield {
            "record": record,
            "asked": options.asked.get(record.id, Asked()),
            "said": record.message or "; ".join(record.objections),
            "address": _address(video, folder),
            "has_media": has_media,
            **(_media(video) if has_media else {"poster": "", "moving": ""}),
            "plots": _plots(options.curves, record) if has_media else "",
        }


def _address(video: Path, folder: Path) -> str:
    """The video's address from a page in `folder`: always a relative path, whatever a ledger says."""
    path = os.path.relpath(video.absolute(), folder.absolute())
    return "./" + urllib.parse.quote(os.fsencode(path))


def _media(video: Path) -> dict[str, str]:
    """The video's poster, and its preview; empty where the file is gone."""
    try:
        return {"poster": inline("image/jpeg", poster(video)), "moving": inline("video/mp4", preview(video))}
    except _UNREADABLE as error:
        _log.warning("%s: no preview: %s", video, error)
        return {"poster": "", "moving": ""}


def _plots(folder: Path | None, record: Record) -> Markup:
    """The plots of a video that was measured, which the page shows beside its larger player."""
    curves = read_curves(folder, record.sha256) if folder else None
    return Markup(plots(curves) if curves else "")  # noqa: S704 - plots escapes its words


def _digest(text: str) -> str:
    """A style or script as the page's content policy names it, which allows no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _short(text: str) -> str:
    """A file's name without its folders; another text as it is."""
    return Path(text).name if text.startswith("/") else text


def _limits(record: Record, name: str) -> str:
    """As in "warns below 0.25, fails below 0": what a figure was judged by; empty if no figure was."""
    if not record.limits:
        return ""
    limit = record.limits.get(name)
    word = "below" if name in LOW_IS_BAD else "from"
    return "not judged" if limit is None else f"warns {word} {limit[0]:g}, fails {word} {limit[1]:g}"


def shown_number(value: float) -> str:
    """A number in a few digits, never with a power of ten."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
