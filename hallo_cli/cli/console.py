"""Where the command line writes: control characters are escaped, and a broken console never stops a run."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from hallo_cli.errors import printable

if TYPE_CHECKING:
    from rich.text import Text

_ESCAPING = "hallo-escaping"


def say(text: object) -> None:
    """One line for people, on standard error."""
    _write(sys.stderr, printable(text))


def answer(*cells: object) -> None:
    """One line of the result, on standard output: a text, or several with tabs between them.

    A name that is not UTF-8 is piped unchanged, so that the next program can open the file.
    """
    is_seen = sys.stdout.isatty()
    _write(sys.stdout, "\t".join(printable(cell, keeps_bytes=not is_seen) for cell in cells))


def plain(text: object) -> Text:
    """Text for rich's tables and bars: its brackets are not read as markup."""
    from rich.text import Text

    return Text(printable(text))


def prepare() -> None:
    """Make both streams accept every character and survive closed readers and full disks."""
    _fill_gaps()
    codecs.register_error(_ESCAPING, _escaped)
    sys.stdout = _enduring(sys.stdout, _ESCAPING)
    sys.stderr = _enduring(sys.stderr, "backslashreplace")


class _Enduring(io.TextIOWrapper):
    """A text stream whose writes never fail; after an error it drops its output."""

    def write(self, text: str, /) -> int:
        """Write; after an error, drop the text."""
        try:
            return super().write(text)
        except OSError:
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Flush; after an error, drop the text."""
        try:
            super().flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())


def _fill_gaps() -> None:
    """Open the null device for closed standard streams, so that no file gets their descriptor numbers."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w")  # noqa: SIM115 - stays open
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)  # as always, or it would be closed when it is replaced


def _enduring(stream: TextIO, errors: str) -> TextIO:
    """The stream made fail-safe, if it is a stream of the system and not of a test."""
    if not isinstance(stream, io.TextIOWrapper) or isinstance(stream, _Enduring):
        return stream
    return _Enduring(stream.buffer, stream.encoding, errors, line_buffering=stream.line_buffering)


def _escaped(error: UnicodeError) -> tuple[bytes, int]:
    """Replacements for characters that the stream's encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return b"".join(_byte_of(character) for character in lacking), error.end


def _byte_of(character: str) -> bytes:
    is_byte = "\udc80" <= character <= "\udcff"  # of a name that is not UTF-8
    return bytes([ord(character) - 0xDC00]) if is_byte else character.encode("ascii", "backslashreplace")


def _write(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()
