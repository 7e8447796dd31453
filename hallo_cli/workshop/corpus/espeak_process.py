"""espeak-ng in a process of its own: for a few sentences the library crashes, which must not end a corpus."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import cache

from hallo_cli.domain import Float
from hallo_cli.errors import InputError
from hallo_cli.workshop.corpus import espeak
from hallo_cli.workshop.corpus.phones import Segment


class EspeakCrashedError(Exception):
    """espeak-ng ended at this sentence. Others can be spoken."""


def speak(text: str, *, voice: str, prosody: espeak.Prosody) -> tuple[Float, int, list[Segment]]:
    """See `espeak.speak`. Raises EspeakCrashedError, InputError."""
    process = _process()
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        pickle.dump((text, voice, prosody), process.stdin)
        process.stdin.flush()
        answer = pickle.load(process.stdout)  # noqa: S301 - from our own process
    except (BrokenPipeError, EOFError):
        process.kill()
        process.communicate()
        _process.cache_clear()
        raise EspeakCrashedError(f"espeak-ng crashed while {voice!r} said {text!r}") from None
    if isinstance(answer, InputError):
        raise answer
    samples, rate, segments = answer
    return samples, rate, segments


@cache
def _process() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", __name__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _serve() -> None:
    """Answer sentences on standard input until it is closed."""
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            text, voice, prosody = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that began this
        except EOFError:
            return
        try:
            answer: object = espeak.speak(text, voice=voice, prosody=prosody)
        except InputError as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    _serve()
