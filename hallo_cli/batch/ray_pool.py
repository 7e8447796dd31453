"""Workers as actors of a Ray cluster: one model replica each; paths, not frames, travel between machines.

Portraits, recordings and outputs lie on storage that every machine sees under the same path, or at addresses.
"""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from hallo_cli.batch.renderer import JobRenderer
from hallo_cli.batch.task import Began, Died, Ended, Message, Task
from hallo_cli.batch.worker import serve
from hallo_cli.batch.worker_pool import Pool, slot_names
from hallo_cli.errors import SettingsError


class _Actor:
    """A worker on a machine of the cluster, and its channel; made a Ray actor by `RayPool`."""

    def __init__(self, make_renderer: Callable[[str], JobRenderer], device: str) -> None:
        self._inbox: queue.SimpleQueue[Task | str] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        threading.Thread(target=self._serve, args=(make_renderer, device), daemon=True).start()

    def give(self, message: Task | str) -> None:
        """Hand the worker a row, or the word to stop."""
        self._inbox.put(message)

    def message(self) -> Message:
        """Wait for what the worker says next; runs in parallel with `give`."""
        return self._outbox.get()

    def send(self, message: Message) -> None:
        """See worker.Channel."""
        self._outbox.put(message)

    def receive(self) -> Task | str:
        """See worker.Channel."""
        return self._inbox.get()

    def leave(self) -> None:
        """Ask `RayPool` to end this actor, and wait for it."""
        self._outbox.put(Died("it ended to free its memory"))
        threading.Event().wait()

    def _serve(self, make_renderer: Callable[[str], JobRenderer], device: str) -> None:
        try:
            serve(self, make_renderer, device)
        except Exception as error:  # noqa: BLE001 - would end a process of this machine
            self._outbox.put(Died(f"{type(error).__name__}: {error}"))


class _Remote:
    """An actor, as its pool sees it."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self._given: list[int] = []  # numbers of rows that have not ended
        self.answer = self._ask()

    def send(self, message: Task | str) -> None:
        if isinstance(message, Task):
            self._given.append(message.number)
        self._actor.give.remote(message)

    def receive(self) -> Message:
        """The actor's next message; of a dead one, the row that it was given first, then its death.

        Its own word of the row that killed it may have died with it.
        """
        try:
            message: Message = self._ray.get(self.answer)
        except self._ray.exceptions.RayError as error:
            if self._given:
                first, self._given = self._given[0], []
                return Began(first, "prepare")
            return Died(str(error).splitlines()[0])
        if isinstance(message, Ended):
            self._given.remove(message.number)
        self.answer = self._ask()
        return message

    def kill(self) -> None:
        self._ray.kill(self._actor)

    def _ask(self) -> Any:
        """A future of the actor's next message."""
        return self._actor.message.options(concurrency_group="aside").remote()


class RayPool(Pool):
    """One actor a slot. `devices` may be cpu, cuda, auto, or shares of a GPU such as gpu:0.5."""

    def __init__(
        self, make_renderer: Callable[[str], JobRenderer], devices: Sequence[str], *, address: str = ""
    ) -> None:
        self._ray = _import_ray()
        self._began_here = not self._ray.is_initialized()
        if self._began_here:
            self._connect(address)
        self._make_renderer = make_renderer
        self._devices = dict(zip(slot_names([f"ray-{device}" for device in devices]), devices, strict=True))
        super().__init__(self._devices)

    def start(self, slot: str) -> _Remote:
        """See Pool."""
        device = self._devices[slot]
        gpus = float(device[4:]) if device.startswith("gpu:") else float(device.startswith("cuda"))
        remote = self._ray.remote(
            num_cpus=1, num_gpus=gpus, concurrency_groups={"aside": 1}, scheduling_strategy="SPREAD"
        )
        # Ray shows an actor only its own GPUs, so that the first one is always its own.
        return _Remote(self._ray, remote(_Actor).remote(self._make_renderer, "cuda" if gpus else device))

    def ready(self, timeout_s: float) -> list[str]:
        """See Pool."""
        slots = {worker.answer: slot for slot, worker in self._workers.items()}
        self._ray.wait(list(slots), timeout=timeout_s)  # for the first; then take all that are there
        answers, _ = self._ray.wait(list(slots), num_returns=len(slots), timeout=0)
        return [slots[answer] for answer in answers]

    def close(self) -> None:
        """See Pool."""
        super().close()
        if self._began_here:
            self._ray.shutdown()

    def _connect(self, address: str) -> None:
        try:
            self._ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SettingsError(f"--address {address!r}: no Ray cluster answers there: {error}.") from error


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise SettingsError("--engine ray needs Ray: pip install 'hallo-cli[ray]'.") from error
    return ray
