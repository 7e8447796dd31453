"""The training loop of both stages, on accelerate: one CPU or GPU, or several GPUs under `accelerate launch`.

A run that was stopped continues from its last checkpoint exactly as if it had not been: batches, noise and
drops are functions of (seed, step), and all else is in the checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hallo_cli.errors import SettingsError
from hallo_cli.models.attention import matmul_kernel, use_attention_kernel
from hallo_cli.store.binding import plain
from hallo_cli.training import acceleration
from hallo_cli.training.acceleration import make_accelerator, seeded, told_by_first
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
from hallo_cli.training.config import Stage, TrainingConfig
from hallo_cli.training.dataset import Batch, BatchSource, chosen_takes, frames_of, prefetched
from hallo_cli.training.forward import TrainedNetworks
from hallo_cli.training.init import network_config, start_networks
from hallo_cli.training.logs import LogWindow, Saved, TrainingEvent, log_files
from hallo_cli.training.losses import LossFunction, decoding_of
from hallo_cli.training.optimizer import MovingAverage, choose_trained, learning_rate, make_optimizer
from hallo_cli.training.spoken import analyse_pairs, require_hearing
from hallo_cli.training.trials import VALIDATION_SEED, Trials

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
    with log_files(config.run.output, tensorboard=config.run.tensorboard) as write:

        def report(event: TrainingEvent) -> None:
            if trainer.accelerator.is_main_process:
                write(event)
                on_event(event)

        return trainer.run(report, should_stop)


class Trainer:
    """One run in memory."""

    def __init__(self, config: TrainingConfig, stage: Stage) -> None:
        network = network_config(config.start)
        config = replace(config, data=replace(config.data, frames=frames_of(config.data, network, stage)))
        self.config, self.stage, self.folder = config, stage, RunFolder(config.run.output)
        self.accelerator = make_accelerator(config.run)
        self.device = self.accelerator.device
        takes, held_out = chosen_takes(config.data, network)
        self.source = BatchSource(takes, config.data, network=network, stage=stage, seed=config.run.seed)
        source = BatchSource(held_out, config.data, network=network, stage=stage, seed=VALIDATION_SEED)
        require_hearing(config, stage)
        pairs = analyse_pairs(config, network, self.device) if self.accelerator.is_main_process else None
        networks = start_networks(config.start, seed=config.run.seed)
        self.module = TrainedNetworks(networks)
        self.trained = choose_trained(self.module, config.objective, stage)
        if not self.trained:
            raise SettingsError("objective.train names no part that these networks have")
        self._prepare_module()
        decoding = decoding_of(config, networks, self.accelerator)
        self.losses = LossFunction(config.objective, network, stage, decoding)
        self.optimizer = make_optimizer(self.trained.values(), config.optimizer)
        self.average = MovingAverage(self.trained, config.run.ema_decay) if config.run.ema_decay else None
        self.trials = Trials(
            config,
            self.accelerator,
            networks,
            self.module,
            self.losses,
            self.average,
            source,
            pairs,
        )
        self.progress = Progress()
        acceleration.tell_deepspeed(self.accelerator, config)
        checkpoint = self._resume()
        wrapped: Any = torch.compile(self.module) if config.run.compile else self.module
        if acceleration.is_partitioned(self.accelerator):
            wrapped = acceleration.Mixed(wrapped, self.accelerator, config.run)
        self.model, self.stepper = self.accelerator.prepare(wrapped, self.optimizer)
        if checkpoint is not None and acceleration.is_partitioned(self.accelerator):
            acceleration.read_parts(self.accelerator, checkpoint)
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
            if self._is_finished() or told_by_first(self.accelerator, float(should_stop())):
                break
            started = time.perf_counter()
            rate = learning_rate(self.config.optimizer, run, self.progress)
            window.add(*self._step(batches, rate))
            seconds = told_by_first(self.accelerator, time.perf_counter() - started)
            self.progress = replace(
                self.progress, step=self.progress.step + 1, seconds=self.progress.seconds + seconds
            )
            step = self.progress.step
            if step % run.log_every == 0 or self._is_finished():
                frames = per_step * self.config.data.takes * self.config.data.frames
                report(window.logged(self.progress, run, rate, frames))
                window = LogWindow()
            if run.validate_every and step % run.validate_every == 0:
                report(self.trials.validate(step))
            if run.render_every and step % run.render_every == 0 and self.accelerator.is_main_process:
                for event in self.trials.render(step):
                    report(event)
            if step % run.checkpoint_every == 0:
                window.require_finite(self.progress)
                report(self.save())
                saved_at = step
        if saved_at != self.progress.step:
            window.require_finite(self.progress)
            report(self.save())
        return TrainingResult(run.output, self.progress, self._is_finished())

    def save(self) -> Saved:
        """Write a checkpoint of this moment."""
        scaler = self.accelerator.scaler
        progress = replace(
            self.progress,
            loss_scale=scaler.get_scale() if scaler is not None else None,
            trained=names_digest(self.trained),
        )
        parts = None
        if acceleration.is_partitioned(self.accelerator):
            parts = acceleration.write_parts(self.accelerator, self.folder.checkpoints / ".parts")
        if self.accelerator.is_main_process:
            files = {
                NETWORKS: self.module.state_dict(),
                AVERAGE: {} if self.average is None else self.average.values,
                OPTIMIZER: {} if parts else optimizer_tensors(self.optimizer, list(self.trained)),
            }
            self.folder.write(files, progress, keep=self.config.run.keep_checkpoints, parts=parts)
        self.accelerator.wait_for_everyone()
        return Saved(progress.step, self.folder.checkpoint(progress.step))

    def _step(self, batches: list[Batch], rate: float) -> tuple[Tensor, Tensor]:
        """One step of the optimizer; gives the loss and the gradients' norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        found: list[Tensor] = []
        for index, batch in enumerate(batches):
            is_last = index == len(batches) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(self.model):
                number = self._batch_number(self.progress.step, index)
                generator = seeded(self.device, self.config.run.seed, number)
                loss = self.losses(self.model, batch.to(self.device), generator)
                self.accelerator.backward(loss / len(batches))
            found.append(loss.detach())
        norm = self.accelerator.clip_grad_norm_(self.trained.values(), self.config.optimizer.clip_norm)
        self.stepper.step()
        self.stepper.zero_grad()
        if self.average is not None:
            self.average.update(self.progress.step + 1)
        return torch.stack(found).mean(), torch.as_tensor(norm)

    def _step_batches(self, step: int) -> list[Batch]:
        rounds = range(self.config.run.accumulation)
        return [self.source.batch(self._batch_number(step, index)) for index in rounds]

    def _batch_number(self, step: int, index: int) -> int:
        round_number = step * self.config.run.accumulation + index
        return round_number * self.accelerator.num_processes + self.accelerator.process_index

    def _depth(self) -> int:
        return max(1, self.config.data.prefetch // self.config.run.accumulation)

    def _is_finished(self) -> bool:
        run = self.config.run
        is_late = bool(run.max_minutes) and self.progress.seconds >= 60 * run.max_minutes
        return self.progress.step >= run.steps or is_late

    def _prepare_module(self) -> None:
        module: Any = self.module
        is_split = acceleration.is_partitioned(self.accelerator)  # DeepSpeed views weights as rows of bytes
        layout = torch.contiguous_format if is_split else torch.channels_last
        module.to(self.device, memory_format=layout)
        if self.device.type not in FUSED_ATTENTION_DEVICES:
            use_attention_kernel(self.module, matmul_kernel)
        for unet in (self.module.reference_unet, self.module.denoising_unet):
            unet.checkpointing = self.config.run.gradient_checkpointing

    def _resume(self) -> Path | None:
        checkpoint = self.folder.latest() or self.config.run.resume_from
        if checkpoint is None:
            return None
        self.progress = read_progress(checkpoint)
        require_same_names(self.progress, self.trained, checkpoint)
        is_split = acceleration.require_same_kind(self.accelerator, checkpoint)
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
