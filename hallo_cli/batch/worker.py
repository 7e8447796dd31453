"""A worker: prepares the next row while it renders one and measures the one before.

It knows no manifest and no ledger; its process ends as soon as its parent has ended for any reason.
"""

import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from hallo_cli.batch.failure import Failure, attempt
from hallo_cli.batch.processes import DEVICE_LOST
from hallo_cli.batch.renderer import JobRenderer, Ready
from hallo_cli.batch.task import Advanced, Began, Broken, Ended, Message, Rendered, Task, Up
from hallo_cli.errors import HalloError, Interrupted, PrintableFormatter
from hallo_cli.jobs.runner import StopRequest
from hallo_cli.store.opening import handle_to_append
from hallo_cli.store.writing import make_own_folder, reporting_write_errors


def work(connection: Connection, make_renderer: Callable[[str], JobRenderer], device: str, log: Path) -> None:
    """The body of a worker process: serve tasks from the connection until it closes."""
    _redirect_output(log)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    serve(_Connected(connection), make_renderer, device)


class Channel(Protocol):
    """What connects a worker with its pool; usable from several threads."""

    def send(self, message: Message) -> None:
        """Tell the pool."""

    def receive(self) -> Task | str:
        """Wait for a row, or for the word to stop."""

    def leave(self) -> None:
        """End this process, whose messages have been received by then."""


def serve(channel: Channel, make_renderer: Callable[[str], JobRenderer], device: str) -> None:
    """Load the weights, then serve rows until the process ends; return if there is nothing to serve with."""
    try:
        renderer = make_renderer(device)
    except HalloError as error:
        channel.send(Broken(type(error).__name__, str(error), error.exit_status))
        return
    channel.send(Up())
    _Worker(channel, renderer).serve()


class _Connected:
    """The channel of a process: its connection to the parent; ends the process if the parent is gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, message: Message) -> None:
        with self._lock:
            try:
                self._connection.send(message)
            except OSError:
                os._exit(1)

    def receive(self) -> Task | str:
        try:
            received: Task | str = self._connection.recv()
        except (OSError, EOFError):
            os._exit(1)
        return received

    def leave(self) -> None:
        os._exit(0)


class _Worker:
    def __init__(self, channel: Channel, renderer: JobRenderer) -> None:
        self._channel = channel
        self._renderer = renderer
        self._inbox: queue.SimpleQueue[tuple[Task, Future[Ready]]] = queue.SimpleQueue()
        self._before = ThreadPoolExecutor(1, "prepare")
        self._after = ThreadPoolExecutor(1, "measure")
        self._stop = StopRequest()

    def serve(self) -> None:
        threading.Thread(target=self._receive, name="receive", daemon=True).start()
        while True:
            task, prepared = self._inbox.get()
            rendered = attempt(str(task), partial(self._render, task, prepared))
            if isinstance(rendered, Failure):
                self._end(task, rendered)
            else:
                self._after.submit(self._measure, task, rendered)

    def _receive(self) -> None:
        while True:
            received = self._channel.receive()
            if isinstance(received, Task):
                self._inbox.put((received, self._before.submit(self._prepare, received)))
            else:
                self._stop.ask()

    def _prepare(self, task: Task) -> Ready:
        self._began(task, "prepare")
        prepared = self._renderer.prepare(task)
        self._began(task, "wait")
        return prepared

    def _render(self, task: Task, prepared: Future[Ready]) -> Rendered:
        if self._stop.exit_status is not None:
            raise Interrupted("stopped before it began")
        value = prepared.result()
        self._began(task, "render")
        return self._renderer.render(
            task,
            value,
            report=lambda done, of: self._channel.send(Advanced(task.number, done, of)),
            stop=self._stop,
        )

    def _measure(self, task: Task, rendered: Rendered) -> None:
        self._began(task, "measure")
        self._end(task, attempt(str(task), partial(self._renderer.measure, task, rendered)))

    def _began(self, task: Task, stage: str) -> None:
        self._channel.send(Began(task.number, stage, _log_size()))

    def _end(self, task: Task, result: Rendered | Failure) -> None:
        """Tell the parent, and exit if only a new process can continue."""
        if isinstance(result, Failure) and result.is_device_lost:
            sys.stderr.flush()
            os._exit(DEVICE_LOST)
        is_leaving = isinstance(result, Failure) and result.is_out_of_memory
        self._channel.send(Ended(task.number, result, is_leaving))
        if is_leaving:
            self._channel.leave()


def _log_size() -> int:
    sys.stderr.flush()
    return os.fstat(2).st_size


def _redirect_output(log: Path) -> None:
    """Send everything this process prints, native libraries included, to its log."""
    make_own_folder(log.parent)
    with reporting_write_errors(log):
        file = handle_to_append(log)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    faulthandler.enable()
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("hallo_cli").setLevel(logging.INFO)
