"""Reading ahead keeps the order, the bound, the errors and its thread, and ends when its reader does."""

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from hallo_cli.inference.ahead import Threads, ahead


def heavy(item: int) -> bool:
    return item >= 0


def counted(items: list[int], made: list[int]) -> Iterator[int]:
    for item in items:
        made.append(item)
        yield item


def wait_until(condition) -> None:
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert condition()


def test_items_come_in_order() -> None:
    items = [-1, 0, -1, -1, 1, 2, -1]
    assert list(ahead(iter(items), Threads(), is_heavy=heavy)) == items


def test_items_are_made_while_the_reader_works() -> None:
    made: list[int] = []
    reader = ahead(counted([0, -1, -2, 1], made), Threads(), is_heavy=heavy)
    assert next(reader) == 0
    wait_until(lambda: made == [0, -1, -2, 1])
    reader.close()


def test_no_more_heavy_items_wait_than_were_asked_for() -> None:
    made: list[int] = []
    reader = ahead(counted(list(range(10)), made), Threads(), is_heavy=heavy, n_waiting=1)
    assert next(reader) == 0
    wait_until(lambda: made == [0, 1])
    time.sleep(0.05)
    assert made == [0, 1]
    assert next(reader) == 1
    wait_until(lambda: made == [0, 1, 2])
    reader.close()


def test_error_comes_behind_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 0
        raise ValueError("broken")

    reader = ahead(failing(), Threads(), is_heavy=heavy)
    assert next(reader) == 0
    with pytest.raises(ValueError, match="broken"):
        next(reader)


def test_reader_that_stops_waits_for_the_item_in_hand_alone() -> None:
    made: list[int] = []
    reader = ahead(counted(list(range(10)), made), Threads(), is_heavy=heavy)
    next(reader)
    reader.close()
    so_far = len(made)
    assert so_far <= 3
    time.sleep(0.02)
    assert len(made) == so_far


def thread_of() -> Iterator[int]:
    yield threading.get_ident()


def failing() -> Iterator[int]:
    yield threading.get_ident()
    raise ValueError


def test_one_reader_after_the_other_gets_the_same_thread() -> None:
    threads = Threads()
    first, second, third = (list(ahead(thread_of(), threads, is_heavy=heavy)) for _ in range(3))
    assert first == second == third != [threading.get_ident()]


def test_thread_outlives_a_failure() -> None:
    threads = Threads()
    reader = ahead(failing(), threads, is_heavy=heavy)
    first = next(reader)
    with pytest.raises(ValueError):  # noqa: PT011
        next(reader)
    assert list(ahead(thread_of(), threads, is_heavy=heavy)) == [first]


def test_two_readers_at_once_do_not_wait_for_each_other() -> None:
    threads = Threads()
    outer = ahead(iter([0, 1, 2, 3]), threads, is_heavy=heavy)
    assert next(outer) == 0
    assert list(ahead(iter([4, 5]), threads, is_heavy=heavy)) == [4, 5]
    assert list(outer) == [1, 2, 3]


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_threads_end_when_nobody_holds_them() -> None:
    gc.collect()
    wait_until(lambda: not alive())
    threads = Threads()
    list(ahead(iter([0, 1]), threads, is_heavy=heavy))
    assert len(alive()) == 1
    del threads
    wait_until(lambda: not alive())


class Item:
    """Something that can be watched."""


def test_idle_thread_keeps_nothing_of_what_it_made() -> None:
    threads, item = Threads(), Item()
    watched = weakref.ref(item)
    list(ahead(iter([item]), threads, is_heavy=lambda item: True))
    del item
    assert watched() is None


def test_reader_that_is_left_open_does_not_keep_the_program_from_ending() -> None:
    code = (
        "from hallo_cli.inference.ahead import Threads, ahead\n"
        "threads = Threads()\n"
        "reader = ahead(iter(range(9)), threads, is_heavy=lambda item: True)\n"
        "print(next(reader))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "0\n"
