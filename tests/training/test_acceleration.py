"""Optimizers that accelerate keeps: files, refusals, resuming; slow: DeepSpeed itself, if it is installed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from training.toy_runs import elsewhere, stopping_after, toy_run, weights

import hallo_cli
from hallo_cli.errors import SettingsError
from hallo_cli.training.acceleration import require_deepspeed, tell_deepspeed
from hallo_cli.training.config import RunSettings, TrainingConfig
from hallo_cli.training.loop import Trainer, train

ZERO2 = Path(hallo_cli.__file__).parent / "training/recipes/zero2.yaml"


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    torch.set_num_threads(1)
    return toy_run(tmp_path)


@pytest.fixture(autouse=True)
def accelerate_begins_anew() -> Iterator[None]:
    yield
    AcceleratorState._reset_state(reset_partial_state=True)  # its number format is the process's


@pytest.fixture
def accelerate_keeps_the_optimizer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under DeepSpeed; accelerate writes and reads the state of any optimizer."""
    monkeypatch.setattr("hallo_cli.training.acceleration.is_partitioned", lambda accelerator: True)


def deepspeed(zero_stage: int = 2) -> SimpleNamespace:
    plugin = SimpleNamespace(zero_stage=zero_stage, deepspeed_config={"zero_optimization": {}})
    return SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin))


def test_shipped_file_is_one_of_accelerate() -> None:
    read = load_config_from_file(str(ZERO2))
    assert read.distributed_type == DistributedType.DEEPSPEED
    assert read.deepspeed_config["zero_stage"] == 2


@pytest.mark.usefixtures("accelerate_keeps_the_optimizer")
def test_resumed_run_equals_an_uninterrupted_one(config: TrainingConfig) -> None:
    config = replace(config, run=replace(config.run, mixed_precision="bf16", validate_every=2))
    parts = elsewhere(config, "parts")
    train(config, "stage1")
    train(parts, "stage1", should_stop=stopping_after(2))
    assert train(parts, "stage1").is_finished
    ours, theirs = weights(parts), weights(config)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert {value.dtype for value in ours.values()} == {torch.float32}
    checkpoint = max((parts.run.output / "checkpoints").iterdir())
    assert (checkpoint / "accelerate").is_dir()
    assert not (checkpoint / "optimizer.safetensors").exists()


@pytest.mark.usefixtures("accelerate_keeps_the_optimizer")
def test_weights_lie_as_deepspeed_reads_them(config: TrainingConfig) -> None:
    # It sends their bytes as they lie; channels_last would be an error there.
    assert all(value.is_contiguous() for value in Trainer(config, "stage1").module.parameters())


@pytest.mark.usefixtures("accelerate_keeps_the_optimizer")
def test_networks_compute_in_the_runs_number_format(config: TrainingConfig) -> None:
    config = replace(config, run=replace(config.run, mixed_precision="bf16"))
    seen = []
    trainer = Trainer(config, "stage1")
    trainer.module.denoising_unet.conv_in.register_forward_hook(lambda *found: seen.append(found[2].dtype))
    trainer.run(lambda event: None, lambda: False)
    assert set(seen) == {torch.bfloat16}


@pytest.mark.usefixtures("accelerate_keeps_the_optimizer")
def test_another_number_of_processes_is_refused(config: TrainingConfig) -> None:
    train(config, "stage1", should_stop=stopping_after(1))
    (parts,) = config.run.output.glob("checkpoints/*/accelerate")
    shutil.copy(parts / "random_states_0.pkl", parts / "random_states_1.pkl")
    with pytest.raises(SettingsError, match=r"was written by 2 processes .* --num_processes 2"):
        train(config, "stage1")


