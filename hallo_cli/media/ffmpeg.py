"""Finds the ffmpeg program and runs commands built with ffmpeg-python; never through a shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import ffmpeg
import imageio_ffmpeg

from hallo_cli.errors import EncoderError, SettingsError

# Encoders write no dates, versions or random identifiers: the same frames give the same bytes.
DETERMINISTIC = {"fflags": "+bitexact", "flags": "+bitexact", "map_metadata": "-1"}


def find_ffmpeg() -> Path:
    """Return ffmpeg: the one HALLO_FFMPEG names, else on PATH, else imageio-ffmpeg's own.

    Raises SettingsError where HALLO_FFMPEG names no program, EncoderError where there is none at all.
    """
    named = os.environ.get("HALLO_FFMPEG", "")
    if named:
        found = shutil.which(named)
        if found is None:
            raise SettingsError(f"HALLO_FFMPEG names {named!r}, which is no program. Correct or unset it.")
        return Path(found).absolute()  # it may be run in another folder
    on_path = shutil.which("ffmpeg")
    if on_path:
        return Path(on_path).absolute()
    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise EncoderError(
            "ffmpeg was not found: not in HALLO_FFMPEG, not on PATH, and imageio-ffmpeg brings none for this "
            "system. Install ffmpeg."
        ) from error


def describe_ffmpeg() -> str:
    """Return the first line of `ffmpeg -version`. Raises EncoderError."""
    return _asked(find_ffmpeg(), "-version").splitlines()[0]


def encoders() -> frozenset[str]:
    """Return the names of the encoders this ffmpeg has. Raises EncoderError."""
    lines = _asked(find_ffmpeg(), "-encoders").partition("------")[2].splitlines()
    return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1)


def command_of(output: Any) -> list[str]:
    """Return the arguments of a stream built with ffmpeg-python, as a list for subprocess."""
    quiet = output.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "error")
    arguments: list[str] = ffmpeg.compile(quiet, cmd=str(find_ffmpeg()), overwrite_output=True)
    return arguments


def run(output: Any, *, cwd: Path | None = None) -> None:
    """Run a stream built with ffmpeg-python. Raises EncoderError with ffmpeg's last words."""
    with starting_ffmpeg():
        result = subprocess.run(
            command_of(output),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            start_new_session=True,  # Ctrl-C is for us
        )
    if result.returncode != 0:
        raise EncoderError(f"ffmpeg failed (status {result.returncode}): {last_words(result.stderr)}")


@contextmanager
def starting_ffmpeg() -> Iterator[None]:
    """Raise EncoderError where the program that was found cannot be started."""
    try:
        yield
    except OSError as error:
        raise _not_running(find_ffmpeg(), error) from error


def address(file: Path) -> str:
    """Return a path as ffmpeg takes it, safe from being read as an option or a protocol."""
    return f"file:{file.absolute()}"


def last_words(stderr: bytes) -> str:
    """Return the reason of a failure: of what ffmpeg wrote the first line, and the last where it is another.

    The cause comes first; what comes after it, such as that nothing was written, is what followed.
    """
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return (
        " ... ".join(line[:200] for line in dict.fromkeys([*lines[:1], *lines[-1:]])) or "it gave no reason"
    )


@cache
def _asked(program: Path, question: str) -> str:
    try:
        return subprocess.run(
            [str(program), "-hide_banner", question], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise _not_running(program, error) from error


def _not_running(program: Path, error: Exception) -> EncoderError:
    return EncoderError(f"{program} does not run: {error}. Set HALLO_FFMPEG to one that does.")
