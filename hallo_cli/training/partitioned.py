"""Optimizers that are split over processes (DeepSpeed's ZeRO): accelerate writes and reads their parts."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import DistributedType

from hallo_cli.errors import SettingsError
from hallo_cli.store.writing import reporting_write_errors
from hallo_cli.training.config import TrainingConfig

PARTS = "accelerate"  # the folder in a checkpoint
ZERO_STAGES = (1, 2)  # stage 3 also splits the weights


def is_partitioned(accelerator: Accelerator) -> bool:
    """Whether no process has the whole optimizer."""
    return accelerator.distributed_type is DistributedType.DEEPSPEED


def require_deepspeed() -> None:
    """Raise SettingsError if the launch asks for DeepSpeed and it is not installed."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true" and find_spec("deepspeed") is None:
        raise SettingsError(
            "the launch asks for DeepSpeed, which is not installed: pip install deepspeed, "
            "or launch without --config_file"
        )


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
    }


def write_parts(accelerator: Accelerator, folder: Path) -> Path:
    """Every process's part, in a folder that a checkpoint can take in; all processes call it."""
    if accelerator.is_main_process:
        with reporting_write_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(folder))
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
    """The inverse of `write_parts`, once networks and optimizer are prepared."""
    accelerator.load_state(str(checkpoint / PARTS))
