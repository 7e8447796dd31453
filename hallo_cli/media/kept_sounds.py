"""Sounds that were made and are kept in the cache: their paths, and what each was made from."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path

from hallo_cli.errors import SettingsError
from hallo_cli.store.cache import cache_path
from hallo_cli.store.writing import make_folder

FOLDER = "speech"  # of the cache
VOICE = 16  # characters that name the command, at the start of a sound's file name
EXAMPLE = "--speak 'espeak-ng -w {output} -- {text}'"


def kept_path(kind: str, name: str) -> Path:
    """The cache path of a file that is made from these inputs. Raises SettingsError, OutputError."""
    folder = cache_path(kind)
    if folder is None:
        raise SettingsError("there is no home folder for cached sound: name a folder in HALLO_CACHE.")
    make_folder(folder)
    return folder / name


def sources_of(recording: Path) -> tuple[str, ...]:
    """SHA-256 of the recordings that `composed` joined to this one; empty if it made none."""
    folder = cache_path("recordings")
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


def words_of(command: str) -> list[str]:
    """The words of a text-to-speech command. Raises SettingsError."""
    words = _split(command)
    if not any("{output}" in word for word in words):
        raise SettingsError(
            f"--speak {command!r} lacks {{output}}, the file for the sound. Write it as {EXAMPLE}."
        )
    if shutil.which(words[0]) is None:
        raise SettingsError(f"--speak: program {words[0]!r} was not found. Install it or give its path.")
    return words


def spoken_path(text: str, command: str) -> Path:
    """The cache path of a text's sound. Raises SettingsError."""
    words = words_of(command)
    return kept_path(FOLDER, f"{_digest(words)[:VOICE]}-{_digest([text, words])[:40]}.wav")


def is_spoken(file: Path) -> bool:
    """Whether a file is the sound of a text, in the cache."""
    folder = cache_path(FOLDER)
    return folder is not None and file.absolute().parent == folder.absolute()


def has_spoken(command: str, file: Path) -> bool:
    """Whether a command made this sound of a text. Raises SettingsError if it is no command."""
    return is_spoken(file) and file.name.startswith(f"{_digest(_split(command))[:VOICE]}-")


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"--speak {command!r}: {error}. Write it as {EXAMPLE}.") from error


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode("utf-8", "surrogatepass")).hexdigest()
