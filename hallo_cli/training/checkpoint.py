"""A run's folder: checkpoints that are complete or absent, and which of them to continue from.

    OUTPUT/config.json                          the run's settings, for people and for export
    OUTPUT/network.json                         the networks' configuration
    OUTPUT/log.jsonl                            one line a logged step
    OUTPUT/checkpoints/step-00001000/
        networks.safetensors                    all weights, under their published names
        average.safetensors                     their moving average, where one is kept (trained ones only)
        optimizer.safetensors                   AdamW's moments
        accelerate/                             instead, if they were split over processes (`acceleration`)
        state.json                              step, seconds trained, loss scale

Nothing random needs saving: every batch and every noise is a function of the seed and the step.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hallo_cli.errors import InputError, WeightsError
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.tensor_file import write_tensors
from hallo_cli.store.binding import bind
from hallo_cli.store.writing import (
    make_folder,
    rename,
    replacing_folder,
    reporting_write_errors,
    write_whole,
)
from hallo_cli.training.acceleration import PARTS

NETWORKS, AVERAGE, OPTIMIZER, STATE = (
    "networks.safetensors",
    "average.safetensors",
    "optimizer.safetensors",
    "state.json",
)


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int = 0
    seconds: float = 0.0  # of training, all sittings together
    loss_scale: float | None = None  # of float16 training
    trained: str = ""  # digest of the names of the parameters that learn; empty in old checkpoints


class RunFolder:
    """The folder of one run."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.checkpoints = output / "checkpoints"

    def latest(self) -> Path | None:
        """The newest complete checkpoint."""
        found = sorted(path for path in self.checkpoints.glob("step-*[0-9]") if (path / STATE).is_file())
        return found[-1] if found else None

    def checkpoint(self, step: int) -> Path:
        """The place of the checkpoint of that step."""
        return self.checkpoints / f"step-{step:08d}"

    def weights(self) -> dict[str, Tensor]:
        """All weights of the newest checkpoint, averaged ones where there are any. Raises WeightsError."""
        checkpoint = self.latest()
        if checkpoint is None:
            raise WeightsError(f"{self.output} has no checkpoint yet: train it first")
        averaged = read_tensors(checkpoint / AVERAGE) if (checkpoint / AVERAGE).is_file() else {}
        return read_tensors(checkpoint / NETWORKS) | averaged

    def write(
        self,
        files: Mapping[str, Mapping[str, Tensor]],
        progress: Progress,
        *,
        keep: int,
        parts: Path | None = None,
    ) -> None:
        """Write a checkpoint, then remove all but the last `keep`. Raises OutputError.

        parts: a folder beside the checkpoints that moves into this one.
        """
        with replacing_folder(self.checkpoint(progress.step)) as folder:
            for name, tensors in files.items():
                if tensors:
                    write_tensors(folder / name, tensors)
            if parts is not None:
                rename(parts, folder / PARTS)
            write_whole(folder / STATE, json.dumps(asdict(progress)).encode())
        for old in sorted(self.checkpoints.glob("step-*[0-9]"))[:-keep]:
            with reporting_write_errors(old):
                shutil.rmtree(old)

    def describe(self, config: Mapping[str, object], network: NetworkConfig) -> None:
        """Write down what the run is."""
        make_folder(self.output)
        for name, values in (("config.json", config), ("network.json", network.to_dict())):
            write_whole(self.output / name, json.dumps(values, indent=1).encode())

    def network(self) -> NetworkConfig:
        """The configuration of the run's networks. Raises InputError if this is no run's folder."""
        path = self.output / "network.json"
        try:
            return NetworkConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.output} is not a training run ({error}): give the run.output of one"
            ) from error


def read_progress(checkpoint: Path) -> Progress:
    """Raises WeightsError if there is no checkpoint or it is broken."""
    if not (checkpoint / STATE).is_file():
        raise WeightsError(
            f"{checkpoint} is no checkpoint: name a folder such as RUN/checkpoints/step-00001000"
        )
    try:
        return bind(Progress, json.loads((checkpoint / STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{checkpoint} is broken ({error}): remove it to resume from the one before"
        ) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A checkpoint's tensors by name, on the CPU. Raises WeightsError if the file is missing or broken."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path} is broken ({error}): remove the checkpoint to resume from another"
        ) from error


def restore(module: nn.Module, path: Path) -> None:
    """Load a checkpoint's weights into a module of the same shape. Raises WeightsError."""
    tensors = read_tensors(path)
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path} does not fit the networks of this run: {error}") from error


def names_digest(names: Iterable[str]) -> str:
    """The same for the same names in the same order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def require_same_names(progress: Progress, names: Iterable[str], checkpoint: Path) -> None:
    """Raise WeightsError if other parameters learnt before `progress` than learn now."""
    if progress.trained and progress.trained != names_digest(names):
        raise WeightsError(
            f"{checkpoint}: the run's trained parts were changed; start a new run from it (start.run)"
        )


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """AdamW's state, also of eight bits, under the parameters' names."""
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    found = {}
    for name, parameter in zip(names, parameters, strict=True):
        for kind, value in optimizer.state.get(parameter, {}).items():
            tensor = torch.as_tensor(value).detach().cpu()
            if tensor.shape != parameter.shape:  # tables of eight-bit moments are shared between parameters
                tensor = tensor.clone()
            found[f"{kind}.{name}"] = tensor if tensor.ndim else tensor.reshape(1)
    return found


@torch.no_grad()
def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], path: Path) -> None:
    """The inverse of `optimizer_tensors`; parameters without gradients have none. Raises WeightsError."""
    kept: dict[str, dict[str, Tensor]] = {}
    for key, value in read_tensors(path).items():
        kind, _, name = key.partition(".")
        kept.setdefault(name, {})[kind] = value
    parameters = [value for group in optimizer.param_groups for value in group["params"]]
    for name, parameter in zip(names, parameters, strict=True):
        if name in kept:
            optimizer.state[parameter] = {
                kind: _restored(kind, value, parameter) for kind, value in kept[name].items()
            }


def _restored(kind: str, value: Tensor, parameter: Tensor) -> Tensor | int:
    if kind == "step":  # bitsandbytes counts in whole numbers
        return value.reshape(()) if value.is_floating_point() else int(value)
    if value.shape == parameter.shape:
        # kernels need the moments in the parameter's own memory layout
        return torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    return value.to(parameter.device)
