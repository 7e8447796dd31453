"""The workers of a batch, in slots: a slot stays when its worker dies and is replaced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallo_cli.batch.task import Broken, Died, Message, Up
from hallo_cli.errors import JobError

if TYPE_CHECKING:
    from hallo_cli.batch.task import Task

_MAX_FAILED_STARTS = 3


class Pool(ABC):
    """Workers that `start` makes; each has `send`, `receive` and `kill`, as a Process has."""

    def __init__(self, slots: Iterable[str]) -> None:
        self.slots = tuple(slots)
        self._workers = {slot: self.start(slot) for slot in self.slots}
        self._failed_starts = dict.fromkeys(self.slots, 0)
        self._is_stopping = False

    @abstractmethod
    def start(self, slot: str) -> Any:
        """A new worker for the slot."""

    @abstractmethod
    def ready(self, timeout_s: float) -> list[str]:
        """The slots whose workers have said something or died, at once or after at most `timeout_s`."""

    def log(self, slot: str) -> Path | None:
        """The worker's log file, if it is on this machine."""
        return None

    def send(self, slot: str, task: Task) -> None:
        """Give the slot's worker a row; several may wait in line."""
        self._workers[slot].send(task)

    def wait(self, timeout_s: float) -> list[tuple[str, Message]]:
        """The workers' new messages, at once or after at most `timeout_s`. Raises HalloError."""
        messages: list[tuple[str, Message]] = []
        for slot in self.ready(timeout_s):
            message = self._workers[slot].receive()
            messages.append((slot, message))
            if isinstance(message, Up):
                self._failed_starts[slot] = 0
            elif isinstance(message, Died):
                self._replace(slot, message)
            elif isinstance(message, Broken):
                self._workers.pop(slot).kill()
        return messages

    def stop(self) -> None:
        """Ask all workers to finish the current clip and keep it."""
        self._is_stopping = True
        for worker in self._workers.values():
            worker.send("stop")

    def close(self) -> None:
        """End all workers now; their work is on disk."""
        for worker in self._workers.values():
            worker.kill()

    def _replace(self, slot: str, death: Died) -> None:
        self._workers[slot].kill()
        self._failed_starts[slot] += 1
        if self._failed_starts[slot] >= _MAX_FAILED_STARTS:
            log = self.log(slot)
            raise JobError(
                f"worker {slot} cannot be started ({death.reason}, {_MAX_FAILED_STARTS} times in a row)"
                f"{f'; its log is {log}' if log else ''}."
            )
        self._workers[slot] = self.start(slot)
        if self._is_stopping:
            self._workers[slot].send("stop")


def slot_names(devices: Sequence[str]) -> list[str]:
    """A name for each worker: its device, numbered where several share one."""
    names = []
    for index, device in enumerate(devices):
        is_shared = devices.count(device) > 1
        names.append(f"{device}-{devices[: index + 1].count(device)}" if is_shared else device)
    return names
