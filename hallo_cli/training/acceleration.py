"""The accelerator of a run: which device, which number format, how many processes; random numbers on it."""

from __future__ import annotations

import hashlib
import os

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast
from torch import Tensor

from hallo_cli.errors import SettingsError
from hallo_cli.training.config import RunSettings
from hallo_cli.training.partitioned import require_deepspeed

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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
