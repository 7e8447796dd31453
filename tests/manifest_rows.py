"""Rows of manifests that are written in a test."""

import io
from pathlib import Path

from hallo_cli.batch.manifest_file import read_rows
from hallo_cli.batch.places import Layout
from hallo_cli.batch.rows import BadRow, Row

LAYOUT = Layout(Path("/in"), Path("/out"))


def rows_of(text: str | bytes, layout: Layout = LAYOUT) -> list[Row | BadRow]:
    data = text.encode() if isinstance(text, str) else text
    return list(read_rows(io.BytesIO(data), layout))


def only(text: str | bytes, layout: Layout = LAYOUT) -> Row:
    (row,) = rows_of(text, layout)
    assert isinstance(row, Row)
    return row


def only_bad(text: str | bytes, layout: Layout = LAYOUT) -> BadRow:
    (row,) = rows_of(text, layout)
    assert isinstance(row, BadRow)
    return row
