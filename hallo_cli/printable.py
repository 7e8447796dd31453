"""Makes untrusted text safe to show on a terminal, in a log, in a table or on a page.

Names, ids, messages and keys come from files that nobody has checked: a control character in them could move
the cursor, hide or reverse what follows, or begin a line that looks like one of ours.
"""

from __future__ import annotations

import difflib
import logging
import unicodedata
from collections.abc import Iterable

_JOINERS = "\u200c\u200d"  # Persian, Hindi and many emoji need them
_BYTES = range(0xDC80, 0xDD00)  # how Python holds the bytes of a name that is not UTF-8


def printable(text: object, *, keeps_bytes: bool = False) -> str:
    r"""The text on one line, with every invisible character written as its code.

    As in "\x1b" and "\u202e". `keeps_bytes`: keep the bytes of names that are not UTF-8, for a program
    that opens the file.
    """
    said = str(text)
    if said.isprintable():
        return said
    return "".join(c if keeps_bytes and ord(c) in _BYTES else _shown(c) for c in said)


def first_line(error: BaseException) -> str:
    """What an error says first, or its type where it says nothing; at most 200 characters."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def did_you_mean(word: str, known: Iterable[str], all_are: str = "Known") -> str:
    """A sentence that names the known word nearest to a wrong one, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"{all_are}: {', '.join(known)}."


class PrintableFormatter(logging.Formatter):
    """Formats log records: a message on one line, a traceback indented, so that it cannot look like one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The message's line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        """The trace, indented."""
        trace = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"  {printable(line)}" for line in trace.split("\n"))


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    if ord(character) in _BYTES:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
