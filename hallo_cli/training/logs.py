"""What a run reports: events for progress displays, log.jsonl for tools, TensorBoard on request."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hallo_cli.errors import HalloError, SettingsError
from hallo_cli.store.opening import handle_to_append
from hallo_cli.store.writing import make_folder, reporting_write_errors
from hallo_cli.training.checkpoint import Progress
from hallo_cli.training.config import RunSettings
from hallo_cli.training.optimizer import share_done


@dataclass(frozen=True)
class Logged:
    """The mean over the steps since the last one logged."""

    step: int
    n_steps: int
    loss: float
    gradient_norm: float
    learning_rate: float
    frames_per_s: float
    minutes: float  # trained in all
    share: float  # of the run that is done, by steps or minutes, whichever ends it first
    minutes_left: float  # at the speed so far


@dataclass(frozen=True)
class Validated:
    """The loss over the held-out takes, always with the same noise."""

    step: int
    validation_loss: float


@dataclass(frozen=True)
class Rendered:
    """Held-out takes were rendered."""

    step: int
    sheet: Path  # rows: true, rendered, true, rendered, ...
    clip: Path | None  # the same as a video; None on single frames
    opening_correlation: float | None  # of the mouth's opening with the true one; None: too few faces seen


@dataclass(frozen=True)
class Spoken:
    """The pictures and recordings of validation.pairs were rendered."""

    step: int
    folder: Path  # of pair-1.mp4, pair-2.mp4, ...
    n_videos: int


@dataclass(frozen=True)
class Saved:
    """A checkpoint was written."""

    step: int
    checkpoint: Path


TrainingEvent = Logged | Validated | Rendered | Spoken | Saved


def to_json(event: TrainingEvent) -> str:
    """One line: the event's name, its fields."""
    return json.dumps({"event": type(event).__name__.lower(), **asdict(event)}, default=str)


class LogWindow:
    """The steps since the last log line; numbers stay on the device until the line is written."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []

    def add(self, loss: Tensor, gradient_norm: Tensor) -> None:
        """Take in the next step."""
        self._losses.append(loss)
        self._norms.append(gradient_norm)

    def require_finite(self, progress: Progress) -> None:
        """Raise HalloError if a loss is not finite: such weights must not replace good ones."""
        loss = torch.stack(self._losses).mean().item() if self._losses else 0.0
        if not math.isfinite(loss):
            raise HalloError(
                f"the loss is {loss} at step {progress.step}: lower optimizer.lr, or train in float32 or "
                "bf16. The last checkpoint is from before that."
            )

    def logged(self, progress: Progress, run: RunSettings, rate: float, frames_a_step: int) -> Logged:
        """The line. Raises HalloError if the loss is not finite."""
        self.require_finite(progress)
        n_steps = len(self._losses)
        minutes, share = progress.seconds / 60, share_done(run, progress)
        return Logged(
            step=progress.step,
            n_steps=n_steps,
            loss=torch.stack(self._losses).mean().item(),
            gradient_norm=torch.stack(self._norms).float().mean().item(),
            learning_rate=rate,
            frames_per_s=n_steps * frames_a_step / (time.perf_counter() - self._started),
            minutes=minutes,
            share=share,
            minutes_left=minutes * (1 - share) / share,
        )


@contextmanager
def log_files(output: Path, *, tensorboard: bool) -> Iterator[Callable[[TrainingEvent], None]]:
    """Writes events to OUTPUT/log.jsonl, a line each, and, where asked for, OUTPUT/tensorboard."""
    make_folder(output)
    with reporting_write_errors(output / "log.jsonl"):
        handle = handle_to_append(output / "log.jsonl")
    with ExitStack() as opened:
        file = opened.enter_context(os.fdopen(handle, "a", encoding="utf-8"))
        board = opened.enter_context(_board(output / "tensorboard")) if tensorboard else None

        def write(event: TrainingEvent) -> None:
            file.write(to_json(event) + "\n")
            file.flush()
            if board is not None:
                for key, value in asdict(event).items():
                    if isinstance(value, float):
                        board.add_scalar(key, value, event.step)

        yield write


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            "run.tensorboard needs TensorBoard: pip install 'hallo-cli[tensorboard]', or set it to false"
        ) from error
    return SummaryWriter(str(folder))
