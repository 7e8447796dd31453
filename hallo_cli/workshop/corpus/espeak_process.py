"""espeak-ng in a process of its own: for a few sentences the library crashes, which must not end a corpus."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np

from hallo_cli.domain import Float
from hallo_cli.errors import InputError
from hallo_cli.workshop.corpus import espeak
from hallo_cli.workshop.corpus.espeak import Prosody
from hallo_cli.workshop.corpus.phones import Segment


class EspeakCrashedError(Exception):
    """espeak-ng ended at this sentence. Others can be spoken."""


def speak(text: str, *, voice: str, prosody: Prosody) -> tuple[Float, int, list[Segment]]:
    """See `espeak.speak`. Raises EspeakCrashedError, InputError."""
    return _speaker().speak(text, voice, prosody)


class _Speaker:
    """Holds the process, and starts it again after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def speak(self, text: str, voice: str, prosody: Prosody) -> tuple[Float, int, list[Segment]]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([text, voice, asdict(prosody)]).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or "null")
        except BrokenPipeError:
            answer = None
        if answer is None:
            process.kill()
            process.communicate()
            self._process = None
            raise EspeakCrashedError(f"espeak-ng crashed while {voice!r} said {text!r}")
        if "error" in answer:
            raise InputError(answer["error"])
        samples = np.frombuffer(process.stdout.read(answer["n_bytes"]), np.float32)
        return samples, answer["rate"], [Segment(*segment) for segment in answer["segments"]]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, "-m", __name__]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process


@cache
def _speaker() -> _Speaker:
    return _Speaker()


def _serve() -> None:
    """Answer sentences on standard input until it is closed: a line of JSON each, then the samples."""
    answers = sys.stdout.buffer
    sys.stdout = sys.stderr
    for line in sys.stdin.buffer:
        header, sound = _answer(*json.loads(line))
        answers.write(json.dumps(header).encode() + b"\n" + sound)
        answers.flush()


def _answer(text: str, voice: str, prosody: dict[str, int]) -> tuple[dict[str, Any], bytes]:
    try:
        samples, rate, segments = espeak.speak(text, voice=voice, prosody=Prosody(**prosody))
    except InputError as error:
        return {"error": str(error)}, b""
    sound = samples.astype(np.float32).tobytes()
    times = [(segment.start_s, segment.end_s, segment.phone) for segment in segments]
    return {"rate": rate, "segments": times, "n_bytes": len(sound)}, sound


if __name__ == "__main__":
    _serve()
