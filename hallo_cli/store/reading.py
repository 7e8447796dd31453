"""Reads small files that others may have written, up to a limit: a wrong one cannot fill the memory."""

from __future__ import annotations

from pathlib import Path

SMALL = 1 << 20  # bytes; real records, certificates and files of settings have a few thousand


def read_small(path: Path, limit: int = SMALL) -> bytes:
    """The content of a file. Raises ValueError if it has more bytes than the limit, OSError."""
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError("it is too large")
    return content
