"""Recordings and other files that are kept in the cache: read from pipes, fetched, or made from others."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from hallo_cli.errors import SettingsError, SpeechError
from hallo_cli.media.files import shown
from hallo_cli.store.cache import cache_path
from hallo_cli.store.opening import sweep_parts
from hallo_cli.store.writing import make_folder, rename, replacing

RECORDINGS = "recordings"  # folder of the cache
STANDARD_INPUT = "-"
MAX_BYTES = 4 << 30  # of a piped or fetched file; more than twelve hours of most sound
CHUNK = 1 << 20


def kept_path(kind: str, name: str) -> Path:
    """The cache path of a file that is made from these inputs. Raises SettingsError, OutputError."""
    folder = cache_path(kind)
    if folder is None:
        raise SettingsError("there is no home folder for cached sound: name a folder in HALLO_CACHE.")
    make_folder(folder)
    return folder / name


def keep(blocks: Iterable[bytes], kind: str, suffix: str) -> Path:
    """Keep content as a file that is named after it.

    Raises SettingsError, OutputError, and what `blocks` raises: then nothing is kept.
    """
    made = kept_path(kind, f"new-{os.getpid()}-{threading.get_ident()}")
    sweep_parts(made.parent)
    digest = hashlib.sha256()
    with replacing(made) as file:
        for block in blocks:
            digest.update(block)
            file.write(block)
    target = made.with_name(f"{digest.hexdigest()[:40]}{suffix}")
    rename(made, target)
    return target


def sources_of(recording: Path) -> tuple[str, ...]:
    """SHA-256 of the recordings that `composed` joined to this one; empty if it made none."""
    folder = cache_path(RECORDINGS)
    if folder is None or recording.absolute().parent != folder.absolute():
        return ()
    try:
        found = json.loads(note_of(recording).read_bytes())
    except (OSError, ValueError):
        return ()
    is_list = isinstance(found, list) and all(isinstance(digest, str) for digest in found)
    return tuple(found) if is_list else ()


def note_of(recording: Path) -> Path:
    """The file that says what a recording was composed of."""
    return recording.with_suffix(".sources.json")


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
                return keep(_blocks(pipe, f"the pipe {shown(recording)}"), RECORDINGS, ".piped")
        except OSError as error:
            raise SpeechError(f"the pipe {shown(recording)} cannot be read: {error.strerror}.") from error
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        raise SpeechError(
            "the recording '-' is standard input, and nothing is piped into it. Write "
            "`COMMAND | hallo render PORTRAIT -`, or name a file."
        )
    return keep(_blocks(sys.stdin.buffer, "standard input"), RECORDINGS, ".piped")


def _blocks(pipe: BinaryIO, what: str) -> Iterator[bytes]:
    n_bytes = 0
    while block := pipe.read(CHUNK):
        n_bytes += len(block)
        if n_bytes > MAX_BYTES:
            raise SpeechError(f"{what} holds more than {MAX_BYTES >> 30} GiB. Save it as a file first.")
        yield block
    if not n_bytes:
        raise SpeechError(f"{what} holds no sound (0 bytes): did the command before it fail?")
