"""The training loop of both stages, on accelerate: one CPU or GPU, or several GPUs under `accelerate launch`.

A run that was stopped continues from its last checkpoint exactly as if it had not been: batches, noise and
drops are functions of (seed, step), and all else is in the checkpoint.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast
from torch import Tensor

from hallo_cli.analysis.face import FaceAnalyser
from hallo_cli.errors import SettingsError
from hallo_cli.models.anchored import Anchor
from hallo_cli.models.attention import matmul_kernel, use_attention_kernel
from hallo_cli.models.autoencoder import Autoencoder
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.settings.binding import plain
from hallo_cli.training import partitioned
from hallo_cli.training.acceleration import DTYPES, make_accelerator
from hallo_cli.training.checkpoint import (
    AVERAGE,
    NETWORKS,
    OPTIMIZER,
    Progress,
    RunFolder,
    names_digest,
    optimizer_tensors,
    read_progress,
    read_tensors,
    require_same_names,
    restore,
    restore_optimizer,
)
from hallo_cli.training.config import DataSettings, Stage, TrainingConfig
from hallo_cli.training.dataset import Batch, BatchSource, chosen_takes, prefetched
from hallo_cli.training.forward import TrainedNetworks
from hallo_cli.training.init import network_config, start_networks
from hallo_cli.training.logs import (
    LogFiles,
    LogWindow,
    Rendered,
    Saved,
    Spoken,
    StepResult,
    TrainingEvent,
    Validated,
)
from hallo_cli.training.losses import Losses, LossFunction
from hallo_cli.training.optimizer import MovingAverage, choose_trained, learning_rate, make_optimizer
from hallo_cli.training.spoken import SpokenPairs, analyse_pairs
from hallo_cli.training.validation import (
    Rendering,
    opening_correlation,
    render_takes,
    write_clip,
    write_sheet,
)

VALIDATION_SEED = 20_240_613
FUSED_ATTENTION_DEVICES = ("cuda", "xpu")


@dataclass(frozen=True)
class TrainingResult:
    """Where a run stands."""

    output: Path
    progress: Progress
    is_finished: bool  # all steps or minutes are used up


def train(
    config: TrainingConfig,
    stage: Stage,
    *,
    on_event: Callable[[TrainingEvent], None] = lambda event: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Run a stage from the last checkpoint of config.run.output, or from config.start, to its end.

    `should_stop` is asked between steps; a run that stops writes a checkpoint first. Raises HalloError.
    """
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    trainer = Trainer(config, stage)
    with LogFiles(config.run.output, tensorboard=config.run.tensorboard) as logs:

        def report(event: TrainingEvent) -> None:
            if trainer.accelerator.is_main_process:
                logs.write(event)
                on_event(event)

        return trainer.run(report, should_stop)


