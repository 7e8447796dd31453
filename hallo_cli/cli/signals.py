"""Ctrl-C and SIGTERM: the first finishes the current clip, the second stops at once."""

from __future__ import annotations

import contextlib
import signal
import types
from collections.abc import Callable, Iterator

from hallo_cli.cli.console import say
from hallo_cli.errors import Interrupted

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def obeying_signals(stop: Callable[[int], None], *, in_hand: str) -> Iterator[None]:
    """Call `stop` with the exit status (130 or 143) at the first signal; raise Interrupted at the second.

    `in_hand` names the work that is still finished, as in "the current clip".
    """
    seen: list[int] = []

    def handle(number: int, frame: types.FrameType | None) -> None:
        if seen:
            raise Interrupted("stopped at once; finished clips are kept.", exit_status=128 + number)
        seen.append(number)
        stop(128 + number)
        say(f"finishing {in_hand}; press Ctrl-C again to stop at once")

    before = {number: signal.signal(number, handle) for number in NUMBERS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
