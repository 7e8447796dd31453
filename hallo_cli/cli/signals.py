"""Ctrl-C and SIGTERM: the first finishes the current clip, within a time limit; the second stops at once."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
import types
from collections.abc import Callable, Iterator

from hallo_cli.cli.console import say
from hallo_cli.errors import Interrupted

NUMBERS = (signal.SIGINT, signal.SIGTERM)
STOP_S = 22.0  # after the first signal; containers kill what has not stopped after 30 s
CLEANUP_S = 4.0  # after that, for code that cannot be interrupted
AT_ONCE = "stopped at once; finished clips are kept."


@contextlib.contextmanager
def obeying_signals(stop: Callable[[int], None], *, in_hand: str) -> Iterator[None]:
    """Call `stop` with the exit status (130 or 143) at the first signal; raise Interrupted at the second.

    STOP_S after the first signal comes a second one by itself; the process ends CLEANUP_S later in any case.
    `in_hand` names the work that is still finished, as in "the current clip".
    """
    asked: queue.SimpleQueue[int | None] = queue.SimpleQueue()  # a signal handler may put into it
    seen: list[int] = []

    def handle(number: int, frame: types.FrameType | None) -> None:
        if seen:
            raise Interrupted(AT_ONCE, exit_status=128 + number)
        seen.append(number)
        asked.put(number)
        stop(128 + number)
        say(f"finishing {in_hand}; press Ctrl-C again to stop at once")

    before = {number: signal.signal(number, handle) for number in NUMBERS}
    threading.Thread(target=_enforce, args=(asked,), name="time limit", daemon=True).start()
    try:
        yield
    finally:
        asked.put(None)
        for number, handler in before.items():
            signal.signal(number, handler)


def _enforce(asked: queue.SimpleQueue[int | None]) -> None:
    """Repeat the first signal after STOP_S; end the process if that does not."""
    number = asked.get()
    if number is None:
        return
    with contextlib.suppress(queue.Empty):
        asked.get(timeout=STOP_S)
        return
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, number)  # wakes it from waiting, too
    time.sleep(CLEANUP_S)
    say(f"hallo: {AT_ONCE}")
    os._exit(128 + number)
