"""Runs the user's own commands when rows end; each gets one JSON document on standard input.

They run one after the other while the batch goes on. A failing command is reported and changes nothing else.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from hallo_cli.cli.console import say
from hallo_cli.cli.options import rare
from hallo_cli.errors import SettingsError

LIMIT_S = 600.0  # for one call


@dataclass(frozen=True)
class Hooks:
    """The commands. They apply to one run; the ledger does not keep them."""

    on_row: str = rare("", "Run this for each row that ends, its record as JSON on stdin.", metavar="COMMAND")
    on_end: str = rare("", "Run this when the batch ends, its counts as JSON on stdin.", metavar="COMMAND")


class HookRunner:
    """Calls the commands in a thread of its own; leaving the context waits for the last one."""

    def __init__(self, hooks: Hooks) -> None:
        self._on_row = _words("--on-row", hooks.on_row)
        self._on_end = _words("--on-end", hooks.on_end)
        self._thread = ThreadPoolExecutor(1, "hooks")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def row_ended(self, document: str) -> None:
        """Pass the record of a row to --on-row."""
        if self._on_row:
            self._thread.submit(_call, "--on-row", self._on_row, document)

    def batch_ended(self, values: dict[str, object]) -> None:
        """Pass the counts of the batch to --on-end."""
        if self._on_end:
            self._thread.submit(_call, "--on-end", self._on_end, json.dumps(values))


def _words(flag: str, command: str) -> list[str]:
    """The command and its arguments; no shell reads them. Raises SettingsError."""
    if not command:
        return []
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"{flag} {command!r} is not a command: {error}.") from error
    if not words or shutil.which(words[0]) is None:
        raise SettingsError(f"{flag} {command!r}: there is no program {words[0] if words else ''!r} to run.")
    return words


def _call(flag: str, words: list[str], document: str) -> None:
    try:
        done = subprocess.run(
            words,
            input=(document + "\n").encode(),
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
            start_new_session=True,  # Ctrl-C is for the batch
        )
    except subprocess.TimeoutExpired:
        say(f"{flag} {words[0]!r} took longer than {LIMIT_S:.0f} s and was stopped")
    except OSError as error:
        say(f"{flag} {words[0]!r} cannot be run: {error.strerror}")
    else:
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = f": {said[-1]}" if said else ""
            say(f"{flag} {words[0]!r} ended with status {done.returncode}{reason}")
