"""Times the real pipeline stage by stage, on the shipped example, clip after clip.

One repetition is what a one-clip job does, stage after stage (portrait, speech, reference features,
conditions, denoising steps, decoding, encoding), and then a few clips as a job renders them, overlapping.
Repetitions before the counted ones warm up kernels and caches. Several settings are timed in turns within one
run, since machines are noisy.
"""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import DeviceType, ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from hallo_cli.bench.clips import film
from hallo_cli.bench.clock import Clock, Marks
from hallo_cli.bench.example import Rig
from hallo_cli.domain import Bytes, Speech
from hallo_cli.errors import SettingsError
from hallo_cli.inference.animator import audio_windows
from hallo_cli.inference.job_context import JobContext
from hallo_cli.inference.passes import run_plainly
from hallo_cli.inference.sampling import IndependentNoise, Memory, Predictor, denoise
from hallo_cli.inference.schedule import Solver
from hallo_cli.inference.step_plan import Step, plan_steps
from hallo_cli.jobs import forecast as estimate
from hallo_cli.media.video import SegmentWriter, VideoFormat
from hallo_cli.settings.schema import RenderSettings

ONCE = ("portrait", "speech", "reference")  # stages of a job; the others happen in every clip
EVERY_CLIP = ("conditions", "denoising", "motion frames", "decoding", "encoding")


@dataclass(frozen=True)
class Spread:
    """Seconds over the repetitions."""

    median_s: float
    lowest_s: float
    highest_s: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Of at least one repetition."""
        return cls(statistics.median(seconds), min(seconds), max(seconds))


@dataclass(frozen=True)
class Figures:
    """What one set of settings came to."""

    settings: RenderSettings  # settled
    n_frames: int  # of a clip
    stages: dict[str, Spread]
    step: Spread  # one denoising step
    clip_tflop: float  # of all denoising steps of a clip; counted by torch
    frame: Spread  # one frame of a long job, its stages overlapping where the device gains by it
    frame_s: tuple[float, ...]  # the same, one a repetition
    compile_s: float | None  # at most; None where nothing is compiled or the first repetition is counted
    peak_device_bytes: int | None  # None on devices that do not tell

    @property
    def tflops(self) -> float:
        """Achieved in the denoising steps."""
        return self.clip_tflop / self.stages["denoising"].median_s


def bench(
    rig: Rig, variants: Sequence[RenderSettings], *, repeats: int = 3, warmups: int = 1, n_clips: int = 3
) -> list[Figures]:
    """Time each variant of settings in turns, with films of `n_clips`.

    Raises SettingsError where the variants need different networks.
    """
    settled = [rig.studio.settle(settings) for settings in variants]
    if len({settings.dtype for settings in settled}) > 1:
        raise SettingsError("settings of different dtypes cannot be timed in one run: give --dtype.")
    clocks: list[list[Clock]] = [[] for _ in settled]
    firsts: list[Clock] = []
    peaks: list[int | None] = [None for _ in settled]
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        for repetition in range(warmups + repeats):
            for index, settings in enumerate(settled):
                work = Path(folder, f"{repetition}-{index}")
                work.mkdir()
                _forget_peak(rig.animator.execution.device)
                clock = render_clip(rig, settings, work)
                clock.frame_s = film(rig, settings, n_clips).frame_s
                shutil.rmtree(work)
                if warmups and repetition == 0:
                    firsts.append(clock)
                if repetition >= warmups:
                    clocks[index].append(clock)
                    peaks[index] = _peak(rig.animator.execution.device)
        tflop = [count_tflop(rig, settings, Path(folder)) for settings in settled]
    compiling: Sequence[float | None] = [None] * len(settled)
    if rig.animator.execution.is_compiled and firsts:
        compiling = compile_seconds(firsts, clocks, n_clips * rig.animator.config.clip_frames)
    rows = zip(settled, clocks, tflop, peaks, compiling, strict=True)
    return [_figures(*row, rig) for row in rows]


def keep_speeds(rig: Rig, figures: Sequence[Figures]) -> None:
    """Leave the measured speeds to later estimates and to the choice of compiling."""
    for row in figures:
        load = rig.studio.load_of(row.settings, is_compiled=rig.animator.execution.is_compiled)
        estimate.remember(estimate.Speed(load, row.frame.median_s, row.compile_s))


def render_clip(rig: Rig, settings: RenderSettings, folder: Path) -> Clock:
    """Do all that a one-clip job does and say how long each stage took."""
    animator = rig.animator
    clock = Clock(animator.execution.device)
    portrait = clock.time("portrait", lambda: rig.portrait(settings))
    speech = clock.time("speech", lambda: rig.speech(settings, folder))
    context = clock.time("reference", lambda: animator.prepare(portrait, settings))
    solver, predictor, noise = clock.time("conditions", lambda: _start(rig, context, speech))
    marks = Marks(clock.device)
    latents = clock.time("denoising", lambda: _denoised(denoise(predictor, solver, noise), marks))
    clock.steps = marks.seconds()
    denoised = clock.time("motion frames", lambda: animator.finisher.begin(context, latents, 0, None))
    clip = clock.time("decoding", denoised.finish)
    height, width = clip.frames.shape[1:3]
    video = VideoFormat(width, height, settings.fps, settings.codec, settings.crf)
    with SegmentWriter(folder / "clip.mp4", video) as writer:
        clock.time("encoding", lambda: _encode(writer, clip.frames))
    return clock


def compile_seconds(firsts: Sequence[Clock], clocks: Sequence[Sequence[Clock]], n_frames: int) -> list[float]:
    """How much longer each variant's first repetition took than the median of its others; films' frames.

    What one variant compiles the next ones need not, so each counts what those before it took as well.
    """

    def compiled_in(clock: Clock) -> float:
        return clock.seconds["denoising"] + clock.frame_s * n_frames

    own = [
        max(0.0, compiled_in(first) - statistics.median(map(compiled_in, later)))
        for first, later in zip(firsts, clocks, strict=True)
    ]
    return list(itertools.accumulate(own))


def count_tflop(rig: Rig, settings: RenderSettings, folder: Path) -> float:
    """Floating-point operations of a clip's denoising steps, in 1e12; a multiply-add is two."""
    context = rig.animator.prepare(rig.portrait(settings), settings)
    solver, predictor, noise = _start(rig, context, rig.speech(settings, folder))
    predictor = dataclasses.replace(predictor, run=run_plainly)  # what is replayed is not counted
    timestep = torch.tensor(solver.timesteps[:1], device=noise.device)
    steps = plan_steps(predictor.guidance, predictor.deep, len(solver.timesteps))
    memory, total = Memory(), 0
    with torch.compiler.set_stance("force_eager"):  # compiled kernels are not counted
        predictor(noise, timestep, Step(is_guided=True), memory)  # leaves what any step may take over
        for step, count in Counter(steps).items():
            with FlopCounterMode(display=False) as counter:
                predictor(noise, timestep, step, dataclasses.replace(memory))
            total += count * counter.get_total_flops()
    return total / 1e12


