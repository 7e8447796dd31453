"""Workers as actors of a Ray cluster: one model replica each; paths, not frames, travel between machines.

Portraits, recordings and outputs lie on storage that every machine sees under the same path, or at addresses.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from hallo_cli.batch.failure import attempt
from hallo_cli.batch.local_pool import slot_names
from hallo_cli.batch.task import (
    Advanced,
    Began,
    Broken,
    Died,
    Ended,
    Message,
    Rendered,
    Renderer,
    Task,
    Up,
)
from hallo_cli.errors import HalloError, SettingsError
from hallo_cli.jobs.runner import StopRequest

_MAX_TASK_RETRIES = 3  # after an actor's node is lost; rows resume from their last clip
_PREPARED = 3  # rows whose analysis an actor keeps: one more than it is given at a time
_POLL_S = 0.2
_log = logging.getLogger(__name__)


class _Actor:
    """What runs on a machine of the cluster; made a Ray actor by `RayPool`."""

    def __init__(self, make_renderer: Callable[[str], Renderer], device: str) -> None:
        self._make_renderer = make_renderer
        self._device = device
        self._renderer: Renderer | None = None
        self._loading, self._preparing = threading.Lock(), threading.Lock()
        self._before = ThreadPoolExecutor(1, "prepare")
        self._prepared: dict[Task, Future[object]] = {}  # the current row and those to come
        self._stop = StopRequest()
        self._news: list[Message] = []

    def load_weights(self) -> Message:
        """Load the weights, or report why that failed."""
        try:
            self._loaded()
        except HalloError as error:
            return Broken(type(error).__name__, str(error), error.exit_status)
        return Up()

    def expect(self, task: Task) -> None:
        """Prepare one of the next rows, in parallel with `run`."""
        self._begin(task)

    def run(self, task: Task) -> Message:
        """Render and measure one row."""
        return Ended(task.number, attempt(str(task), partial(self._run, task)))

    def news(self) -> list[Message]:
        """The events since the last call; runs in parallel with `run`."""
        news, self._news = self._news, []
        return news

    def stop(self) -> None:
        """Finish the current clip."""
        self._stop.ask()

    def _run(self, task: Task) -> Rendered:
        prepared = self._begin(task).result()
        self._news.append(Began(task.number, "render"))
        rendered = self._loaded().render(
            task,
            prepared,
            report=lambda done, of: self._news.append(Advanced(task.number, done, of)),
            stop=self._stop,
        )
        self._news.append(Began(task.number, "measure"))
        return self._loaded().measure(task, rendered)

    def _begin(self, task: Task) -> Future[object]:
        """The row's preparation; `expect` and `run` may come in either order, it is begun once."""
        with self._preparing:
            future = self._prepared.pop(task, None) or self._before.submit(self._prepare, task)
            self._prepared[task] = future  # the last one is forgotten last
            while len(self._prepared) > _PREPARED:
                del self._prepared[next(iter(self._prepared))]
            return future

    def _prepare(self, task: Task) -> object:
        self._news.append(Began(task.number, "prepare"))
        return self._loaded().prepare(task)

    def _loaded(self) -> Renderer:
        """The renderer, made once; an actor that was restarted on another machine makes it here."""
        with self._loading:
            if self._renderer is None:
                self._renderer = self._make_renderer(self._device)
            return self._renderer


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
        self._calls: dict[Any, tuple[str, Task | None]] = {}  # what each future will answer, in order
        self._news: dict[Any, str] = {}
        for slot in self.slots:
            self._start(slot)

    def send(self, slot: str, task: Task) -> None:
        """Give the slot's actor a row; Ray keeps those that wait in line."""
        self._aside(slot, "expect").remote(task)
        self._calls[self._actors[slot].run.remote(task)] = (slot, task)

    def wait(self, timeout_s: float) -> list[tuple[str, Message]]:
        """The actors' messages; an actor that Ray could not restart counts as dead."""
        deadline = time.monotonic() + timeout_s
        while True:
            messages = self._collect_news()
            ready, _ = self._ray.wait(
                list(self._calls), num_returns=len(self._calls), timeout=min(timeout_s, _POLL_S)
            )
            messages += [answer for future in ready for answer in self._answers(future)]
            if messages or time.monotonic() >= deadline:
                return messages

    def stop(self) -> None:
        """Ask all actors to finish the current clip."""
        for slot in self._actors:
            self._aside(slot, "stop").remote()

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
            max_restarts=-1,
            max_task_retries=_MAX_TASK_RETRIES,
            concurrency_groups={"aside": 1},
            scheduling_strategy="SPREAD",
        )
        # Ray shows an actor only its own GPUs, so that the first one is always its own.
        self._actors[slot] = remote(_Actor).remote(self._make_renderer, "cuda" if gpus else device)
        self._calls[self._actors[slot].load_weights.remote()] = (slot, None)

    def _aside(self, slot: str, method: str) -> Any:
        """A method that runs in parallel with `run` and is not repeated after a restart."""
        return getattr(self._actors[slot], method).options(concurrency_group="aside", max_task_retries=0)

    def _collect_news(self) -> list[tuple[str, Message]]:
        """Fetch progress without waiting; empty if an actor does not answer."""
        for slot in self._actors:
            if slot not in self._news.values():
                self._news[self._aside(slot, "news").remote()] = slot
        if not self._news:
            return []
        ready, _ = self._ray.wait(list(self._news), num_returns=len(self._news), timeout=0)
        messages: list[tuple[str, Message]] = []
        for future in ready:
            slot = self._news.pop(future)
            try:
                messages += [(slot, message) for message in self._ray.get(future)]
            except self._ray.exceptions.RayError as error:
                _log.debug("no news from %s: %s", slot, error)
        return messages

    def _answers(self, future: Any) -> list[tuple[str, Message]]:
        slot, _ = self._calls.get(future, ("", None))
        if slot not in self._actors:  # replaced meanwhile, or broken
            self._calls.pop(future, None)
            return []
        try:
            message: Message = self._ray.get(future)
        except self._ray.exceptions.RayError as error:
            return self._bury(slot, str(error).splitlines()[0])
        del self._calls[future]
        if isinstance(message, Broken):
            self._ray.kill(self._actors.pop(slot))
        return [(slot, message)]

    def _bury(self, slot: str, reason: str) -> list[tuple[str, Message]]:
        """Replace an actor; its other calls fail too and are forgotten, as their rows go back.

        If it died before it reported which row it had begun, that is the first row it was given.
        """
        tasks = [task for name, task in self._calls.values() if name == slot and task is not None]
        begun: list[tuple[str, Message]] = [(slot, Began(task.number, "prepare")) for task in tasks[:1]]
        self._calls = {future: call for future, call in self._calls.items() if call[0] != slot}
        self._news = {future: name for future, name in self._news.items() if name != slot}
        self._ray.kill(self._actors[slot])
        self._start(slot)
        return [*begun, (slot, Died(reason))]


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise SettingsError("--engine ray needs Ray: pip install 'hallo-cli[ray]'.") from error
    return ray
