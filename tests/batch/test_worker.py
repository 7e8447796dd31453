"""What a worker does beside rendering."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from unittest.mock import ANY, MagicMock

import pytest
from batch_doubles import batch_of, write_batch
from job_doubles import TrivialEngine

from hallo_cli.batch import worker
from hallo_cli.batch.failure import attempt
from hallo_cli.batch.local_pool import LocalPool
from hallo_cli.batch.ray_pool import _Actor, _Remote
from hallo_cli.batch.renderer import JobRenderer, Ready
from hallo_cli.batch.run import opened
from hallo_cli.batch.task import Began, Died, Ended, Message, Rendered, Task, Up
from hallo_cli.errors import DeviceMemoryError, JobError
from hallo_cli.jobs.runner import StopRequest

PATIENCE_S = 20.0  # before a test that waits for another thread fails


def tasks_of(manifest: Path) -> tuple[JobRenderer, list[Task]]:
    """A renderer and the tasks of a manifest's rows, none of them rendered."""
    batch = batch_of(manifest)
    with opened(batch) as open_batch:
        list(open_batch.check())
        tasks = list(iter(open_batch.queue.take, None))
    return batch.renderer("cpu"), tasks


class Overlapping:
    """Renders each row only once the next one has been prepared: deadlocks unless both go on at once."""

    def __init__(self, renderer: JobRenderer, n_rows: int) -> None:
        self._renderer = renderer
        self._prepared = threading.Semaphore(0)
        self._n_left = n_rows
        self.waited: list[bool] = []

    def prepare(self, task: Task) -> object:
        ready = self._renderer.prepare(task)
        assert isinstance(ready, Ready)
        assert ready.inputs is not None
        assert ready.inputs.speech is not None
        self._prepared.release()
        return ready

    def render(
        self, task: Task, prepared: object, *, report: Callable[[int, int], None], stop: StopRequest
    ) -> Rendered:
        self._n_left -= 1
        self._prepared.acquire(timeout=PATIENCE_S)  # this row
        if self._n_left:
            self.waited.append(self._prepared.acquire(timeout=PATIENCE_S))  # the next one
            self._prepared.release()
        return self._renderer.render(task, prepared, report=report, stop=stop)

    def measure(self, task: Task, rendered: Rendered) -> Rendered:
        return rendered


class Channel:
    """A connection to a parent in this process."""

    def __init__(self) -> None:
        self.inbox: Queue[Task] = Queue()
        self.said: Queue[Message] = Queue()

    def send(self, message: Message) -> None:
        self.said.put(message)

    def receive(self) -> Task:
        return self.inbox.get()


def test_next_row_is_decoded_and_analysed_while_one_is_rendered(tmp_path: Path) -> None:
    renderer, tasks = tasks_of(write_batch(tmp_path, ["a", "b", "c"]))
    overlapping = Overlapping(renderer, len(tasks))
    channel = Channel()
    threading.Thread(target=worker._Worker(channel, overlapping).serve, daemon=True).start()
    for task in tasks:
        channel.inbox.put(task)
    results = []
    while len(results) < len(tasks):
        message = channel.said.get(timeout=PATIENCE_S)
        if isinstance(message, Ended):
            results.append(message.result)
    assert all(isinstance(result, Rendered) for result in results)
    assert overlapping.waited == [True, True]


def test_actor_of_a_cluster_serves_rows_as_a_process_does(tmp_path: Path) -> None:
    renderer, (task,) = tasks_of(write_batch(tmp_path, ["a"]))
    actor = _Actor(lambda device: renderer, "cpu")
    assert actor.message() == Up()
    actor.give(task)
    said = list(iter(actor.message, Ended(task.number, ANY)))
    assert [began.stage for began in said if isinstance(began, Began)] == [
        *("prepare", "wait", "render", "measure"),
    ]
    assert task.output.exists()


def test_row_that_kills_its_actor_before_a_word_of_it_counts_as_begun(tmp_path: Path) -> None:
    _, (first, second) = tasks_of(write_batch(tmp_path, ["a", "b"]))
    ray, actor = MagicMock(), MagicMock()
    ray.exceptions.RayError = OSError
    ray.get.side_effect = [Up(), OSError("the actor died"), OSError("the actor died")]
    remote = _Remote(ray, actor)
    assert remote.receive() == Up()
    remote.send(first)
    remote.send(second)
    assert remote.receive() == Began(first.number, "prepare")
    assert remote.receive() == Died("the actor died")


def test_actor_that_cannot_start_says_why() -> None:
    def fail(device: str) -> JobRenderer:
        raise ImportError("no torch")

    assert _Actor(fail, "cpu").message() == Died("ImportError: no torch")


def test_row_that_is_done_is_not_analysed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renderer, (task,) = tasks_of(write_batch(tmp_path, ["a"]))
    renderer.render(task, renderer.prepare(task), report=lambda done, of: None, stop=StopRequest())
    monkeypatch.setattr(TrivialEngine, "track", None)
    ready = renderer.prepare(task)
    assert isinstance(ready, Ready)
    assert ready.inputs is None


@pytest.mark.parametrize(
    ("error", "flags"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), {"is_device_lost"}),
        (DeviceMemoryError("out of memory"), {"is_out_of_memory"}),
        (OSError(28, "No space left on device"), {"ends_batch"}),
        (ZeroDivisionError("division by zero"), set()),
    ],
)
def test_failure_says_what_can_be_done_about_it(error: Exception, flags: set[str]) -> None:
    def fail() -> None:
        raise error

    failure = attempt("row 1 (a)", fail)
    assert failure is not None
    assert failure.kind == type(error).__name__
    assert {name for name, value in vars(failure).items() if value is True} == flags


def end_at_once(device: str) -> JobRenderer:
    os._exit(9)


def test_worker_that_cannot_be_started_ends_the_batch_at_the_third_try(tmp_path: Path) -> None:
    pool = LocalPool(end_at_once, ["cpu"], tmp_path)
    assert [pool.wait(PATIENCE_S) for _ in range(2)] == [[("cpu", Died("it ended with status 9"))]] * 2
    with pytest.raises(JobError, match="3 times in a row"):
        pool.wait(PATIENCE_S)
    pool.close()