def test_checkpoint_of_the_other_kind_is_refused(
    config: TrainingConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train(config, "stage1", should_stop=stopping_after(1))
    monkeypatch.setattr("hallo_cli.training.acceleration.is_partitioned", lambda accelerator: True)
    with pytest.raises(SettingsError, match="was written without DeepSpeed"):
        train(config, "stage1")


def test_missing_deepspeed_is_named(config: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr("hallo_cli.training.acceleration.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="pip install deepspeed"):
        train(config, "stage1")


@pytest.mark.parametrize(
    ("device", "number_format", "told"),
    [
        ("cpu", "no", "needs GPUs, but run.device is"),
        ("auto", "no", "needs GPUs, but torch sees no CUDA device"),
        ("cuda", "fp16", 'set it to "bf16"'),
    ],
)
def test_what_deepspeed_cannot_run_on_is_named(
    monkeypatch: pytest.MonkeyPatch, device: str, number_format: Literal["no", "fp16"], told: str
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setattr("hallo_cli.training.acceleration.find_spec", lambda name: object())
    monkeypatch.setattr("torch.cuda.is_available", lambda: device == "cuda")
    with pytest.raises(SettingsError, match=told):
        require_deepspeed(RunSettings(Path("run"), device=device, mixed_precision=number_format))


def test_deepspeed_is_told_the_runs_values(config: TrainingConfig) -> None:
    accelerator = deepspeed()
    tell_deepspeed(accelerator, config)
    told = accelerator.state.deepspeed_plugin.deepspeed_config
    assert told["train_micro_batch_size_per_gpu"] == config.data.takes
    assert told["gradient_clipping"] == config.optimizer.clip_norm
    assert not told["bf16"]["enabled"]


def test_what_deepspeed_cannot_do_is_refused(config: TrainingConfig) -> None:
    with pytest.raises(SettingsError, match="set it to 1 or 2"):
        tell_deepspeed(deepspeed(zero_stage=3), config)
    several = replace(config, run=replace(config.run, accumulation=2))
    with pytest.raises(SettingsError, match=r"run\.accumulation = 2"):
        tell_deepspeed(deepspeed(), several)


ON_PROCESSORS = """
import sys
from accelerate.state import PartialState
from accelerate.utils import DistributedType
PartialState._prepare_backend = lambda self, cpu, *_: ("gloo", DistributedType.MULTI_CPU)
from hallo_cli.training import acceleration
acceleration.require_deepspeed = lambda run: None
from hallo_cli.cli.app import main
main()
"""  # accelerate gives DeepSpeed no backend there
RUN = """
start.network = "{network}"
data = {{shards = "{shards}", held_out = 2, takes = 2, frames = 4}}
optimizer.lr = 1e-2

[run]
output = "run"
steps = 4
mixed_precision = "bf16"
ema_decay = 0.9
checkpoint_every = 2
validate_every = 2
"""


@pytest.mark.slow
def test_deepspeed_splits_and_resumes_a_second_stage(config: TrainingConfig, tmp_path: Path) -> None:
    pytest.importorskip("deepspeed")
    (tmp_path / "hallo.py").write_text(ON_PROCESSORS)
    (tmp_path / "run.toml").write_text(RUN.format(network=config.start.network, shards=config.data.shards))
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(ZERO2)]
    command = [*launch, "--num_processes", "2", "hallo.py", "train", "stage2", "--config", "run.toml"]
    checkpoints = tmp_path / "run/checkpoints"
    ends = []
    for _ in range(2):
        subprocess.run(command, cwd=tmp_path, check=True, timeout=900)
        ends.append(load_file(checkpoints / "step-00000004/networks.safetensors"))
        assert len(list(checkpoints.glob("step-00000004/accelerate/random_states_*.pkl"))) == 2
        (states,) = checkpoints.glob("step-00000004/accelerate/pytorch_model/*_model_states.pt")
        kept = torch.load(states, weights_only=False)["module"]
        assert any("audio_modules" in name for name in kept)
        assert not any("reference_unet" in name for name in kept)  # what does not learn is in one file only
        shutil.rmtree(checkpoints / "step-00000004")
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    logged = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [event["step"] for event in logged if event["event"] == "validated"] == [2, 4, 4]
