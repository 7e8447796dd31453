"""Processes of this machine that are started by spawning and answer over a connection."""

import logging
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from hallo_cli.batch.task import Died

DEVICE_LOST = 70  # exit status after an error that leaves the accelerator unusable
_log = logging.getLogger(__name__)


class Process:
    """A running process and our end of its connection; `body` gets the other end and the values."""

    def __init__(self, name: str, body: Callable[..., None], *values: object) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=body, args=(theirs, *values), name=f"hallo {name}", daemon=True
        )
        self._process.start()
        theirs.close()  # so that the connection ends with the process

    def send(self, message: object) -> None:
        """Send a message; `receive` notices a process that has died."""
        try:
            self.connection.send(message)
        except OSError:
            _log.debug("a process died before it got the message %r", message)

    def receive(self) -> Any:
        """The next message, or how the process died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return Died(_describe(self._process.exitcode))

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()
        self._process.join()
        self.connection.close()


def _describe(exit_code: int | None) -> str:
    """How a process ended, for people."""
    if exit_code is None or exit_code >= 0:
        return "its device failed" if exit_code == DEVICE_LOST else f"it ended with status {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f"it was ended by {name}{hint}"
