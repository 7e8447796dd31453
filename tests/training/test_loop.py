"""The loop: it learns, it resumes to the same numbers, it says what is wrong."""

import itertools
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from training.toy import KL_NETWORK, NETWORK, write_network, write_takes
from training.toy_runs import elsewhere, stopping_after, toy_run, weights

from hallo_cli.errors import HalloError, SettingsError, WeightsError
from hallo_cli.media.video import read_frames
from hallo_cli.models.autoencoder import build_autoencoder
from hallo_cli.training.checkpoint import Progress, RunFolder
from hallo_cli.training.config import (
    DropSettings,
    ObjectiveSettings,
    OptimizerSettings,
    RunSettings,
    StartSettings,
    TrainingConfig,
)
from hallo_cli.training.logs import Logged, Rendered, TrainingEvent
from hallo_cli.training.loop import train
from hallo_cli.training.optimizer import learning_rate
from hallo_cli.training.trials import write_clip


@pytest.fixture(autouse=True)
def single_threaded() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def config(tmp_path: Path) -> TrainingConfig:
    return toy_run(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> TrainingConfig:
    """A run of stage 1 that has ended; for tests that only read it."""
    torch.set_num_threads(1)
    run = toy_run(tmp_path_factory.mktemp("finished"))
    train(run, "stage1")
    return run


def clips(config: TrainingConfig) -> TrainingConfig:
    return replace(
        config, data=replace(config.data, frames=4), objective=ObjectiveSettings(), start=config.start
    )


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    config: TrainingConfig, finished: TrainingConfig, stage: str
) -> None:
    whole = finished
    if stage == "stage2":
        config = whole = clips(config)
        train(whole, "stage2")
    parts = elsewhere(config, "parts")
    assert not train(parts, stage, should_stop=stopping_after(2)).is_finished  # type: ignore[arg-type]
    assert train(parts, stage).is_finished  # type: ignore[arg-type]
    for name in ("networks", "average", "optimizer"):
        ours, theirs = weights(parts, name), weights(whole, name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name


def test_a_run_with_moments_of_eight_bits_resumes_closely(config: TrainingConfig) -> None:
    pytest.importorskip("bitsandbytes", reason="needs the eight-bit extra")
    whole = replace(config, optimizer=replace(config.optimizer, bits=8))
    parts = elsewhere(whole, "parts")
    train(whole, "stage1")
    train(parts, "stage1", should_stop=stopping_after(2))
    assert train(parts, "stage1").is_finished
    start, ours, theirs = weights(parts, "average"), weights(parts), weights(whole)
    apart = [(ours[key] - theirs[key]).abs().max() for key in start]
    assert max(apart) < 0.5 * config.optimizer.lr  # rounding to 8 bits differs; a step is as long as the rate
    assert any(value.dtype == torch.uint8 for value in weights(whole, "optimizer").values())


def test_moments_of_eight_bits_name_the_missing_extra(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(HalloError, match=r"hallo-cli\[eight-bit\]"):
        train(replace(config, optimizer=replace(config.optimizer, bits=8)), "stage1")


def test_training_lowers_the_loss(config: TrainingConfig) -> None:
    losses: list[float] = []

    def note(event: TrainingEvent) -> None:
        if isinstance(event, Logged):
            losses.append(event.loss)

    longer = elsewhere(config, "longer", steps=20, log_every=10)
    train(replace(longer, optimizer=OptimizerSettings(lr=3e-3, warmup=1)), "stage1", on_event=note)
    assert losses[-1] < losses[0]


def test_stage_two_trains_only_motion_and_audio(config: TrainingConfig, finished: TrainingConfig) -> None:
    start = StartSettings(run=finished.run.output)
    second = replace(elsewhere(clips(config), "second", ema_decay=0.0), start=start)
    train(second, "stage2")
    before = weights(finished) | weights(finished, "average")
    changed = {name for name, value in weights(second).items() if not torch.equal(value, before[name])}
    assert changed
    assert all(
        ".motion_modules." in n or ".audio_modules." in n or n.startswith("audioproj") for n in changed
    )


def test_accumulated_batches_count_as_their_mean(config: TrainingConfig) -> None:
    """One step over batches 0 and 1: AdamW's first moment is a tenth of the mean of their gradients."""
    plain = replace(config, optimizer=OptimizerSettings(lr=1e-9, clip_norm=1e9, betas=(0.9, 0.99)))
    train(elsewhere(plain, "both", steps=1, accumulation=2), "stage1")
    # At that rate the weights stay what they were.
    train(elsewhere(plain, "single", steps=2, checkpoint_every=1), "stage1")
    both, first, single = (
        load_file(config.run.output.with_name(run) / "checkpoints" / step / "optimizer.safetensors")
        for run, step in (
            ("both", "step-00000001"),
            ("single", "step-00000001"),
            ("single", "step-00000002"),
        )
    )
    name = "exp_avg.denoising_unet.conv_out.bias"
    second = single[name] - 0.9 * first[name]
    torch.testing.assert_close(both[name], (first[name] + second) / 2, rtol=1e-3, atol=1e-7)


def test_run_stopped_before_its_first_step_begins_again(config: TrainingConfig) -> None:
    train(config, "stage1", should_stop=lambda: True)
    assert train(config, "stage1").progress.step == config.run.steps


def test_parts_without_gradients_yet_do_not_stop_a_resume(config: TrainingConfig) -> None:
    dropped = replace(config.objective, drops=DropSettings(image=1.0))
    without_images = elsewhere(replace(config, objective=dropped), "without_images")
    train(without_images, "stage1", should_stop=stopping_after(2))
    assert train(without_images, "stage1").is_finished


def test_other_trained_parts_are_refused_on_resuming(config: TrainingConfig) -> None:
    train(config, "stage1", should_stop=stopping_after(2))
    fewer = replace(config, objective=replace(config.objective, train=("reference", "spatial")))
    with pytest.raises(WeightsError, match="trained parts were changed"):
        train(fewer, "stage1")


def test_clips_are_as_long_as_the_networks_take_by_default(config: TrainingConfig) -> None:
    whole = replace(clips(config), data=replace(config.data, frames=0))
    train(elsewhere(whole, "whole", steps=1), "stage2")
    described = json.loads((config.run.output.with_name("whole") / "config.json").read_text())
    assert described["data"]["frames"] == NETWORK.clip_frames


@pytest.mark.parametrize("frames", [1, 7])
def test_clips_that_motion_modules_cannot_take_are_refused(config: TrainingConfig, frames: int) -> None:
    with pytest.raises(SettingsError, match="2 to 6 frames"):
        train(replace(clips(config), data=replace(config.data, frames=frames)), "stage2")


def test_weights_that_are_no_numbers_are_not_saved(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = elsewhere(config, "broken", checkpoint_every=1, log_every=100)
    monkeypatch.setattr(
        "hallo_cli.training.objective.velocity_loss", lambda prediction, *_: prediction.sum() * float("nan")
    )
    with pytest.raises(HalloError, match="the loss is nan at step 1"):
        train(broken, "stage1")
    assert RunFolder(broken.run.output).latest() is None


def test_checkpointing_activations_changes_no_number(
    config: TrainingConfig, finished: TrainingConfig
) -> None:
    frugal = elsewhere(config, "frugal", gradient_checkpointing=True)
    train(frugal, "stage1")
    ours, theirs = weights(frugal), weights(finished)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in ours)


def test_only_the_last_checkpoints_are_kept(config: TrainingConfig) -> None:
    train(elsewhere(config, "kept", checkpoint_every=1, keep_checkpoints=2), "stage1")
    kept = sorted(path.name for path in (config.run.output.with_name("kept") / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000004"]


def test_a_limit_in_time_ends_the_run_and_its_decay(
    config: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[TrainingEvent] = []
    ticks = itertools.count()
    monkeypatch.setattr(
        "hallo_cli.training.loop.time", SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    )
    result = train(elsewhere(config, "late", steps=10_000, max_minutes=0.1), "stage1", on_event=events.append)
    assert result.is_finished
    assert result.progress.step == 6  # of one tick each
    rates = [event.learning_rate for event in events if isinstance(event, Logged)]
    assert rates[-1] < max(rates)


def test_events_are_logged_as_json_lines(finished: TrainingConfig) -> None:
    lines = [json.loads(line) for line in (finished.run.output / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "logged"] == [1, 2, 3, 4]
    assert lines[-1]["event"] == "saved"


def test_held_out_takes_of_a_published_autoencoder_are_rendered(
    config: TrainingConfig, tmp_path: Path
) -> None:
    vae = build_autoencoder(KL_NETWORK)
    save_file(vae.state_dict(), tmp_path / "vae.safetensors")
    events: list[TrainingEvent] = []
    settings = replace(
        config.objective,
        timesteps="few_step",
        weighting="x0",
        regions=(0.1, 1.0, 4.0, 1.0),
        change_weight=0.5,
    )
    rendering = replace(
        config,
        objective=settings,
        start=StartSettings(network=write_network(tmp_path, KL_NETWORK), vae=tmp_path / "vae.safetensors"),
        data=replace(
            config.data,
            shards=write_takes(tmp_path / "latents", network=KL_NETWORK),
            balance_visemes=True,
        ),
        run=replace(config.run, output=tmp_path / "pixels", render_every=4, render_steps=2),
    )
    train(rendering, "stage1", on_event=events.append)
    (rendered,) = [event for event in events if isinstance(event, Rendered)]
    assert rendered.clip is None
    with Image.open(rendered.sheet) as sheet:
        assert sheet.size == (3 * 64, 2 * 2 * 64)  # frames across; takes, each true and rendered, down


def test_second_stage_learns_from_rough_motion_frames(config: TrainingConfig, tmp_path: Path) -> None:
    save_file(build_autoencoder(KL_NETWORK).state_dict(), tmp_path / "vae.safetensors")
    start = StartSettings(network=write_network(tmp_path, KL_NETWORK), vae=tmp_path / "vae.safetensors")
    shards = write_takes(tmp_path / "latents", network=KL_NETWORK)
    # New networks end in zeros: only with the rest of the UNet learning does motion reach the prediction.
    objective = ObjectiveSettings(train=("spatial", "motion"))
    plain = replace(
        clips(config), start=start, objective=objective, data=replace(clips(config).data, shards=shards)
    )
    rough = replace(
        elsewhere(plain, "rough"), objective=replace(objective, motion_thinning=0.25, motion_timesteps=50)
    )
    events: list[TrainingEvent] = []
    train(plain, "stage2")
    train(rough, "stage2", on_event=events.append)
    losses = [event.loss for event in events if isinstance(event, Logged)]
    assert len(losses) == 4
    assert np.isfinite(losses).all()
    ours, theirs = weights(rough), weights(plain)
    learnt = [name for name in ours if ".motion_modules." in name]
    assert any(not torch.equal(ours[name], theirs[name]) for name in learnt)


def test_thinning_without_an_autoencoder_is_refused(config: TrainingConfig) -> None:
    thinning = replace(clips(config), objective=ObjectiveSettings(motion_thinning=0.25))
    with pytest.raises(SettingsError, match=r"objective\.motion_thinning .* give start\.vae"):
        train(thinning, "stage2")


def test_held_out_takes_are_rendered_on_their_portraits(config: TrainingConfig, tmp_path: Path) -> None:
    save_file(build_autoencoder(NETWORK).state_dict(), tmp_path / "vae.safetensors")
    events: list[TrainingEvent] = []
    rendering = replace(
        config,
        start=replace(config.start, vae=tmp_path / "vae.safetensors"),
        run=replace(config.run, render_every=4, render_steps=1),
    )
    train(rendering, "stage1", on_event=events.append)
    (rendered,) = [event for event in events if isinstance(event, Rendered)]
    with Image.open(rendered.sheet) as sheet:
        assert sheet.size == (3 * 64, 2 * 2 * 64)


def test_thinning_with_an_anchored_autoencoder_is_refused(config: TrainingConfig, tmp_path: Path) -> None:
    save_file(build_autoencoder(NETWORK).state_dict(), tmp_path / "vae.safetensors")
    settings = replace(config.objective, motion_thinning=0.25)
    start = replace(config.start, vae=tmp_path / "vae.safetensors")
    with pytest.raises(SettingsError, match="anchored"):
        train(replace(config, objective=settings, start=start), "stage1")


def test_clips_are_rendered_as_a_video_too(tmp_path: Path) -> None:
    true = np.zeros((2, 5, 16, 16, 3), np.uint8)
    true[1] = 200
    write_clip(tmp_path / "step.mp4", true[::-1], true)
    frames = np.stack(list(read_frames(tmp_path / "step.mp4")))
    assert frames.shape == (5, 32, 32, 3)
    assert frames[:, 4, 4].max() < 20  # above as they were, the first take at the left
    assert frames[:, 28, 4].min() > 180


def test_another_runs_checkpoint_is_refused(config: TrainingConfig, finished: TrainingConfig) -> None:
    shutil.copytree(finished.run.output, config.run.output)
    other = replace(
        config, objective=ObjectiveSettings(train=("motion",)), data=replace(config.data, frames=4)
    )
    with pytest.raises(WeightsError, match="trained parts were changed"):
        train(other, "stage2")


def test_a_loss_that_is_not_finite_ends_the_run(config: TrainingConfig) -> None:
    wild = replace(config, optimizer=OptimizerSettings(lr=1e30, warmup=1, clip_norm=1e9))
    with pytest.raises(HalloError, match=r"lower optimizer\.lr"):
        train(elsewhere(wild, "wild", steps=50), "stage1")


def test_run_goes_on_from_a_named_checkpoint_of_another(
    config: TrainingConfig, finished: TrainingConfig
) -> None:
    whole = weights(finished)
    first = elsewhere(config, "first", steps=4)
    train(first, "stage1", should_stop=stopping_after(2))
    second = elsewhere(config, "second", resume_from=first.run.output / "checkpoints" / "step-00000002")
    result = train(second, "stage1")
    assert result.progress.step == 4
    assert all(torch.equal(value, whole[name]) for name, value in weights(second).items())


def test_checkpoint_to_resume_from_must_be_one(config: TrainingConfig) -> None:
    with pytest.raises(WeightsError, match=r"nothing is no checkpoint: name a folder such as"):
        train(elsewhere(config, "second", resume_from=config.run.output / "nothing"), "stage1")


def rates(**settings: object) -> list[float]:
    optimizer = OptimizerSettings(lr=1.0, **settings)  # type: ignore[arg-type]
    run = RunSettings(Path(), steps=8)
    return [learning_rate(optimizer, run, Progress(step=step)) for step in range(8)]


def test_rates_fall_as_diffusers_has_them() -> None:
    assert rates(schedule="polynomial", power=2.0) == pytest.approx([(1 - k / 8) ** 2 for k in range(8)])
    half = [0.5 + 0.5 * math.cos(math.pi * k / 4) for k in range(4)]
    assert rates(schedule="cosine_with_restarts", cycles=2) == pytest.approx(half + half)
    assert rates(schedule="linear") == pytest.approx(rates(schedule="polynomial"))
    assert rates(schedule="cosine_with_restarts") == pytest.approx(rates(schedule="cosine"))
