"""Runs an iterator in another thread, so far ahead of its reader as a bound allows."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class _Task(NamedTuple):
    work: Callable[[], None]  # raises nothing
    is_done: threading.Event


_Inbox = SimpleQueue[_Task | None]  # of one thread; None: there will be no more work


class Threads:
    """Threads that wait for more work when theirs is done: cuDNN plans its kernels again in every new thread.

    They end when this object is deleted, and never keep the program alive.
    """

    def __init__(self) -> None:
        self._idle: deque[_Inbox] = deque()
        weakref.finalize(self, _dismiss, self._idle).atexit = False

    def run(self, work: Callable[[], None]) -> threading.Event:
        """Begin work, which must not raise, in an idle thread or else a new one; the event: it is done."""
        task = _Task(work, threading.Event())
        try:
            inbox = self._idle.pop()
        except IndexError:
            inbox = SimpleQueue()
            threading.Thread(target=_serve, args=(inbox, self._idle), name="ahead", daemon=True).start()
        inbox.put(task)
        return task.is_done


def _serve(inbox: _Inbox, idle: deque[_Inbox]) -> None:
    while (task := inbox.get()) is not None:
        work, is_done = task
        work()
        del task, work  # an idle thread must keep nothing of its work in memory
        idle.append(inbox)  # before anybody is told, who would else start another thread
        is_done.set()


def _dismiss(idle: deque[_Inbox]) -> None:
    for inbox in idle:
        inbox.put(None)


@dataclass(frozen=True)
class _End:
    error: BaseException | None


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


def ahead(
    items: Iterator[T], threads: Threads, *, is_heavy: Callable[[T], bool], n_waiting: int = 1
) -> Generator[T]:
    """The items in order, made in one of the threads while the reader works on earlier ones.

    Besides the item that the reader works on, at most `n_waiting` heavy ones wait, for each is memory; light
    ones are not counted. What making an item raises is raised here in its place. A reader that stops early
    (closing this generator) waits until the current item is made; no further one is begun.
    """
    made: SimpleQueue[_Item[T] | _End] = SimpleQueue()
    room = threading.Semaphore(n_waiting)
    is_over = threading.Event()

    def make() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                made.put(_Item(item))
                if is_heavy(item):
                    room.acquire()
                if is_over.is_set():
                    break
        except BaseException as caught:  # noqa: BLE001 - the reader raises it
            error = caught
        made.put(_End(error))

    is_made = threads.run(make)
    try:
        while isinstance(entry := made.get(), _Item):
            yield entry.value
            if is_heavy(entry.value):
                room.release()
        if entry.error is not None:
            raise entry.error
    finally:
        is_over.set()
        room.release()
        is_made.wait()
