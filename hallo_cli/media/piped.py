"""Reads a recording from a pipe to its end and keeps it as a file, named after its content."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from hallo_cli.errors import SpeechError
from hallo_cli.media.files import shown
from hallo_cli.media.kept_sounds import kept_path
from hallo_cli.store.opening import sweep_parts
from hallo_cli.store.writing import rename, replacing

STANDARD_INPUT = "-"
MAX_BYTES = 4 << 30  # more than twelve hours of most sound
CHUNK = 1 << 20


def is_piped(recording: Path) -> bool:
    """Whether a recording is standard input (`-`) or a pipe, such as <(command) of a shell."""
    try:
        return str(recording) == STANDARD_INPUT or stat.S_ISFIFO(recording.stat().st_mode)
    except (OSError, ValueError):
        return False


def as_file(recording: Path) -> Path:
    """A recording as a file that can be read again; one that is no pipe is itself.

    Raises SpeechError if the pipe holds nothing or more than MAX_BYTES, SettingsError, OutputError.
    """
    if not is_piped(recording):
        return recording
    if str(recording) != STANDARD_INPUT:
        try:
            with recording.open("rb") as pipe:
                return _kept(pipe, f"the pipe {shown(recording)}")
        except OSError as error:
            raise SpeechError(f"the pipe {shown(recording)} cannot be read: {error.strerror}.") from error
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise SpeechError(
            "the recording '-' is standard input, and nothing is piped into it. Write "
            "`COMMAND | hallo render PORTRAIT -`, or name a file."
        )
    return _kept(sys.stdin.buffer, "standard input")


def _kept(pipe: BinaryIO, what: str) -> Path:
    made = kept_path("recordings", f"pipe-{os.getpid()}")
    sweep_parts(made.parent)
    digest, n_bytes = hashlib.sha256(), 0
    with replacing(made) as file:
        while block := pipe.read(CHUNK):
            n_bytes += len(block)
            if n_bytes > MAX_BYTES:
                raise SpeechError(f"{what} holds more than {MAX_BYTES >> 30} GiB. Save it as a file first.")
            digest.update(block)
            file.write(block)
        if not n_bytes:
            raise SpeechError(f"{what} holds no sound (0 bytes): did the command before it fail?")
    target = made.with_name(f"{digest.hexdigest()[:40]}.piped")
    rename(made, target)
    return target
