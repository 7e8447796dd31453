"""Runs the user's text-to-speech command on a text; the result is cached by content.

No shell reads the command: it is split into words once, and `{text}` and `{output}` are filled in there.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from hallo_cli.errors import SpeechError
from hallo_cli.media.ffmpeg import last_words
from hallo_cli.media.kept_sounds import spoken_path, words_of
from hallo_cli.media.probe import probe
from hallo_cli.printable import printable
from hallo_cli.store.writing import copy_whole

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
    with tempfile.TemporaryDirectory(prefix="hallo-") as folder:
        made = Path(folder) / "spoken.wav"
        _run(words_of(command), text, made)
        if not made.exists() or probe(made, what="spoken text", error=SpeechError).audio is None:
            raise SpeechError("the --speak command succeeded but wrote no sound to {output}.")
        copy_whole(made, target)
    return target


def _run(words: list[str], text: str, target: Path) -> None:
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
