"""Finds the ffmpeg program and runs commands built with ffmpeg-python; never through a shell."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import ffmpeg
import imageio_ffmpeg

from hallo_cli.errors import EncoderError, SettingsError

log = logging.getLogger(__name__)

# Encoders write no dates, versions or random identifiers: the same frames give the same bytes.
DETERMINISTIC = {"fflags": "+bitexact", "flags": "+bitexact", "map_metadata": "-1"}
FLAC = {"format": "flac", "sample_fmt": "s32", **DETERMINISTIC}


def find_ffmpeg(codec: str = "libx264") -> Path:
    """Return ffmpeg: the one HALLO_FFMPEG names, else that on PATH if it can encode, else the packaged one.

    Raises SettingsError if HALLO_FFMPEG names no program, EncoderError if none is found.
    """
    named = os.environ.get("HALLO_FFMPEG", "")
    if named:
        found = shutil.which(named)
        if found is None:
            raise SettingsError(f"HALLO_FFMPEG names {named!r}, which is not a program. Correct or unset it.")
        return Path(found).absolute()  # it may run in another folder
    on_path, packaged = shutil.which("ffmpeg"), _packaged()
    if on_path and (packaged is None or _can_encode(Path(on_path), codec)):
        return Path(on_path).absolute()
    if packaged is not None:
        return packaged
    raise EncoderError(
        "ffmpeg was not found: not in HALLO_FFMPEG, not on PATH, and imageio-ffmpeg brings none for this "
        "system. Install ffmpeg."
    )


def _packaged() -> Path | None:
    """imageio-ffmpeg's own program; its own function would also return the one on PATH."""
    try:
        program = Path(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None
    return program if program.is_absolute() else None


@cache
def _can_encode(program: Path, codec: str) -> bool:
    """Whether an ffmpeg runs and has the encoders and filters that videos need; some builds lack them."""
    try:
        return {codec, "aac"} <= _encoders_of(program)
    except EncoderError as error:
        log.info("%s is not used: %s", program, error)
        return False


def describe_ffmpeg() -> str:
    """Return the first line of `ffmpeg -version`. Raises EncoderError."""
    return _asked(find_ffmpeg(), "-version").splitlines()[0]


def encoders() -> frozenset[str]:
    """Return the names of the encoders this ffmpeg has. Raises EncoderError."""
    return _encoders_of(find_ffmpeg())


def _encoders_of(program: Path) -> frozenset[str]:
    lines = _asked(program, "-encoders").partition("------")[2].splitlines()
    return frozenset(words[1] for words in map(str.split, lines) if len(words) > 1)


# ffmpeg-python takes only Unicode text, so the bytes of other names are escaped.
_FROM_BYTES = {0xDC00 + byte: 0x10DC00 + byte for byte in range(0x80, 0x100)}
_TO_BYTES = {disguise: byte for byte, disguise in _FROM_BYTES.items()}


def _command_of(output: Any, codec: str, level: str) -> list[str]:
    quiet = output.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", level)
    arguments: list[str] = ffmpeg.compile(quiet, cmd=str(find_ffmpeg(codec)), overwrite_output=True)
    return [argument.translate(_TO_BYTES) for argument in arguments]


@dataclass(frozen=True)
class RunningFfmpeg:
    """An ffmpeg that reads its standard input."""

    process: subprocess.Popen[bytes]
    said: IO[bytes]

    def write(self, data: bytes | memoryview) -> None:
        """Give it input. Raises BrokenPipeError if it has stopped reading; `finish` tells why."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def finish(self) -> tuple[int, bytes]:
        """Wait for its end: its exit status, and what it said."""
        assert self.process.stdin is not None
        with suppress(OSError):  # the exit status shows the reason
            self.process.stdin.close()
        status = self.process.wait()
        self.said.seek(0)
        return status, self.said.read()


@contextmanager
def running_ffmpeg(
    output: Any, codec: str = "libx264", *, cwd: Path | None = None, level: str = "error"
) -> Iterator[RunningFfmpeg]:
    """Start ffmpeg on a stream built with ffmpeg-python; it is killed if it still runs at the end.

    Raises EncoderError if the program cannot be started.
    """
    command = _command_of(output, codec, level)
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                start_new_session=True,  # Ctrl-C must reach only this process: the current clip is finished
            )
        except OSError as error:
            raise _not_running(find_ffmpeg(codec), error) from error
        running = RunningFfmpeg(process, said)
        try:
            yield running
        finally:
            process.kill()
            running.finish()


def run(output: Any, *, cwd: Path | None = None, feed: Iterable[bytes] = (), level: str = "error") -> bytes:
    """Run a stream built with ffmpeg-python, `feed` on its standard input; what it said at this level.

    Raises EncoderError with ffmpeg's last message.
    """
    with running_ffmpeg(output, cwd=cwd, level=level) as process:
        with suppress(BrokenPipeError):
            for block in feed:
                process.write(block)
        status, said = process.finish()
    if status != 0:
        raise EncoderError(f"ffmpeg failed (status {status}): {last_words(said)}")
    return said


def address(file: Path) -> str:
    """Return a path that ffmpeg cannot read as an option or a protocol."""
    return f"file:{file.absolute()}".translate(_FROM_BYTES)


def last_words(stderr: bytes) -> str:
    """Return the reason of a failure: ffmpeg's first line, and the last one if it is another.

    The cause comes first; the last line tells its consequence, such as that nothing was written.
    """
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return " ... ".join(line[:200] for line in dict.fromkeys([*lines[:1], *lines[-1:]])) or "no message"


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
