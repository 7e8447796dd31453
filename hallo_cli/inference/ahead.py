"""Runs an iterator in a thread of its own, so far ahead of its reader as a bound allows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    error: BaseException | None


@dataclass(frozen=True)
class _Item(Generic[T]):
    value: T


def ahead(items: Iterator[T], *, is_heavy: Callable[[T], bool], n_waiting: int = 1) -> Generator[T]:
    """The items in order, made in another thread while the reader works on earlier ones.

    Besides the item that the reader works on, at most `n_waiting` heavy ones wait, for each is memory; light
    ones are not counted. What making an item raises is raised here in its place. A reader that stops early
    (closing this generator) waits until the item in hand is made; no further one is begun.
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

    maker = threading.Thread(target=make, name="ahead", daemon=True)
    maker.start()
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
        maker.join()
