"""Writes the results of a batch as one self-contained page and as a table; reads ledgers and videos only."""

import base64
import csv
import hashlib
import html
import logging
import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from hallo_cli.batch.asked import Asked
from hallo_cli.batch.curve_files import read_curves
from hallo_cli.batch.ledger import Record
from hallo_cli.batch.preview import poster, preview
from hallo_cli.batch.states import STATES, Counts
from hallo_cli.errors import InputError, OutputError
from hallo_cli.evaluation.plots import plots
from hallo_cli.printable import printable
from hallo_cli.settings.quality import LOW_IS_BAD, QualityLimits
from hallo_cli.store.writing import replacing

_PAGE = Path(__file__).with_name("report.html")
_NUMBERS = ("seconds", "compute_s", "attempts")
COLUMNS = ("row", "id", "status", "output", "frames", *_NUMBERS, "seed", "worker", "error", "message",
           "objections", "sha256", "finished")  # fmt: skip
ASKED = ("portrait", "recording", "settings")
_UNREADABLE = (OSError, ValueError, RuntimeError, InputError)  # av's errors derive from these
# Characters that start a formula in spreadsheets, also in full width, after characters that they skip.
_FORMULA = re.compile(r"(^|;)([\s'\"\u200c\u200d]*[=+\-@\uff1d\uff0b\uff0d\uff20\u2212])")
_MARKS = (
    '<div class="marks"><button type="button" class="chip" data-mark="approved">approve</button>'
    '<button type="button" class="chip" data-mark="rejected">reject</button></div>'
)
_log = logging.getLogger(__name__)


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


def write_page(path: Path, records: Iterable[Record], options: ReportOptions) -> None:
    """Write the page row by row, with the figures that the gate judges. Raises OutputError."""
    head, _, foot = _own_page().partition("<!--rows-->")
    records = list(records)
    statuses = Counter(record.status for record in records)
    measured = {name for record in records for name in record.quality}
    figures = [limit.name for limit in fields(QualityLimits) if limit.name in measured]
    own = _own_columns(records)
    head = head.replace("<!--title-->", _text(options.title))
    head = head.replace("<!--summary-->", _summary(records, options))
    head = head.replace("<!--chips-->", "".join(_chips(statuses, len(records))))
    columns = [f"<th data-number>{_words(name)}</th>" for name in figures]
    columns += [f"<th>{_text(name)}</th>" for name in own]
    head = head.replace("<!--figures-->", "".join(columns))

    def parts() -> Iterator[str]:
        yield head
        n_media = 0
        for record in records:
            has_media = record.is_rendered and n_media < options.max_previews
            n_media += has_media
            yield _row(record, (figures, own), options, folder=path.parent, has_media=has_media)
        yield foot

    _write(path, parts())


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

    class Lines(list[str]):
        write = list.append

    def parts() -> Iterator[str]:
        lines = Lines()
        writer = csv.writer(lines)
        writer.writerow([*COLUMNS, *ASKED, *map(harmless, (*figures, *own))])
        for record in records:
            cells = [getattr(record, name) for name in COLUMNS]
            cells = ["; ".join(cell) if isinstance(cell, tuple) else cell for cell in cells]
            measured = [record.quality.get(name, "") for name in figures]
            kept = [harmless(record.own.get(name, "")) for name in own]
            cells += [getattr((asked or {}).get(record.id, Asked()), name) for name in ASKED]
            writer.writerow([*map(harmless, cells), *measured, *kept])
            yield from lines
            lines.clear()

    _write(path, parts())


def _own_columns(records: Iterable[Record]) -> list[str]:
    """The user's own columns, in the order in which the manifest has them."""
    return list(dict.fromkeys(name for record in records for name in record.own))


def _write(path: Path, parts: Iterable[str]) -> None:
    with replacing(path) as file:
        for text in parts:
            file.write(text.encode())


def _own_page() -> str:
    """The page, with a content policy that allows only its own style and script."""
    page = _PAGE.read_text(encoding="utf-8")
    for kind in ("style", "script"):
        inline = page.partition(f"<{kind}>")[2].partition(f"</{kind}>")[0]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        page = page.replace(f"<!--{kind}-->", f"sha256-{digest}")
    return page


def harmless(cell: object) -> object:
    """A cell that no spreadsheet reads as a formula, even if it splits the cell at semicolons."""
    return _FORMULA.sub(r"\1'\2", printable(cell)) if isinstance(cell, str) else cell


