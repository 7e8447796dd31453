"""The exceptions this package raises on purpose, each with its exit status, and texts that are safe to show.

HalloError (1)
├── SettingsError (2)        a flag, preset, config file or environment value
├── InputError (4)           something the user gave cannot be used
│   ├── PortraitError        the picture: unreadable, no face, too small, too much in profile
│   │   └── MissingFaceError it has fewer faces than --face-index or --face names
│   ├── SpeechError          the recording: unreadable, empty, too long
│   ├── ConsentError         the consent file does not allow the portrait or the voice
│   └── ManifestError        the batch's manifest or one of its rows
├── WeightsError (5)         a bundle or weights file is missing, broken or does not fit
├── DeviceMemoryError (6)    out of memory after every fallback
├── JobError (1)             the render itself failed
│   ├── OutputError          the result or the work folder cannot be written
│   │   └── FarFolderError   the store or server that takes the videos refuses, or cannot be reached
│   └── EncoderError         ffmpeg failed
└── Interrupted (130/143)    stopped by the user or the system; finished work is kept

A message says what was wrong (with the value), what was expected and what to do.
Any other exception is a bug.

Names, ids, messages and keys come from files that nobody has checked: a control character in them could move
the cursor, hide or reverse what follows, or begin a line that looks like one of ours. `printable` shows them.
"""

from __future__ import annotations

import difflib
import logging
import unicodedata
from collections.abc import Iterable

BUG_STATUS = 3
_JOINERS = "\u200c\u200d"  # Persian, Hindi and many emoji need them
_BYTES = range(0xDC80, 0xDD00)  # how Python holds the bytes of a name that is not UTF-8


class HalloError(Exception):
    """Base of every error this package raises on purpose."""

    exit_status = 1


class SettingsError(HalloError):
    """A flag, preset, config file or environment value cannot be used."""

    exit_status = 2


class InputError(HalloError):
    """Something the user gave to be processed cannot be used."""

    exit_status = 4


class PortraitError(InputError):
    """The portrait cannot be used."""


class MissingFaceError(PortraitError):
    """The picture has fewer faces. Processes pass it on."""

    counted_from_1 = ""  # the reason as --face counts


class SpeechError(InputError):
    """The recording cannot be used."""


class ConsentError(InputError):
    """The consent file does not allow the portrait or the voice."""


class ManifestError(InputError):
    """The manifest of a batch, or one of its rows, cannot be used."""


class WeightsError(HalloError):
    """A bundle or a weights file is missing, broken or does not fit the networks."""

    exit_status = 5


class DeviceMemoryError(HalloError):
    """The device ran out of memory after every fallback."""

    exit_status = 6


class JobError(HalloError):
    """A render failed."""


class OutputError(JobError):
    """The result or the work folder cannot be written."""


class FarFolderError(OutputError):
    """The store or server that takes the videos refuses, or cannot be reached."""


class EncoderError(JobError):
    """ffmpeg failed."""


class Interrupted(HalloError):
    """The run was stopped; finished work was kept, and the same command resumes."""

    exit_status = 130

    def __init__(self, message: str, *, exit_status: int = 130) -> None:
        super().__init__(message)
        self.exit_status = exit_status


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
