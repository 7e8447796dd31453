"""What a run reports: events for progress displays, log.jsonl for tools, TensorBoard on request."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

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
    velocity: float
    pixels: float
    gradient_norm: float
    learning_rate: float
    frames_per_s: float
    minutes: float  # trained in all
    share: float  # of the run that is done, by steps or minutes, whichever ends it first
    minutes_left: float  # at the speed so far


@dataclass(frozen=True)
class Validated:
    """The losses over the held-out takes, always with the same noise."""

    step: int
    validation_loss: float
    validation_velocity: float
    validation_pixels: float


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


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step gave."""

    losses: Tensor  # [3] total, velocity, pixels
    gradient_norm: Tensor


class LogWindow:
    """The steps since the last log line; numbers stay on the device until the line is written."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._results: list[StepResult] = []

    def add(self, result: StepResult) -> None:
        """Take in the next step."""
        self._results.append(result)

    def require_finite(self, progress: Progress) -> None:
        """Raise HalloError if a loss is not finite: such weights must not replace good ones."""
        if not self._results:
            return
        loss = torch.stack([result.losses[0] for result in self._results]).mean().item()
        if not math.isfinite(loss):
            raise HalloError(
                f"the loss is {loss} at step {progress.step}: lower optimizer.lr, or train in float32 or "
                "bf16. The last checkpoint is from before that."
            )

    def logged(self, progress: Progress, run: RunSettings, rate: float, frames_a_step: int) -> Logged:
        """The line. Raises HalloError if the loss is not finite."""
        self.require_finite(progress)
        n_steps = len(self._results)
        loss, velocity, pixels = torch.stack([r.losses for r in self._results]).mean(0).tolist()
        minutes, share = progress.seconds / 60, share_done(run, progress)
        return Logged(
            step=progress.step,
            n_steps=n_steps,
            loss=loss,
            velocity=velocity,
            pixels=pixels,
            gradient_norm=torch.stack([r.gradient_norm for r in self._results]).float().mean().item(),
            learning_rate=rate,
            frames_per_s=n_steps * frames_a_step / (time.perf_counter() - self._started),
            minutes=minutes,
            share=share,
            minutes_left=minutes * (1 - share) / share,
        )


class LogFiles:
    """Writes events to OUTPUT/log.jsonl and, where asked for, OUTPUT/tensorboard."""

    def __init__(self, output: Path, *, tensorboard: bool) -> None:
        make_folder(output)
        with reporting_write_errors(output / "log.jsonl"):
            handle = handle_to_append(output / "log.jsonl")
        self._file = os.fdopen(handle, "a", encoding="utf-8")
        self._board: Any = _board(output / "tensorboard") if tensorboard else None

    def write(self, event: TrainingEvent) -> None:
        """One line, flushed, and one point a number."""
        self._file.write(to_json(event) + "\n")
        self._file.flush()
        if self._board is not None:
            for key, value in asdict(event).items():
                if isinstance(value, float):
                    self._board.add_scalar(key, value, event.step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            "run.tensorboard needs TensorBoard: pip install 'hallo-cli[tensorboard]', or set it to false"
        ) from error
    return SummaryWriter(str(folder))
