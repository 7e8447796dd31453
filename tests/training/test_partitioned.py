"""Optimizers that accelerate keeps: files, refusals, resuming. DeepSpeed itself is not run here."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from training.toy_runs import elsewhere, stopping_after, toy_run, weights

import hallo_cli
from hallo_cli.errors import SettingsError
from hallo_cli.training.config import TrainingConfig
from hallo_cli.training.loop import train
from hallo_cli.training.partitioned import tell_deepspeed

ZERO2 = Path(hallo_cli.__file__).parent / "training/recipes/zero2.yaml"


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    torch.set_num_threads(1)
    return toy_run(tmp_path)


@pytest.fixture
def accelerate_keeps_the_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under DeepSpeed; accelerate writes and reads the state of any optimizer."""
    monkeypatch.setattr("hallo_cli.training.partitioned.is_partitioned", lambda accelerator: True)


def deepspeed(zero_stage: int = 2) -> SimpleNamespace:
    plugin = SimpleNamespace(zero_stage=zero_stage, deepspeed_config={"zero_optimization": {}})
    return SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin))


def test_shipped_file_is_one_of_accelerate() -> None:
    read = load_config_from_file(str(ZERO2))
    assert read.distributed_type == DistributedType.DEEPSPEED
    assert read.deepspeed_config["zero_stage"] == 2


@pytest.mark.usefixtures("accelerate_keeps_the_optimizer")
def test_resumed_run_equals_an_uninterrupted_one(config: TrainingConfig) -> None:
    parts = elsewhere(config, "parts")
    train(config, "stage1")
    train(parts, "stage1", should_stop=stopping_after(2))
    assert train(parts, "stage1").is_finished
    ours, theirs = weights(parts), weights(config)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    checkpoint = max((parts.run.output / "checkpoints").iterdir())
    assert (checkpoint / "accelerate").is_dir()
    assert not (checkpoint / "optimizer.safetensors").exists()


def test_checkpoint_of_the_other_kind_is_refused(
    config: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(config, "stage1", should_stop=stopping_after(1))
    monkeypatch.setattr("hallo_cli.training.partitioned.is_partitioned", lambda accelerator: True)
    with pytest.raises(SettingsError, match="was written without DeepSpeed"):
        train(config, "stage1")


def test_missing_deepspeed_is_named(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr("hallo_cli.training.partitioned.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="pip install deepspeed"):
        train(config, "stage1")


def test_deepspeed_is_told_the_runs_values(config: TrainingConfig) -> None:
    accelerator = deepspeed()
    tell_deepspeed(accelerator, config)
    told = accelerator.state.deepspeed_plugin.deepspeed_config
    assert told["train_micro_batch_size_per_gpu"] == config.data.takes
    assert told["gradient_clipping"] == config.optimizer.clip_norm


def test_what_deepspeed_cannot_do_is_refused(config: TrainingConfig) -> None:
    with pytest.raises(SettingsError, match="set it to 1 or 2"):
        tell_deepspeed(deepspeed(zero_stage=3), config)
    several = replace(config, run=replace(config.run, accumulation=2))
    with pytest.raises(SettingsError, match=r"run\.accumulation = 2"):
        tell_deepspeed(deepspeed(), several)