class Trainer:
    """One run in memory."""

    def __init__(self, config: TrainingConfig, stage: Stage) -> None:
        network = network_config(config.start)
        config = replace(config, data=replace(config.data, frames=_frames(config.data, network, stage)))
        self.config, self.stage, self.folder = config, stage, RunFolder(config.run.output)
        self.accelerator = make_accelerator(config.run)
        self.device = self.accelerator.device
        takes, held_out = chosen_takes(config.data, network)
        self.source = BatchSource(takes, config.data, network=network, stage=stage, seed=config.run.seed)
        self.held_out = BatchSource(held_out, config.data, network=network, stage=stage, seed=VALIDATION_SEED)
        self.pairs = self._analysed_pairs(network)
        networks = self.networks = start_networks(config.start, seed=config.run.seed)
        self.module = TrainedNetworks(networks)
        self.trained = choose_trained(self.module, config.objective, stage)
        if not self.trained:
            raise SettingsError("objective.train names no part that these networks have")
        self._prepare_module()
        self.decode = self._decoder(networks.vae)
        self.losses = LossFunction(
            config.objective,
            network,
            stage,
            decode=self._loss_decoder(),
            encode=self._encoder(networks.vae),
        )
        self.optimizer = make_optimizer(self.trained.values(), config.optimizer)
        self.average = MovingAverage(self.trained, config.run.ema_decay) if config.run.ema_decay else None
        self.progress = Progress()
        partitioned.tell_deepspeed(self.accelerator, config)
        checkpoint = self._resume()
        wrapped = torch.compile(self.module) if config.run.compile else self.module
        self.model, self.stepper = self.accelerator.prepare(wrapped, self.optimizer)
        if checkpoint is not None and partitioned.is_partitioned(self.accelerator):
            partitioned.read_parts(self.accelerator, checkpoint)
        self._restore_loss_scale()
        if self.accelerator.is_main_process:
            self.folder.describe({"stage": stage, **plain(config)}, network)

    def run(self, report: Callable[[TrainingEvent], None], should_stop: Callable[[], bool]) -> TrainingResult:
        """Train to the end of the run, or until asked to stop."""
        run, saved_at = self.config.run, self.progress.step
        window = LogWindow()
        per_step = run.accumulation * self.accelerator.num_processes
        for batches in prefetched(
            self._step_batches, iter(range(self.progress.step, run.steps)), self._depth()
        ):
            if self._is_finished() or self._told_by_first(float(should_stop())):
                break
            started = time.perf_counter()
            rate = learning_rate(self.config.optimizer, run, self.progress)
            window.add(self._step(batches, rate))
            seconds = self._told_by_first(time.perf_counter() - started)
            self.progress = replace(
                self.progress, step=self.progress.step + 1, seconds=self.progress.seconds + seconds
            )
            step = self.progress.step
            if step % run.log_every == 0 or self._is_finished():
                frames = per_step * self.config.data.takes * self.config.data.frames
                report(window.logged(self.progress, run, rate, frames))
                window = LogWindow()
            if run.validate_every and step % run.validate_every == 0:
                report(self.validate())
            if run.render_every and step % run.render_every == 0 and self.accelerator.is_main_process:
                report(self.render())
                if self.pairs is not None:
                    report(self.speak(self.pairs))
            if step % run.checkpoint_every == 0:
                window.require_finite(self.progress)
                report(self.save())
                saved_at = step
        if saved_at != self.progress.step:
            window.require_finite(self.progress)
            report(self.save())
        return TrainingResult(run.output, self.progress, self._is_finished())

    @torch.no_grad()
    def validate(self) -> Validated:
        """The losses on held-out takes, with the averaged weights and always the same noise."""
        n_batches = max(1, len(self.held_out.takes) // self.config.data.takes)
        found = []
        with self._averaged(), self.accelerator.autocast():
            for number in range(n_batches):
                batch = self.held_out.batch(number).to(self.device)
                generator = _generator(self.device, VALIDATION_SEED, number)
                found.append(self.losses(self.module, batch, generator))
        total, velocity, pixels = (
            torch.stack([getattr(one, name) for one in found]).mean().item()
            for name in ("total", "velocity", "pixels")
        )
        return Validated(self.progress.step, total, velocity, pixels)

    def render(self) -> Rendered:
        """Held-out takes by the averaged weights: in `validation` a picture, and of clips a video."""
        assert self.decode is not None
        batch = self.held_out.batch(0).to(self.device)
        how = Rendering(
            self.module.config,
            self.losses.schedule,
            self.decode,
            self.losses.has_audio,
            self.config.run.render_steps,
        )
        with self._averaged(), self.accelerator.autocast():
            made, true = render_takes(self.module, batch, how, _generator(self.device, VALIDATION_SEED, 0))
        sheet = self.config.run.output / "validation" / f"step-{self.progress.step:08d}.png"
        write_sheet(sheet, made, true)
        clip = sheet.with_suffix(".mp4") if self.stage == "stage2" else None
        if clip is not None:
            write_clip(clip, made, true)
        return Rendered(self.progress.step, sheet, clip, opening_correlation(made, true, FaceAnalyser()))

    def speak(self, pairs: SpokenPairs) -> Spoken:
        """The pairs of validation by the averaged weights: in `validation` a video each."""
        folder = self.config.run.output / "validation" / f"step-{self.progress.step:08d}"
        with self._averaged():
            videos = pairs.render(self.networks, folder, DTYPES[self.config.run.mixed_precision])
        return Spoken(self.progress.step, folder, len(videos))

    def _averaged(self) -> AbstractContextManager[None]:
        """Meanwhile the networks have the averaged weights, where an average is kept."""
        return nullcontext() if self.average is None else self.average.in_use()

    def save(self) -> Saved:
        """Write a checkpoint of this moment."""
        scaler = self.accelerator.scaler
        progress = replace(
            self.progress,
            loss_scale=scaler.get_scale() if scaler is not None else None,
            trained=names_digest(self.trained),
        )
        target, parts = self.folder.checkpoints / f"step-{progress.step:08d}", None
        if partitioned.is_partitioned(self.accelerator):
            parts = partitioned.write_parts(self.accelerator, self.folder.checkpoints / ".parts")
        if self.accelerator.is_main_process:
            files = {
                NETWORKS: self.module.state_dict(),
                AVERAGE: {} if self.average is None else self.average.values,
                OPTIMIZER: {} if parts else optimizer_tensors(self.optimizer, list(self.trained)),
            }
            keep = self.config.run.keep_checkpoints
            self.folder.write(progress.step, files, progress, keep=keep, parts=parts)
        self.accelerator.wait_for_everyone()
        return Saved(progress.step, target)

    def _step(self, batches: list[Batch], rate: float) -> StepResult:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        found: list[Losses] = []
        for index, batch in enumerate(batches):
            is_last = index == len(batches) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.model):
                number = self._batch_number(self.progress.step, index)
                generator = _generator(self.device, self.config.run.seed, number)
                losses = self.losses(self.model, batch.to(self.device), generator)
                self.accelerator.backward(losses.total / len(batches))
            found.append(losses)
        norm = self.accelerator.clip_grad_norm_(self.trained.values(), self.config.optimizer.clip_norm)
        self.stepper.step()
        self.stepper.zero_grad()
        if self.average is not None:
            self.average.update(self.progress.step + 1)
        rows = [torch.stack([one.total, one.velocity, one.pixels]).detach() for one in found]
        return StepResult(torch.stack(rows).mean(0), torch.as_tensor(norm))

    def _step_batches(self, step: int) -> list[Batch]:
        rounds = range(self.config.run.accumulation)
        return [self.source.batch(self._batch_number(step, index)) for index in rounds]

    def _batch_number(self, step: int, index: int) -> int:
        round_number = step * self.config.run.accumulation + index
        return round_number * self.accelerator.num_processes + self.accelerator.process_index

    def _depth(self) -> int:
        return max(1, self.config.data.prefetch // self.config.run.accumulation)

    def _told_by_first(self, value: float) -> float:
        """The first process's number: all of them stop at the same step and learn at the same rate."""
        if self.accelerator.num_processes == 1:
            return value
        told: Tensor = broadcast(torch.tensor([value], device=self.device))
        return float(told.item())

    def _is_finished(self) -> bool:
        run = self.config.run
        is_late = bool(run.max_minutes) and self.progress.seconds >= 60 * run.max_minutes
        return self.progress.step >= run.steps or is_late

    def _prepare_module(self) -> None:
        _move(self.module, self.device)
        if self.device.type not in FUSED_ATTENTION_DEVICES:
            use_attention_kernel(self.module, matmul_kernel)
        for unet in (self.module.reference_unet, self.module.denoising_unet):
            unet.checkpointing = self.config.run.gradient_checkpointing

    def _analysed_pairs(self, network: NetworkConfig) -> SpokenPairs | None:
        hears = self.stage == "stage2" if self.config.objective.audio is None else self.config.objective.audio
        if self.config.validation.pairs and not hears:
            raise SettingsError(
                "validation.pairs: networks of stage 1 hear nothing. Leave them out until stage 2."
            )
        if self.config.validation.pairs and not self.config.run.render_every:
            raise SettingsError("validation.pairs are rendered every run.render_every steps: set it")
        if not self.accelerator.is_main_process:
            return None
        return analyse_pairs(self.config, network, self.device)

    def _loss_decoder(self) -> Callable[[Tensor], Tensor] | None:
        """What the pixel loss and the thinning of motion frames decode latents with."""
        decode, vae, objective = self.decode, self.module.config, self.config.objective
        if decode is None or not (objective.pixels.weight or objective.motion_thinning):
            return None
        if vae.is_anchored:
            raise SettingsError(
                "objective.pixels.weight and objective.motion_thinning: latents of an anchored autoencoder "
                "cannot be decoded by themselves. Leave them 0."
            )
        return lambda latents: decode(latents, None)

    def _decoder(self, vae: Autoencoder) -> Callable[[Tensor, Batch | None], Tensor] | None:
        start, objective = self.config.start, self.config.objective
        if not (objective.pixels.weight or objective.motion_thinning or self.config.run.render_every):
            return None
        if start.vae is None and start.bundle is None:
            raise SettingsError(
                "objective.pixels.weight, objective.motion_thinning and run.render_every need the "
                "autoencoder's weights: give start.vae"
            )
        _move(vae, self.device)

        def decode(latents: Tensor, batch: Batch | None) -> Tensor:
            with self.accelerator.autocast():
                anchor = None if batch is None else _anchor(vae, batch, len(latents))
                return vae.decode(latents.contiguous(memory_format=torch.channels_last), anchor)

        return decode

    def _encoder(self, vae: Autoencoder) -> Callable[[Tensor], Tensor] | None:
        if not self.config.objective.motion_thinning:
            return None

        def encode(pictures: Tensor) -> Tensor:
            with self.accelerator.autocast():
                return vae.encode_mean(pictures.contiguous(memory_format=torch.channels_last))

        return encode

    def _resume(self) -> Path | None:
        checkpoint = self.folder.latest() or self.config.run.resume_from
        if checkpoint is None:
            return None
        self.progress = read_progress(checkpoint)
        require_same_names(self.progress, self.trained, checkpoint)
        is_split = partitioned.require_same_kind(self.accelerator, checkpoint)
        restore(self.module, checkpoint / NETWORKS)
        if not is_split:
            restore_optimizer(self.optimizer, list(self.trained), checkpoint / OPTIMIZER)
        if self.average is not None:
            self.average.restore(read_tensors(checkpoint / AVERAGE))
        return checkpoint

    def _restore_loss_scale(self) -> None:
        if self.accelerator.scaler is not None and self.progress.loss_scale is not None:
            state = self.accelerator.scaler.state_dict()
            self.accelerator.scaler.load_state_dict({**state, "scale": self.progress.loss_scale})


def _frames(data: DataSettings, network: NetworkConfig, stage: Stage) -> int:
    """Frames of each take in a batch. Raises SettingsError if the motion modules cannot take them."""
    if stage == "stage1":
        return data.frames or 1
    frames = data.frames or network.clip_frames
    most = network.max_temporal - network.motion_frames
    if not 2 <= frames <= most:
        raise SettingsError(f"data.frames = {frames}: a clip of stage 2 has 2 to {most} frames")
    return frames


def _move(module: Any, device: torch.device) -> None:
    module.to(device, memory_format=torch.channels_last)


def _generator(device: torch.device, seed: int, number: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def _anchor(vae: Autoencoder, batch: Batch, n_rows: int) -> Anchor | None:
    """What the autoencoder knows of the portraits, a row for each of the batch's frames."""
    if batch.pixels is None:
        return None
    anchor = vae.anchor(batch.pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
    takes = len(batch.pixels)
    return anchor and anchor.rows(torch.arange(takes).repeat_interleave(n_rows // takes))
