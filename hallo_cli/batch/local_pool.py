"""Workers as processes of this machine, started by spawning; one that dies is replaced."""

from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from hallo_cli.batch.processes import Process
from hallo_cli.batch.task import Broken, Died, Message, Renderer, Task, Up
from hallo_cli.batch.worker import WorkerSpec, work
from hallo_cli.errors import JobError

_MAX_FAILED_STARTS = 3


class LocalPool:
    """One process a slot; `devices` may name one device several times."""

    def __init__(self, make_renderer: Callable[[str], Renderer], devices: Sequence[str], logs: Path) -> None:
        names = slot_names(devices)
        self.slots = tuple(names)
        self._specs = {
            name: WorkerSpec(name, device, make_renderer, logs / f"{name.replace(':', '-')}.log")
            for name, device in zip(names, devices, strict=True)
        }
        self._workers = {name: self._start(name) for name in names}
        self._failed_starts = dict.fromkeys(names, 0)
        self._is_stopping = False

    def send(self, slot: str, task: Task) -> None:
        """Give the slot's worker a row; `wait` notices a worker that dies meanwhile."""
        self._workers[slot].send(task)

    def wait(self, timeout_s: float) -> list[tuple[str, Message]]:
        """The workers' messages; a worker that died is replaced after its last message."""
        watched = {worker.connection: name for name, worker in self._workers.items()}
        messages: list[tuple[str, Message]] = []
        for source in wait(list(watched), timeout_s):
            assert isinstance(source, Connection)
            name = watched[source]
            message: Message = self._workers[name].receive()
            messages.append((name, message))
            if isinstance(message, Up):
                self._failed_starts[name] = 0
            elif isinstance(message, Died):
                self._replace(name, message)
            elif isinstance(message, Broken):
                self._workers.pop(name).kill()
        return messages

    def stop(self) -> None:
        """Ask all workers to finish the current clip."""
        self._is_stopping = True
        for worker in self._workers.values():
            worker.send("stop")

    def log(self, slot: str) -> Path | None:
        """The worker's log file."""
        return self._specs[slot].log

    def close(self) -> None:
        """Kill the workers that still run; their work is on disk."""
        for worker in self._workers.values():
            worker.kill()

    def _start(self, name: str) -> Process:
        return Process(name, work, self._specs[name])

    def _replace(self, name: str, death: Died) -> None:
        self._workers[name].kill()
        self._failed_starts[name] += 1
        if self._failed_starts[name] >= _MAX_FAILED_STARTS:
            raise JobError(
                f"worker {name} cannot be started ({death.reason}, {_MAX_FAILED_STARTS} times in a row); "
                f"its log is {self._specs[name].log}."
            )
        self._workers[name] = self._start(name)
        if self._is_stopping:
            self._workers[name].send("stop")


def slot_names(devices: Sequence[str]) -> list[str]:
    """A name for each worker: its device, numbered where several share one."""
    names = []
    for index, device in enumerate(devices):
        is_shared = devices.count(device) > 1
        names.append(f"{device}-{devices[: index + 1].count(device)}" if is_shared else device)
    return names
