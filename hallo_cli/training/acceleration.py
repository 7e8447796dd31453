"""The accelerator of a run: device, number format, processes, and optimizers that are split over these.

DeepSpeed's ZeRO splits optimizers; accelerate writes and reads their parts. Weights stay float32 and torch's
mixed precision computes, as without DeepSpeed. DeepSpeed's own would keep weights of 16 bits, also in
checkpoints and in the moving average.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, DistributedType, broadcast
from torch import Tensor, nn

from hallo_cli.errors import SettingsError
from hallo_cli.store.writing import reporting_write_errors
from hallo_cli.training.config import RunSettings, TrainingConfig

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PARTS = "accelerate"  # the folder in a checkpoint
ZERO_STAGES = (1, 2)  # stage 3 also splits the weights


def make_accelerator(run: RunSettings) -> Accelerator:
    """Raises SettingsError where the device or DeepSpeed is not there."""
    require_deepspeed(run)
    device = run.device
    if device not in ("auto", "cpu") and not device.startswith("cuda"):
        raise SettingsError(f"run.device = {device!r} is not auto, cpu, cuda or cuda:N")
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise SettingsError(f"run.device = {device!r}, but torch sees no CUDA device: use auto or cpu")
        if ":" in device:
            torch.cuda.set_device(device)
    is_distributed = int(os.environ.get("WORLD_SIZE", "1")) > 1
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)] if is_distributed else []
    return Accelerator(
        mixed_precision=run.mixed_precision, cpu=device == "cpu", kwargs_handlers=list(handlers)
    )


def seeded(device: torch.device, seed: int, number: int) -> torch.Generator:
    """The random numbers of a batch, the same in each run of a seed."""
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def told_by_first(accelerator: Accelerator, value: float) -> float:
    """The first process's number: all of them stop at the same step and learn at the same rate."""
    if accelerator.num_processes == 1:
        return value
    told: Tensor = broadcast(torch.tensor([value], device=accelerator.device))
    return float(told.item())


def is_partitioned(accelerator: Accelerator) -> bool:
    """Whether no process has the whole optimizer."""
    return accelerator.distributed_type is DistributedType.DEEPSPEED


def require_deepspeed(run: RunSettings) -> None:
    """Raise SettingsError if the launch asks for DeepSpeed, and it or what it needs is not there."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() != "true":
        return
    if find_spec("deepspeed") is None:
        raise SettingsError(
            "the launch asks for DeepSpeed, which is not installed: pip install deepspeed, "
            "or launch without --config_file"
        )
    if run.device == "cpu" or not torch.cuda.is_available():
        found = 'run.device is "cpu"' if run.device == "cpu" else "torch sees no CUDA device"
        raise SettingsError(
            f"the launch asks for DeepSpeed, which needs GPUs, but {found}: launch without --config_file"
        )
    if run.mixed_precision == "fp16":
        raise SettingsError(
            'run.mixed_precision = "fp16" does not work with DeepSpeed here: set it to "bf16"'
        )


def autocast(accelerator: Accelerator, run: RunSettings) -> AbstractContextManager[Any]:
    """Computes in the run's number format what is not called through the prepared networks."""
    if not is_partitioned(accelerator):
        return accelerator.autocast()
    is_mixed = run.mixed_precision == "bf16"
    return torch.autocast(accelerator.device.type, torch.bfloat16, enabled=is_mixed)


class Mixed(nn.Module):
    """Networks that compute in the run's number format: DeepSpeed turns off an autocast around them."""

    def __init__(self, networks: nn.Module, accelerator: Accelerator, run: RunSettings) -> None:
        super().__init__()
        self.networks, self._accelerator, self._run = networks, accelerator, run

    def forward(self, *inputs: Any) -> Tensor:
        """What the networks predict, float32."""
        with autocast(self._accelerator, self._run):
            predicted: Tensor = self.networks(*inputs)
        return predicted.float()


def tell_deepspeed(accelerator: Accelerator, config: TrainingConfig) -> None:
    """Hand over what the run says of batches and gradients. Raises SettingsError at what cannot be had."""
    plugin = accelerator.state.deepspeed_plugin
    if plugin is None:
        return
    if config.run.accumulation != 1:
        raise SettingsError(
            f"run.accumulation = {config.run.accumulation}: DeepSpeed counts batches itself. "
            "Set it to 1, and use more data.takes or processes."
        )
    if plugin.zero_stage not in ZERO_STAGES:
        raise SettingsError(f"DeepSpeed's zero_stage is {plugin.zero_stage}: set it to 1 or 2")
    plugin.deepspeed_config |= {
        "train_micro_batch_size_per_gpu": config.data.takes,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": config.optimizer.clip_norm,
        "bf16": {"enabled": False},  # of weights; the networks compute in it by themselves
        "fp16": {"enabled": False},
    }


def write_parts(accelerator: Accelerator, folder: Path) -> Path:
    """Every process's part, in a folder that a checkpoint can take in; all processes call it."""
    if accelerator.is_main_process:
        with reporting_write_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
    accelerator.wait_for_everyone()
    # Weights that do not learn are in the checkpoint's own file, from which they were read.
    accelerator.save_state(str(folder), **_options(accelerator, exclude_frozen_parameters=True))
    accelerator.wait_for_everyone()
    return folder


def require_same_kind(accelerator: Accelerator, checkpoint: Path) -> bool:
    """Whether the run's optimizer is split. Raises SettingsError if the checkpoint's is the other way."""
    is_split = is_partitioned(accelerator)
    if (checkpoint / PARTS).is_dir() != is_split:
        wrote = "without" if is_split else "under"
        raise SettingsError(
            f"{checkpoint} was written {wrote} DeepSpeed: continue it the same way, "
            "or begin a new run with its weights (start.run)"
        )
    return is_split


def read_parts(accelerator: Accelerator, checkpoint: Path) -> None:
    """The inverse of `write_parts`, once networks and optimizer are prepared.

    Raises SettingsError if another number of processes wrote them.
    """
    n_written = len(list((checkpoint / PARTS).glob("random_states_*.pkl")))  # accelerate's, one a process
    if n_written != accelerator.num_processes:
        raise SettingsError(
            f"{checkpoint} was written by {n_written} processes and {accelerator.num_processes} run now: "
            f"launch with --num_processes {n_written}, or begin a new run with its weights (start.run)"
        )
    options = _options(accelerator, load_module_strict=False)  # without what does not learn
    accelerator.load_state(str(checkpoint / PARTS), **options)


def _options(accelerator: Accelerator, **options: bool) -> dict[str, bool]:
    """Options of DeepSpeed's checkpoints, where it writes them."""
    return options if accelerator.distributed_type is DistributedType.DEEPSPEED else {}
