"""Runs the user's text-to-speech command on a text; the result is cached by content.

No shell reads the command: it is split into words once, and `{text}` and `{output}` are filled in there.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from hallo_cli.errors import SettingsError, SpeechError, printable
from hallo_cli.media.kept_sounds import kept_path
from hallo_cli.store.cache import cache_path
from hallo_cli.store.writing import copy_whole

FOLDER = "speech"  # of the cache
VOICE = 16  # characters that name the command, at the start of a sound's file name
EXAMPLE = "--speak 'espeak-ng -w {output} -- {text}'"
MAX_TEXT = 100_000  # characters
PATIENCE_S = 3600.0  # until a command is stopped


def speak(text: str, command: str) -> Path:
    """The sound of a text: made by the command, or from the cache.

    A command without `{text}` reads the text from standard input. Raises SettingsError if the command
    cannot be used, SpeechError if it fails or writes no sound.
    """
    if not text.strip() or "\0" in text or len(text) > MAX_TEXT:
        raise SpeechError(f"the text to be spoken is empty or longer than {MAX_TEXT} characters.")
    target = spoken_path(text, command)
    if target.exists():
        return target
    from hallo_cli.media.probe import probe

    with tempfile.TemporaryDirectory(prefix="hallo-") as folder:
        made = Path(folder) / "spoken.wav"
        _run(_words_of(command), text, made)
        if not made.exists() or probe(made, what="spoken text", error=SpeechError).audio is None:
            raise SpeechError("the --speak command succeeded but wrote no sound to {output}.")
        copy_whole(made, target)
    return target


def spoken_path(text: str, command: str) -> Path:
    """The cache path of a text's sound. Raises SettingsError."""
    words = _words_of(command)
    return kept_path(FOLDER, f"{_digest(words)[:VOICE]}-{_digest([text, words])[:40]}.wav")


def is_spoken(file: Path) -> bool:
    """Whether a file is the sound of a text, in the cache."""
    folder = cache_path(FOLDER)
    return folder is not None and file.absolute().parent == folder.absolute()


def has_spoken(command: str, file: Path) -> bool:
    """Whether a command made this sound of a text. Raises SettingsError if it is no command."""
    return is_spoken(file) and file.name.startswith(f"{_digest(_split(command))[:VOICE]}-")


def _words_of(command: str) -> list[str]:
    words = _split(command)
    if not any("{output}" in word for word in words):
        raise SettingsError(
            f"--speak {command!r} lacks {{output}}, the file for the sound. Write it as {EXAMPLE}."
        )
    if shutil.which(words[0]) is None:
        raise SettingsError(f"--speak: program {words[0]!r} was not found. Install it or give its path.")
    return words


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise SettingsError(f"--speak {command!r}: {error}. Write it as {EXAMPLE}.") from error


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode("utf-8", "surrogatepass")).hexdigest()


def _run(words: list[str], text: str, target: Path) -> None:
    from hallo_cli.media.ffmpeg import last_words

    spoken = f" {text}" if text.startswith("-") else text  # a word that begins with - would be an option
    filled = [word.replace("{output}", str(target)).replace("{text}", spoken) for word in words]
    is_piped = not any("{text}" in word for word in words)
    try:
        done = subprocess.run(
            filled,
            input=text.encode("utf-8", "replace") if is_piped else b"",
            capture_output=True,
            check=False,
            timeout=PATIENCE_S,
        )
    except (OSError, ValueError) as error:
        raise SpeechError(f"the --speak command {words[0]!r} cannot be run: {error}.") from error
    except subprocess.TimeoutExpired as error:
        raise SpeechError(
            f"the --speak command {words[0]!r} did not end within {PATIENCE_S:.0f} s."
        ) from error
    if done.returncode != 0:
        said = printable(last_words(done.stderr))
        raise SpeechError(f"the --speak command {words[0]!r} failed (status {done.returncode}): {said}.")
