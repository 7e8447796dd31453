"""Records what ran when on which thread, where somebody asks for it; otherwise it costs nothing.

The spans are the host's: on a GPU a step's span is the time it takes to hand the work over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Span:
    """One piece of work."""

    name: str
    thread: str
    start_s: float  # of a clock with an arbitrary zero
    stop_s: float


_recorded: list[Span] | None = None


@contextmanager
def span(name: str) -> Iterator[None]:
    """Note the time that the block takes."""
    spans = _recorded
    if spans is None:
        yield
        return
    start = time.perf_counter()
    try:
        yield
    finally:
        spans.append(Span(name, threading.current_thread().name, start, time.perf_counter()))


@contextmanager
def recording() -> Iterator[list[Span]]:
    """Collect the spans of all threads while the block runs; one recording at a time."""
    global _recorded  # noqa: PLW0603
    assert _recorded is None
    spans: list[Span] = []
    _recorded = spans
    try:
        yield spans
    finally:
        _recorded = None


def shared_s(spans: Sequence[Span], some: Collection[str], others: Collection[str]) -> float:
    """Seconds in which a span named in `some` and one named in `others` ran at the same time."""
    edges = [(s.start_s, 1, s.name) for s in spans] + [(s.stop_s, -1, s.name) for s in spans]
    running, total, before = {True: 0, False: 0}, 0.0, 0.0
    for now, change, name in sorted(edges):
        if all(running.values()):
            total += now - before
        before = now
        if name in some or name in others:
            running[name in some] += change
    return total


def total_s(spans: Sequence[Span], names: Collection[str]) -> float:
    """Seconds in spans of these names, added up."""
    return sum(s.stop_s - s.start_s for s in spans if s.name in names)


def to_chrome(spans: Sequence[Span]) -> dict[str, Any]:
    """The spans as chrome://tracing and ui.perfetto.dev read them (JSON)."""
    zero = min((s.start_s for s in spans), default=0.0)
    threads = {name: number for number, name in enumerate(sorted({s.thread for s in spans}))}
    names = [
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": name}}
        for name, number in threads.items()
    ]
    events = [
        {
            "ph": "X",
            "name": s.name,
            "pid": 1,
            "tid": threads[s.thread],
            "ts": (s.start_s - zero) * 1e6,
            "dur": (s.stop_s - s.start_s) * 1e6,
        }
        for s in spans
    ]
    return {"traceEvents": names + events, "displayTimeUnit": "ms"}
