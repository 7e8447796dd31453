"""The table of the results that a row can have, and how rows are counted from it."""

from dataclasses import dataclass

# The last status of a row in the ledger, and the result that it counts as.
STATES = {
    "done": "done",
    "warn": "done",  # rendered, the quality gate warns
    "fail": "failed",  # rendered, the quality gate refuses it
    "error": "failed",
    "quarantined": "failed",
    "invalid": "refused",  # cannot be rendered
    "pending": "pending",  # to be rendered again: it changed, or is tried again
    "removed": "",  # no longer a row of the batch
}
RENDERED = frozenset(("done", "warn", "fail"))  # a complete video is at its final path


@dataclass(frozen=True)
class Counts:
    """How many rows a batch has, and their results."""

    rows: int
    done: int = 0
    failed: int = 0
    refused: int = 0

    @property
    def pending(self) -> int:
        """Rows without a result yet."""
        return self.rows - self.done - self.failed - self.refused

    def __str__(self) -> str:
        """As in "7 of 12 rows done, 2 failed, 1 refused, 2 pending"."""
        others = {"failed": self.failed, "refused": self.refused, "pending": self.pending}
        parts = [f"{n} {name}" for name, n in others.items() if n]
        return ", ".join([f"{self.done} of {self.rows} {'row' if self.rows == 1 else 'rows'} done", *parts])
