"""A run of a few steps with toy networks, and what became of it."""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from training.toy import write_network, write_takes

from hallo_cli.training.checkpoint import RunFolder
from hallo_cli.training.config import (
    DataSettings,
    ObjectiveSettings,
    OptimizerSettings,
    RunSettings,
    StartSettings,
    TrainingConfig,
)


def toy_run(tmp_path: Path) -> TrainingConfig:
    """Four steps of stage 1."""
    return TrainingConfig(
        run=RunSettings(
            tmp_path / "run", steps=4, device="cpu", ema_decay=0.9, checkpoint_every=100, log_every=1
        ),
        start=StartSettings(network=write_network(tmp_path)),
        data=DataSettings(write_takes(tmp_path / "shards"), held_out=2, takes=2, frames=3),
        objective=ObjectiveSettings(
            audio=True, train=("reference", "spatial", "locator", "audio", "audio_projection")
        ),
        optimizer=OptimizerSettings(lr=1e-3, warmup=3, schedule="cosine"),
    )


def weights(config: TrainingConfig, name: str = "networks") -> dict[str, torch.Tensor]:
    checkpoint = RunFolder(config.run.output).latest()
    assert checkpoint is not None
    return load_file(checkpoint / f"{name}.safetensors")


def elsewhere(config: TrainingConfig, name: str, **changes: object) -> TrainingConfig:
    output = config.run.output.with_name(name)
    return replace(config, run=replace(config.run, output=output, **changes))  # type: ignore[arg-type]


def stopping_after(steps: int):  # type: ignore[no-untyped-def]
    asked = iter([False] * steps)
    return lambda: next(asked, True)
