"""What a run may cost and when it must end, and which rows fit into that."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Budget:
    """Limits of a run."""

    compute_s: float = math.inf  # of all workers together
    ends: float = math.inf  # seconds since the epoch


@dataclass
class Allowance:
    """A budget and what is used of it. The times of finished rows correct the predictions."""

    budget: Budget = field(default_factory=Budget)
    clock: Callable[[], float] = time.time
    used_s: float = 0.0
    predicted_s: float = 0.0  # of the rows that used it
    promised: dict[int, float] = field(default_factory=dict)  # predicted, of the current rows, by number

    def fits(self, cost: float, *, ahead_s: float) -> bool:
        """Whether a row of this predicted cost may begin, after `ahead_s` of other work on its worker."""
        needed = (sum(self.promised.values()) + cost) * self._error
        ends = self.clock() + (ahead_s + cost) * self._error
        return self.used_s + needed <= self.budget.compute_s and ends <= self.budget.ends

    def promise(self, number: int, cost: float) -> None:
        """Note that a row begins."""
        self.promised[number] = cost

    def note_end(self, number: int, used_s: float) -> None:
        """Note that a row ended after this compute time; 0 if unknown."""
        cost = self.promised.pop(number, 0.0)
        if used_s:
            self.used_s += used_s
            self.predicted_s += cost

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return self.clock() >= self.budget.ends

    @property
    def _error(self) -> float:
        """The time that rows took / the time predicted."""
        return self.used_s / self.predicted_s if self.predicted_s else 1.0