def _summary(records: list[Record], options: ReportOptions) -> str:
    video_s = sum(record.seconds for record in records)
    compute_s = sum(record.compute_s for record in records)
    run = f"<br>Settings of all rows: {_text(options.run)}." if options.run else ""
    return f"{options.counts}. {video_s:,.1f} s of video in {compute_s:,.1f} s of compute.{run}"


def _chips(counts: Counter[str], total: int) -> Iterator[str]:
    yield f'<button type="button" class="chip on" data-status="">all {total}</button>'
    for status in STATES:
        if counts[status]:
            yield (
                f'<button type="button" class="chip {status}" data-status="{status}">'
                f"{status} {counts[status]}</button>"
            )


def _row(
    record: Record,
    columns: tuple[list[str], list[str]],
    options: ReportOptions,
    *,
    folder: Path,
    has_media: bool,
) -> str:
    """One row; `columns` are its figures and the user's own, `folder` is where the page lies."""
    figures, own = columns
    video = options.folder / record.output
    media = _media(video) + _plots(options.curves, record) if has_media else ""
    asked = options.asked.get(record.id, Asked())
    said = record.message or "; ".join(record.objections)
    cells = [
        ("preview", media + (_MARKS if record.is_rendered else ""), ""),
        ("row", str(record.row), str(record.row)),
        ("id", _text(record.id), ""),
        ("status", f'<span class="chip {_text(record.status)}">{_text(record.status)}</span>', ""),
        ("message", f'<div class="said">{_text(said)}</div>' if said else "", ""),
        *((name, _text(_short(getattr(asked, name))), "") for name in ASKED),
        *((name.replace("_s", " s"), *_number(getattr(record, name) or None)) for name in _NUMBERS),
        *((_words(name), *_figure(record, name)) for name in figures),
        *((_text(name), _text(record.own.get(name, "")), "") for name in own),
    ]
    marked = (
        f' data-id="{_text(record.id)}" data-sha256="{_text(record.sha256)}" '
        f'data-video="{_text(_address(video, folder))}"'
        if record.is_rendered
        else ""
    )
    return (
        f'<tr data-status="{_text(record.status)}"{marked}>'
        + "".join(
            f'<td data-label="{label}"{f" data-value={chr(34)}{value}{chr(34)}" if value else ""}>{body}</td>'
            for label, body, value in cells
        )
        + "</tr>\n"
    )


def _address(video: Path, folder: Path) -> str:
    """The video's address from a page in `folder`: always a relative path, whatever a ledger says."""
    path = os.path.relpath(video.absolute(), folder.absolute())
    return "./" + urllib.parse.quote(os.fsencode(path))


def _short(text: str) -> str:
    """A file's name without its folders; another text as it is."""
    return Path(text).name if text.startswith("/") else text


def _figure(record: Record, name: str) -> tuple[str, str]:
    """A figure with its limits, and the value to sort by."""
    shown, value = _number(record.quality.get(name))
    if shown and record.limits:
        limit = record.limits.get(name)
        said = "not judged" if limit is None else _limits(name, limit)
        shown += f'<div class="limit">{_text(said)}</div>'
    return shown, value


def _limits(name: str, limit: tuple[float, float]) -> str:
    """As in "warns below 0.25, fails below 0": the text for a figure's limits."""
    word = "below" if name in LOW_IS_BAD else "from"
    return f"warns {word} {limit[0]:g}, fails {word} {limit[1]:g}"


def _number(value: float | None) -> tuple[str, str]:
    """The text to show and the value to sort by."""
    if value is None:
        return "", ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}", repr(value)


def _words(name: str) -> str:
    return _text(name.replace("_", " "))


def _text(foreign: object) -> str:
    """A ledger's text, escaped for the page."""
    return html.escape(printable(foreign))


def _media(video: Path) -> str:
    """The video's poster with its preview behind it; nothing where the file is gone."""
    try:
        image, moving = _inline("image/jpeg", poster, video), _inline("video/mp4", preview, video)
    except _UNREADABLE as error:
        _log.warning("%s: no preview: %s", video, error)
        return '<span class="gone">video not readable</span>'
    return f'<video controls preload="none" playsinline poster="{image}" src="{moving}"></video>'


def _plots(folder: Path | None, record: Record) -> str:
    """The plots of a video that was measured, which the page shows beside its larger player."""
    curves = read_curves(folder, record.sha256) if folder else None
    return f'<div class="plots" hidden>{plots(curves)}</div>' if curves else ""


def _inline(kind: str, make: Callable[[Path], bytes], video: Path) -> str:
    return f"data:{kind};base64,{base64.b64encode(make(video)).decode()}"
