"""Limits the time that reading a user's file takes, since decoders and network disks may hang."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hallo_cli.errors import InputError
from hallo_cli.media import slow_disks
from hallo_cli.media.files import shown
from hallo_cli.media.slow_disks import NoAnswerError, within

LOOK_S = 300.0  # for a digest, which needs no decoder; other looks have a setting
Found = TypeVar("Found")


def look_limit_s(path: Path, least_s: float) -> float:
    """Seconds that a look at this file may take: one more for each MiB."""
    try:
        return least_s + within(slow_disks.ANSWER_S, path.stat).st_size / (1 << 20)
    except OSError:  # TimeoutError is one
        return least_s


def too_slow(path: Path, word: str, limit_s: float) -> str:
    """The message about a file whose look was given up. `word`: portrait or recording."""
    return (
        f"The {word} {shown(path)} takes longer than {limit_s:.0f} s to read. Convert it, or copy it to a "
        "local disk; --look-limit allows more time."
    )


def look_within(least_s: float | None, path: Path, word: str, look: Callable[[], Found]) -> Found:
    """What `look` returns; raise InputError if it takes longer than `look_limit_s`. None: no limit.

    After the error, the look goes on until the process ends.
    """
    if least_s is None:
        return look()
    limit_s = look_limit_s(path, least_s)
    try:
        return within(limit_s, look)
    except NoAnswerError:
        raise InputError(too_slow(path, word, limit_s)) from None
