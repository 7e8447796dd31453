"""Workers as processes of this machine."""

from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from hallo_cli.batch.processes import Process
from hallo_cli.batch.renderer import JobRenderer
from hallo_cli.batch.worker import work
from hallo_cli.batch.worker_pool import Pool, slot_names


class LocalPool(Pool):
    """One process a slot; `devices` may name one device several times."""

    def __init__(
        self, make_renderer: Callable[[str], JobRenderer], devices: Sequence[str], logs: Path
    ) -> None:
        self._make_renderer, self._logs = make_renderer, logs
        self._devices = dict(zip(slot_names(devices), devices, strict=True))
        super().__init__(self._devices)

    def start(self, slot: str) -> Process:
        """See Pool."""
        return Process(slot, work, self._make_renderer, self._devices[slot], self.log(slot))

    def ready(self, timeout_s: float) -> list[str]:
        """See Pool."""
        slots = {worker.connection: slot for slot, worker in self._workers.items()}
        return [slots[connection] for connection in wait(list(slots), timeout_s)]

    def log(self, slot: str) -> Path:
        """See Pool."""
        return self._logs / f"{slot.replace(':', '-')}.log"
