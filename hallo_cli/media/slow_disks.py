"""Limits the time to wait for a disk's answer about a file: dead network disks never answer."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from hallo_cli.errors import InputError
from hallo_cli.media.files import shown

ANSWER_S = 60.0  # network disks that are mounted on demand take up to 45
Found = TypeVar("Found")


class NoAnswerError(TimeoutError):
    """A look has not ended in time."""


def require_answer(file: Path, error: type[InputError], what: str) -> None:
    """Raise `error` if nothing is heard of a file within ANSWER_S; it need not exist.

    `what` names it in the message: "portrait", "recording".
    """
    if _is_silent(file):
        raise error(_silence(file, what))


class Disks:
    """Asks about many files, but each folder only once, so that a dead disk is waited for once."""

    def __init__(self) -> None:
        self._is_silent = cache(_is_silent)

    def require_answer(self, file: Path, error: type[InputError], what: str) -> None:
        """As the function has it. `file` is absolute."""
        is_silent = any(map(self._is_silent, reversed(file.parents)))
        if is_silent or (file.is_symlink() and _is_silent(file)):  # a link may lead to another disk
            raise error(_silence(file, what))


def _is_silent(path: Path) -> bool:
    try:
        within(ANSWER_S, partial(os.path.exists, path))  # an endless name is an answer, too
    except NoAnswerError:
        return True
    return False


def _silence(file: Path, what: str) -> str:
    return (
        f"The disk of the {what} {shown(file)} has not answered for {ANSWER_S:.0f} s. Check the network "
        "disk, or copy the file to a local one."
    )


def within(limit_s: float, look: Callable[[], Found]) -> Found:
    """What `look` returns; raise NoAnswerError if it takes longer.

    It runs in a thread that cannot be ended: after the error, it stays until the process ends.
    """
    future: Future[Found] = Future()

    def work() -> None:
        try:
            future.set_result(look())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=work, name="look", daemon=True).start()
    try:
        return future.result(limit_s)
    except TimeoutError:
        if future.done():  # then it is the look's own
            raise
        raise NoAnswerError from None
