"""Workers as actors of a Ray cluster: one model replica each; paths, not frames, travel between machines.

Portraits, recordings and outputs lie on storage that every machine sees under the same path, or at addresses.
"""

import logging
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hallo_cli.batch.local_pool import slot_names
from hallo_cli.batch.task import Broken, Died, Ended, Message, Renderer, Task
from hallo_cli.batch.worker import serve
from hallo_cli.errors import SettingsError

_POLL_S = 5.0  # that an actor waits for something to say


class _Actor:
    """A worker on a machine of the cluster, and its channel; made a Ray actor by `RayPool`."""

    def __init__(self, make_renderer: Callable[[str], Renderer], device: str) -> None:
        self._inbox: queue.SimpleQueue[Task | str] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        threading.Thread(target=self._serve, args=(make_renderer, device), daemon=True).start()

    def give(self, message: Task | str) -> None:
        """Hand the worker a row, or the word to stop."""
        self._inbox.put(message)

    def messages(self) -> list[Message]:
        """What the worker says, at once or after a while; runs in parallel with `give`."""
        try:
            found = [self._outbox.get(timeout=_POLL_S)]
        except queue.Empty:
            return []
        while not self._outbox.empty():
            found.append(self._outbox.get())
        return found

    def send(self, message: Message) -> None:
        """See worker.Channel."""
        self._outbox.put(message)

    def receive(self) -> Task | str:
        """See worker.Channel."""
        return self._inbox.get()

    def leave(self) -> None:
        """Wait for `RayPool`, which ends an actor when it has its last message."""
        threading.Event().wait()

    def _serve(self, make_renderer: Callable[[str], Renderer], device: str) -> None:
        try:
            serve(self, make_renderer, device)
        except BaseException:  # noqa: BLE001 - as a process of its own would end
            traceback.print_exc()
            os._exit(1)


class RayPool:
    """One actor a slot. `devices` may be cpu, cuda, auto, or shares of a GPU such as gpu:0.5."""

    def __init__(
        self, make_renderer: Callable[[str], Renderer], devices: Sequence[str], *, address: str = ""
    ) -> None:
        self._ray = _import_ray()
        self._began_here = not self._ray.is_initialized()
        if self._began_here:
            self._connect(address)
        self.slots = tuple(slot_names([f"ray-{device}" for device in devices]))
        self._make_renderer = make_renderer
        self._devices = dict(zip(self.slots, devices, strict=True))
        self._actors: dict[str, Any] = {}
        self._polls: dict[Any, str] = {}  # the slot that each awaited answer is of
        for slot in self.slots:
            self._start(slot)

    def send(self, slot: str, task: Task) -> None:
        """Give the slot's actor a row."""
        self._actors[slot].give.remote(task)

    def wait(self, timeout_s: float) -> list[tuple[str, Message]]:
        """The actors' messages; an actor that died is replaced after its last message."""
        ready, _ = self._ray.wait(list(self._polls), timeout=timeout_s)
        ready, _ = self._ray.wait(list(self._polls), num_returns=len(self._polls), timeout=0)
        return [(slot, message) for future in ready for slot, message in self._answers(future)]

    def stop(self) -> None:
        """Ask all actors to finish the current clip."""
        for actor in self._actors.values():
            actor.give.remote("stop")

    def log(self, slot: str) -> Path | None:
        """Ray keeps the logs, on the machines they were written on."""
        return None

    def close(self) -> None:
        """End all actors now."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        if self._began_here:
            self._ray.shutdown()

    def _connect(self, address: str) -> None:
        try:
            self._ray.init(address=address or None, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise SettingsError(f"--address {address!r}: no Ray cluster answers there: {error}.") from error

    def _start(self, slot: str) -> None:
        device = self._devices[slot]
        gpus = float(device[4:]) if device.startswith("gpu:") else float(device.startswith("cuda"))
        remote = self._ray.remote(
            num_cpus=1,
            num_gpus=gpus,
            concurrency_groups={"aside": 1},
            scheduling_strategy="SPREAD",
        )
        # Ray shows an actor only its own GPUs, so that the first one is always its own.
        self._actors[slot] = remote(_Actor).remote(self._make_renderer, "cuda" if gpus else device)
        self._poll(slot)

    def _poll(self, slot: str) -> None:
        """Ask for the slot's next messages."""
        messages = self._actors[slot].messages.options(concurrency_group="aside")
        self._polls[messages.remote()] = slot

    def _answers(self, future: Any) -> Iterator[tuple[str, Message]]:
        slot = self._polls.pop(future)
        try:
            messages: list[Message] = self._ray.get(future)
        except self._ray.exceptions.RayError as error:
            messages = [Died(str(error).splitlines()[0])]
        yield from ((slot, message) for message in messages)
        last = messages[-1] if messages else None
        if isinstance(last, Broken):
            self._ray.kill(self._actors.pop(slot))
        elif isinstance(last, Died):
            self._replace(slot)
        elif isinstance(last, Ended) and last.is_leaving:
            yield slot, Died("it ended to free its memory")
            self._replace(slot)
        else:
            self._poll(slot)

    def _replace(self, slot: str) -> None:
        self._ray.kill(self._actors[slot])
        self._start(slot)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise SettingsError("--engine ray needs Ray: pip install 'hallo-cli[ray]'.") from error
    return ray
