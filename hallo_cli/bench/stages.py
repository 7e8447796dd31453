"""Times the real pipeline stage by stage, on the shipped example, clip after clip.

One repetition runs a one-clip job stage by stage, and then a few clips with overlapping stages, as a job
does. The first repetitions warm up kernels and caches and do not count. Several settings are timed in turns
within one run, since machines are noisy.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hallo_cli.bench.clock import Clock, Marks, now
from hallo_cli.bench.example import Example
from hallo_cli.domain import Bytes, Clip, Speech
from hallo_cli.errors import SettingsError
from hallo_cli.inference.animator import audio_windows
from hallo_cli.inference.job_context import JobContext
from hallo_cli.inference.sampling import Predictor, denoise, independent_noise
from hallo_cli.inference.schedule import Solver
from hallo_cli.jobs import forecast
from hallo_cli.media.video import SegmentWriter
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.settings.schema import RenderSettings

STAGES = (
    *("portrait", "speech", "reference"),  # of a job; the others happen in every clip
    *("conditions", "denoising", "motion frames", "decoding", "encoding"),
)


@dataclass(frozen=True)
class Repetition:
    """The times of one repetition, and the frames that it rendered."""

    times: dict[str, list[float]]  # seconds of each of STAGES, of each "step", and of a "frame" in a row
    frames: Bytes  # of several clips in a row
    peak_device_bytes: int | None  # None on devices that do not report it


@dataclass(frozen=True)
class Figures:
    """The results of one set of settings."""

    settings: RenderSettings  # resolved
    repetitions: tuple[Repetition, ...]

    def spread(self, name: str) -> dict[str, float]:
        """Median, lowest and highest seconds of one of a repetition's times."""
        seconds = [time for one in self.repetitions for time in one.times[name]]
        return {"median_s": statistics.median(seconds), "lowest_s": min(seconds), "highest_s": max(seconds)}


def bench(
    example: Example, variants: Sequence[RenderSettings], *, repeats: int, warmups: int, n_clips: int
) -> list[Figures]:
    """Time each set of settings in turns. Raises SettingsError if they need different networks."""
    resolved = [example.engine.resolve_settings(settings) for settings in variants]
    if len({settings.dtype for settings in resolved}) > 1:
        raise SettingsError("settings of different dtypes cannot be timed in one run: give --dtype.")
    rounds = [
        [_repeat(example, settings, n_clips) for settings in resolved] for _ in range(warmups + repeats)
    ]
    found = zip(*rounds[warmups:], strict=True)
    return [Figures(settings, of_one) for settings, of_one in zip(resolved, found, strict=True)]


def keep_speeds(example: Example, figures: Sequence[Figures]) -> None:
    """Keep the measured speeds for later forecasts."""
    for row in figures:
        forecast.remember(example.engine.workload_of(row.settings), row.spread("frame")["median_s"])


def _repeat(example: Example, settings: RenderSettings, n_clips: int) -> Repetition:
    device = example.animator.execution.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        times = _time_stages(example, settings, Path(folder))
        frames, seconds = _render_clips(example, settings, Path(folder), n_clips)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Repetition(times | {"frame": [seconds / len(frames)]}, frames, peak)


def _time_stages(example: Example, settings: RenderSettings, folder: Path) -> dict[str, list[float]]:
    """The times of the stages of a one-clip job, run one after the other, and of its steps."""
    animator = example.animator
    clock = Clock(animator.execution.device)
    portrait = clock.time("portrait", lambda: example.portrait(settings))
    speech = clock.time("speech", lambda: example.speech(settings, folder))
    context = clock.time("reference", lambda: animator.prepare(portrait, settings))
    solver, predictor, noise = clock.time("conditions", lambda: _start(example, context, speech))
    marks = Marks(clock.device)
    latents = clock.time("denoising", lambda: _denoised(denoise(predictor, solver, noise), marks))
    steps = marks.seconds()
    denoised = clock.time("motion frames", lambda: animator.finisher.begin(context, latents, 0, None))
    clip = clock.time("decoding", denoised.finish)
    compositor = example.compositor(portrait, settings)
    with SegmentWriter(folder / "clip.mp4", _format(settings, compositor.size)) as writer:
        clock.time("encoding", lambda: _encode(writer, compositor.compose(clip.frames)))
    return clock.times | {"step": steps}


def _render_clips(
    example: Example, settings: RenderSettings, folder: Path, n_clips: int
) -> tuple[Bytes, float]:
    """The frames of several clips, and the seconds from the first clip's conditions to the encoded file."""
    portrait = example.portrait(settings)
    speech = example.speech(settings, folder, n_clips=n_clips)
    context = example.animator.prepare(portrait, settings)
    clips = []
    start = now(example.animator.execution.device)  # the preparation does not count
    compositor = example.compositor(portrait, settings)
    with (
        SegmentWriter(folder / "clips.mp4", _format(settings, compositor.size)) as writer,
        closing(example.animator.clips(context, speech)) as steps,
    ):
        for clip in (step for step in steps if isinstance(step, Clip)):
            shown = compositor.compose(clip.frames)
            writer.write(shown)
            clips.append(shown)
        writer.commit()
    return np.concatenate(clips), now(example.animator.execution.device) - start


def _start(example: Example, context: JobContext, speech: Speech) -> tuple[Solver, Predictor, Tensor]:
    """The conditions of the first clip, and its noise."""
    animator = example.animator
    windows = audio_windows(speech, 0, speech.n_frames, animator.config.audio_window)
    solver, predictor = animator.sampler(context.settings, animator.clip_context(context, windows, None))
    noise = independent_noise(context.settings.seed, 0, animator.latents_shape(context, speech.n_frames))
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


def _format(settings: RenderSettings, size: tuple[int, int]) -> VideoFormat:
    return VideoFormat(*size, settings.fps, settings.codec, settings.crf)