def matmul_peak(device: torch.device, dtype: torch.dtype, *, repeats: int = 5) -> float:
    """The fastest square matrix product this device does now, in TFLOP/s: what a step is measured against."""
    clock = Clock(device)
    best = 0.0
    for side in (8192, 16384) if device.type == "cuda" else (1024, 2048):
        left = torch.randn(side, side, device=device).to(dtype)
        right = torch.randn(side, side, device=device).to(dtype)
        for _ in range(repeats):
            clock.time("product", lambda left=left, right=right: left @ right)  # type: ignore[misc]
            best = max(best, 2 * side**3 / clock.seconds["product"] / 1e12)
    return best


def costliest_operations(rig: Rig, settings: RenderSettings, *, count: int = 12) -> list[tuple[str, float]]:
    """Where a denoising step's time goes: torch's operations and their share of it, the costliest first."""
    device = rig.animator.execution.device
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        context = rig.animator.prepare(rig.portrait(settings), settings)
        solver, predictor, noise = _start(rig, context, rig.speech(settings, Path(folder)))
        predictor = dataclasses.replace(predictor, run=run_plainly)  # a replay is one operation
        timestep = torch.tensor(solver.timesteps[:1], device=device)
        for _ in range(2):  # the first warms up
            with profile(activities=kinds) as profiler:
                predictor(noise, timestep, Step(is_guided=predictor.guidance.scale != 1), Memory())
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return operation_shares(profiler.key_averages(), key)[:count]


def operation_shares(rows: Iterable[FunctionEventAvg], key: str) -> list[tuple[str, float]]:
    """Each operation's share of the time that a profile's rows have under a key, the costliest first.

    A kernel's time is in the row of the operation that launched it and in one of its own, which is left out.
    """
    times: Counter[str] = Counter()
    for row in rows:
        if row.device_type == DeviceType.CPU:
            times[str(row.key)] += getattr(row, key)
    total = times.total() or 1.0
    return [(name, time / total) for name, time in times.most_common()]


def _start(rig: Rig, context: JobContext, speech: Speech) -> tuple[Solver, Predictor, Tensor]:
    """The conditions of the first clip, and its noise."""
    animator = rig.animator
    windows = audio_windows(speech, 0, speech.n_frames, animator.config.audio_window)
    solver, predictor = animator.sampler(context.settings, animator.clip_context(context, windows, None))
    noise = IndependentNoise(context.settings.seed)(0, animator.latents_shape(context, speech.n_frames))
    return solver, predictor, noise.to(animator.execution.device)


def _encode(writer: SegmentWriter, frames: Bytes) -> None:
    writer.write(frames)
    writer.commit()


def _denoised(steps: Iterator[Tensor], marks: Marks) -> Tensor:
    """The last step's latents, with a mark before the first step and after each."""
    results = []
    marks.set()
    for latents in steps:
        marks.set()
        results = [latents]
    return results[0]


def _figures(
    settings: RenderSettings,
    clocks: list[Clock],
    tflop: float,
    peak: int | None,
    compile_s: float | None,
    rig: Rig,
) -> Figures:
    frame_s = tuple(clock.frame_s for clock in clocks)
    return Figures(
        settings=settings,
        n_frames=rig.animator.config.clip_frames,
        stages={
            stage: Spread.of([clock.seconds[stage] for clock in clocks]) for stage in (*ONCE, *EVERY_CLIP)
        },
        step=Spread.of([step for clock in clocks for step in clock.steps]),
        clip_tflop=tflop,
        frame=Spread.of(frame_s),
        frame_s=frame_s,
        compile_s=compile_s,
        peak_device_bytes=peak,
    )


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
