"""What a run tells: events for whoever draws progress, log.jsonl for tools, TensorBoard on request."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hallo_cli.errors import SettingsError


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
class Saved:
    """A checkpoint was written."""

    step: int
    checkpoint: Path


TrainingEvent = Logged | Validated | Rendered | Saved


class LogFiles:
    """Writes events to OUTPUT/log.jsonl and, where asked for, OUTPUT/tensorboard."""

    def __init__(self, output: Path, *, tensorboard: bool) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._file = open(output / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._board: Any = _board(output / "tensorboard") if tensorboard else None

    def write(self, event: TrainingEvent) -> None:
        """One line, flushed, and one point a number."""
        values = {key: str(v) if isinstance(v, Path) else v for key, v in asdict(event).items()}
        self._file.write(json.dumps({"event": type(event).__name__.lower(), **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for key, value in values.items():
                if isinstance(value, float):
                    self._board.add_scalar(key, value, event.step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            "run.tensorboard needs TensorBoard: pip install 'hallo-cli[tensorboard]', or set it to false"
        ) from error
    return SummaryWriter(str(folder))
