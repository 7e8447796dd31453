"""Stores why a row failed: the log of its worker, and of a row that kills workers its inputs, too."""

from __future__ import annotations

import json
import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from hallo_cli.errors import OutputError
from hallo_cli.settings.values import to_values
from hallo_cli.store.opening import open_to_read
from hallo_cli.store.writing import copy_whole, make_own_folder, refuse_link, write_whole

if TYPE_CHECKING:
    from hallo_cli.batch.task import Task

MAX_LOG_BYTES = 1 << 20
MAX_INPUT_BYTES = 2 << 30  # larger inputs are named, not copied


def put_aside(folder: Path, task: Task, reason: str, log: bytes) -> Path:
    """Copy a row's inputs, settings and log into a folder of its own in the batch's; returns it.

    Raises OutputError.
    """
    place = folder / "quarantine" / _name(task.number)
    refuse_link(folder)
    make_own_folder(place.parent)
    make_own_folder(place)
    named = {"portrait": task.portrait, "audio": task.audio}
    inputs = {name: _copy(path, place / name) for name, path in named.items()}
    settings = dict(to_values(task.settings))
    row = {"row": task.number, "id": task.id, "reason": reason, "fingerprint": task.fingerprint, **inputs}
    write_whole(place / "row.json", (json.dumps({**row, "settings": settings}, indent=1) + "\n").encode())
    write_whole(place / "worker.log", log)
    write_whole(place / "settings.toml", tomli_w.dumps(settings).encode())
    write_whole(place / "README.txt", _how_to(inputs).encode())
    return place


def keep_log(folder: Path, row: int, log: Path | None, offset: int) -> None:
    """Keep the worker's output during a row that failed; errors in doing so are ignored."""
    place = folder / "logs" / f"{_name(row)}.log"
    with suppress(OutputError):
        refuse_link(folder)
        refuse_link(place.parent)
        if content := read_log(log, offset):
            write_whole(place, content)


def _name(row: int) -> str:
    return f"row-{row:06d}"  # never the user's text


def read_log(log: Path | None, offset: int) -> bytes:
    """The end of a worker's log since a row began."""
    try:
        if log is None:
            return b""
        with open_to_read(log) as file:
            file.seek(max(offset, log.stat().st_size - MAX_LOG_BYTES))
            return file.read(MAX_LOG_BYTES)
    except OSError as error:
        return f"the log could not be read: {error}\n".encode()


def _copy(source: Path, target: Path) -> str:
    """A copy's name, or the source's where it could not be copied."""
    target = target.with_suffix(source.suffix if source.suffix.isascii() else "")
    try:
        if source.stat().st_size > MAX_INPUT_BYTES:
            return str(source)
        copy_whole(source, target)
    except OSError:
        return str(source)
    return target.name


def _how_to(inputs: dict[str, str]) -> str:
    portrait, audio = (_quoted(inputs[name]) for name in ("portrait", "audio"))
    return (
        "This row killed its worker on every attempt. To run it alone, in this folder:\n\n"
        f"    hallo render {portrait} {audio} -o out.mp4 --config settings.toml\n"
    )


def _quoted(name: str) -> str:
    """A file's name quoted for a shell, with any characters; the second form needs bash or zsh."""
    if name.isprintable():
        return shlex.quote(name)
    codes = "".join(f"\\{byte:03o}" for byte in os.fsencode(name))
    return f"$'{codes}'"
