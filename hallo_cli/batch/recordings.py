"""Makes the recordings that rows have no file of: texts are spoken, recordings of several faces are mixed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.batch.columns import TEXT
from hallo_cli.errors import HalloError

if TYPE_CHECKING:
    from hallo_cli.batch.queue import Queue
    from hallo_cli.batch.rows import Row
    from hallo_cli.jobs.marking import Permission

AT_ONCE = 4  # texts, or mixes


def make_recordings(queue: Queue, command: str | None, permission: Permission | None) -> None:
    """Make what new rows need; rows for which it fails are refused.

    `command`: the text-to-speech command; its voice must be permitted.
    """
    _speak(queue, command, permission)
    rows = [row for row in queue.rows("new") if row.voices]
    if not rows:
        return
    from hallo_cli.media.composing import mixed

    for row, audio in _made(queue, rows, lambda row: mixed([*row.voices.values()])):
        queue.place(dataclasses.replace(row, audio=audio))


def _speak(queue: Queue, command: str | None, permission: Permission | None) -> None:
    rows = [row for row in queue.rows("new") if TEXT in row.own and not row.audio.exists()]
    if command is None or not rows:
        return

    from hallo_cli.media.speaking import speak

    def spoken(row: Row) -> Path:
        if permission:
            permission.require_voice(row.audio)
        return speak(row.own[TEXT], command)

    for _ in _made(queue, rows, spoken):
        pass


def _made(queue: Queue, rows: Sequence[Row], make: Callable[[Row], Path]) -> Iterator[tuple[Row, Path]]:
    """The rows with the recordings that are made for them, some at a time; refuses those that fail."""
    with ThreadPoolExecutor(AT_ONCE, "recordings") as pool:
        for row, future in [(row, pool.submit(make, row)) for row in rows]:
            try:
                yield row, future.result()
            except HalloError as error:
                queue.refuse(row.number, type(error).__name__, str(error))
