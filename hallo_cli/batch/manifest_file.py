"""Reads manifests, CSV or JSON Lines, one row at a time; what a row means is decided in rows.py.

A problem with one line makes a BadRow and the others continue; a problem with the whole file raises.
"""

import csv
import itertools
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hallo_cli.batch.columns import is_column, missing_columns, plain_number, require_columns
from hallo_cli.batch.lines import read_lines
from hallo_cli.batch.places import Layout
from hallo_cli.batch.rows import BadRow, Row, make_row
from hallo_cli.errors import ManifestError

_DELIMITERS = (",", ";", "\t")  # spreadsheets of many languages save CSV with semicolons
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # Excel's own first line
_MAX_LINES_OF_CELL = 100
_Lines = Iterator[tuple[int, str]]


def read_manifest(path: Path, layout: Layout) -> Iterator[Row | BadRow]:
    """The rows of a CSV or JSON Lines file, in constant memory. Raises ManifestError."""
    try:
        with path.open("rb") as file:
            yield from read_rows(file, layout)
    except OSError as error:
        raise ManifestError(f"manifest {path} cannot be read: {error.strerror}.") from error


def read_rows(file: BinaryIO, layout: Layout) -> Iterator[Row | BadRow]:
    """The rows of an open manifest: JSON Lines if it starts with a brace, else CSV with a header."""
    lines = read_lines(file)
    number, first = _first(lines)
    if first.lstrip().startswith("["):
        raise ManifestError("the manifest is one JSON array; write one JSON object a line (JSON Lines).")
    if first.lstrip().startswith("{"):
        yield from _json_rows(itertools.chain([(number, first)], lines), layout)
    elif separator := _SEPARATOR_LINE.fullmatch(first.strip(" ")):
        yield from _csv_rows(_first(lines)[1], lines, layout, delimiter=separator[1])
    else:
        yield from _csv_rows(first, lines, layout)


def _first(lines: _Lines) -> tuple[int, str]:
    """The first line that is not blank."""
    for number, line in lines:
        if line.strip():
            return number, line
    raise ManifestError(
        "the manifest is empty; its first line must name the columns, as in 'portrait,audio'."
    )


def _json_rows(lines: Iterable[tuple[int, str]], layout: Layout) -> Iterator[Row | BadRow]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            cells = json.loads(line, parse_constant=_refuse_constant, object_pairs_hook=_without_repeats)
        except (ValueError, RecursionError) as error:
            yield BadRow(number, f"row-{number}", f"this line is not JSON: {error}.")
            continue
        if isinstance(cells, dict):
            yield make_row(number, {layout.column(name): value for name, value in cells.items()}, layout)
        else:
            yield BadRow(number, f"row-{number}", "this line is not a JSON object with portrait and audio.")


def _csv_rows(
    first: str, lines: _Lines, layout: Layout, *, delimiter: str | None = None
) -> Iterator[Row | BadRow]:
    delimiter = delimiter or next((d for d in _DELIMITERS if _has_required(first, d, layout)), ",")
    try:
        table = _Table(delimiter, [layout.column(name) for name in _cells(first, delimiter)])
    except csv.Error as error:
        raise ManifestError(f"the manifest's first line is not CSV: {error}; check its quotes.") from error
    _check_header(table.header, layout)
    for number, cells in _records(lines, table):
        if isinstance(cells, csv.Error):
            yield BadRow(number, f"row-{number}", f"this line is not CSV: {cells}; check its quotes.")
        elif any(cells[len(table.header) :]):
            message = f"{len(cells)} cells for {len(table.header)} columns; put quotes around cells with a "
            yield BadRow(number, f"row-{number}", f"{message}{delimiter!r}.")
        elif any(cells):
            yield make_row(number, table.named(cells), layout)


@dataclass(frozen=True)
class _Table:
    delimiter: str
    header: list[str]

    def named(self, cells: list[str]) -> dict[str, object]:
        """The cells by column, numbers with a decimal point."""
        has_decimal_commas = self.delimiter != ","
        named = zip(self.header, cells, strict=False)
        return {name: plain_number(name, cell, has_decimal_commas=has_decimal_commas) for name, cell in named}

    def may_span_lines(self, cells: list[str]) -> bool:
        """Whether only the user's own columns hold line breaks."""
        if len(cells) != len(self.header):
            return False
        named = zip(self.header, cells, strict=True)
        return not any("\n" in cell for name, cell in named if is_column(name))


def _records(lines: _Lines, table: _Table) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """The cells of each row, or its error, with the number of its first line.

    An open quote ends with its line, so that it cannot take in other rows. Exception: a later line closes it
    in a column of the user's own, since people put line breaks into notes.
    """
    waiting: deque[tuple[int, str]] = deque()
    while (taken := waiting.popleft() if waiting else next(lines, None)) is not None:
        number, line = taken
        try:
            yield number, _cells(line, table.delimiter)
            continue
        except csv.Error as error:
            problem = error
        following = list(_until_closed(line, waiting, lines))
        joined = "\n".join([line, *(text for _, text in following)])
        try:
            cells = _cells(joined, table.delimiter)
        except csv.Error:
            cells = []
        if table.may_span_lines(cells):
            yield number, cells
        else:
            waiting.extendleft(reversed(following))
            yield number, problem


def _until_closed(line: str, waiting: deque[tuple[int, str]], lines: _Lines) -> _Lines:
    """Take the lines that follow, to the one whose quote closes the open one."""
    if line.count('"') % 2 == 0:
        return
    for _ in range(_MAX_LINES_OF_CELL):
        taken = waiting.popleft() if waiting else next(lines, None)
        if taken is None:
            return
        yield taken
        if taken[1].count('"') % 2:
            return


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells without the blanks around them."""
    read = csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True)
    return [cell.strip() for cell in next(read, [])]


def _check_header(header: list[str], layout: Layout) -> None:
    named = [name for name in header if name]
    repeated = sorted({name for name in named if named.count(name) > 1})
    if repeated:
        raise ManifestError(f"the manifest's header names {repeated[0]!r} twice.")
    require_columns([name for name in named if not layout.is_own(name)], where="the manifest's header")
    missing = missing_columns(named)
    if missing:
        raise ManifestError(
            f"the manifest's header lacks {' and '.join(missing)}; its first line must name the columns, "
            "as in 'portrait,audio'."
        )


def _has_required(header: str, delimiter: str, layout: Layout) -> bool:
    names = {layout.column(name.strip().strip('"')) for name in header.split(delimiter)}
    return not missing_columns(names)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object in which no name occurs twice, ignoring case."""
    names = [name.strip().lower() for name, _ in pairs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{repeated[0]!r} is given twice")
    return dict(pairs)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
