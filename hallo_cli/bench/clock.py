"""Times a device's work: stages, waiting for each one, and steps, without waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import torch

T = TypeVar("T")


def now(device: torch.device) -> float:
    """The time in seconds (from an arbitrary zero) after the device has finished its queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


@dataclass
class Clock:
    """Seconds by stage, the device's work included."""

    device: torch.device
    times: dict[str, list[float]] = field(default_factory=dict)

    def time(self, stage: str, work: Callable[[], T]) -> T:
        """Run the work and record its time."""
        start = now(self.device)
        result = work()
        self.times[stage] = [now(self.device) - start]
        return result


class Marks:
    """Time stamps in a device's work.

    On CUDA they are events, so that the host need not wait; other devices are synchronised.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[torch.cuda.Event] = []
        self._times: list[float] = []

    def set(self) -> None:
        """Mark the end of the work queued so far."""
        if self._device.type != "cuda":
            self._times.append(now(self._device))
            return
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        # By default it is the current device's stream, which need not be that of the device timed here.
        event.record(torch.cuda.current_stream(self._device))
        self._events.append(event)

    def seconds(self) -> list[float]:
        """Seconds from each mark to the next, after the device has reached the last one."""
        now(self._device)
        between = [before.elapsed_time(after) / 1e3 for before, after in pairwise(self._events)]
        return between + [after - before for before, after in pairwise(self._times)]
