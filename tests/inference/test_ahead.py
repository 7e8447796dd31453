"""Reading ahead keeps the order, the bound and the errors, and ends when its reader does."""

import threading
import time
from collections.abc import Iterator

import pytest

from hallo_cli.inference.ahead import ahead


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
    assert list(ahead(iter(items), is_heavy=heavy)) == items


def test_items_are_made_while_the_reader_works() -> None:
    made: list[int] = []
    reader = ahead(counted([0, -1, -2, 1], made), is_heavy=heavy)
    assert next(reader) == 0
    wait_until(lambda: made == [0, -1, -2, 1])
    reader.close()


def test_no_more_heavy_items_wait_than_were_asked_for() -> None:
    made: list[int] = []
    reader = ahead(counted(list(range(10)), made), is_heavy=heavy, n_waiting=1)
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

    reader = ahead(failing(), is_heavy=heavy)
    assert next(reader) == 0
    with pytest.raises(ValueError, match="broken"):
        next(reader)


def test_reader_that_stops_leaves_no_thread_behind() -> None:
    made: list[int] = []
    reader = ahead(counted(list(range(10)), made), is_heavy=heavy)
    next(reader)
    reader.close()
    assert len(made) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
