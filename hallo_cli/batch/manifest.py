"""Reads manifests, CSV or JSON Lines, one row at a time; what a row means is rows.py's business.

Trouble that belongs to one line makes a BadRow and the others go on; trouble with the whole file raises.
"""

import codecs
import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from hallo_cli.batch.rows import REQUIRED, BadRow, Layout, Row, columns, make_row
from hallo_cli.errors import ManifestError, SettingsError
from hallo_cli.settings.schema import require_known

_MAX_LINE_BYTES = 1 << 20
_DELIMITERS = (",", ";", "\t")  # spreadsheets of many languages save CSV with semicolons


def read_manifest(path: Path, layout: Layout) -> Iterator[Row | BadRow]:
    """The rows of a CSV or JSON Lines file, in constant memory. Raises ManifestError."""
    try:
        with path.open("rb") as file:
            yield from read_rows(file, layout)
    except OSError as error:
        raise ManifestError(f"manifest {path} cannot be read: {error.strerror}.") from error


def read_rows(file: BinaryIO, layout: Layout) -> Iterator[Row | BadRow]:
    """The rows of an open manifest: JSON Lines if it starts with a brace, else CSV with a header."""
    lines = _lines(file)
    number, first = next(((n, line) for n, line in lines if line.strip()), (0, ""))
    if not first:
        raise ManifestError(
            "the manifest is empty; its first line must name the columns, as in 'portrait,audio'."
        )
    if first.lstrip().startswith("["):
        raise ManifestError("the manifest is one JSON array; write one JSON object a line (JSON Lines).")
    if first.lstrip().startswith("{"):
        yield from _json_rows(_chain(number, first, lines), layout)
    else:
        yield from _csv_rows(first, lines, layout)


def _json_rows(lines: Iterable[tuple[int, str]], layout: Layout) -> Iterator[Row | BadRow]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            cells = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            yield BadRow(number, f"row-{number}", f"this line is not JSON: {error}.")
            continue
        if isinstance(cells, dict):
            yield make_row(number, {_column(name): value for name, value in cells.items()}, layout)
        else:
            yield BadRow(number, f"row-{number}", "this line is not a JSON object with portrait and audio.")


def _csv_rows(first: str, lines: Iterable[tuple[int, str]], layout: Layout) -> Iterator[Row | BadRow]:
    try:
        delimiter = next((d for d in _DELIMITERS if _has_required(first, d)), ",")
        header = [_column(name) for name in _cells(first, delimiter)]
    except csv.Error as error:
        raise ManifestError(f"the manifest's first line is not CSV: {error}; check its quotes.") from error
    _check_header(header)
    for number, line in lines:
        try:
            cells = _cells(line, delimiter)
        except csv.Error as error:
            yield BadRow(number, f"row-{number}", f"this line is not CSV: {error}; check its quotes.")
            continue
        if any(cells[len(header) :]):
            message = f"{len(cells)} cells for {len(header)} columns; put quotes around cells with a "
            yield BadRow(number, f"row-{number}", f"{message}{delimiter!r}.")
        elif any(cells):
            yield make_row(number, dict(zip(header, cells, strict=False)), layout)


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of one line; a quote left open ends with its line, so that it cannot swallow other rows."""
    return next(csv.reader([line], delimiter=delimiter, strict=True), [])


def _check_header(header: list[str]) -> None:
    named = [name for name in header if name]
    repeated = sorted({name for name in named if named.count(name) > 1})
    if repeated:
        raise ManifestError(f"the manifest's header names {repeated[0]!r} twice.")
    try:
        require_known(named, columns(), where="the manifest's header")
    except SettingsError as error:
        raise ManifestError(str(error).replace("setting", "column", 1)) from error
    missing = [name for name in REQUIRED if name not in named]
    if missing:
        raise ManifestError(
            f"the manifest's header lacks {' and '.join(missing)}; its first line must name the columns, "
            "as in 'portrait,audio'."
        )


def _has_required(header: str, delimiter: str) -> bool:
    names = {_column(name.strip('"')) for name in header.strip().split(delimiter)}
    return names.issuperset(REQUIRED)


def _column(name: str) -> str:
    return name.strip().removeprefix("--").replace("-", "_")


def _lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Numbered lines as text; lines and memory are bounded. Raises ManifestError."""
    number = 0
    while raw := file.readline(_MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > _MAX_LINE_BYTES:
            raise ManifestError(f"line {number} of the manifest is longer than 1 MiB; is it a manifest?")
        if number == 1:
            if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                raise ManifestError("the manifest is UTF-16; save it as UTF-8.")
            raw = raw.removeprefix(codecs.BOM_UTF8)
        if b"\x00" in raw:
            raise ManifestError(f"line {number} of the manifest holds a zero byte; is it a text file?")
        try:
            yield number, raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ManifestError(f"line {number} of the manifest is not UTF-8; save it as UTF-8.") from error


def _chain(number: int, first: str, rest: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield number, first
    yield from rest


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")
