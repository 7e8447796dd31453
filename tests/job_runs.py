"""Runs of the small job of the tests, and what they leave."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from job_doubles import TrivialEngine
from PIL import Image
from scipy.io import wavfile

from hallo_cli.errors import Interrupted
from hallo_cli.jobs import events
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.record import JobResult
from hallo_cli.jobs.runner import StopRequest, run_job
from hallo_cli.media.probe import frame_hashes
from hallo_cli.settings.schema import RenderSettings

N_FRAMES = 50
N_CLIPS = 13


@dataclasses.dataclass(frozen=True)
class Done:
    """The job done in one go, what that gave and what happened meanwhile."""

    job: Job
    result: JobResult
    events: list[events.Event]


def make_job(folder: Path) -> Job:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / "face.png")
    samples = (rng.normal(0, 3000, 16_000 * 2)).astype(np.int16)
    wavfile.write(folder / "speech.wav", 16_000, samples)
    settings = RenderSettings(segment_s=0.5)
    return Job(folder / "face.png", folder / "speech.wav", folder / "out.mp4", settings)


def hashes(video: Path) -> list[str]:
    return list(frame_hashes(video))


def work_dirs(job: Job) -> list[Path]:
    return list(job.output.parent.glob(".hallo-*"))


def stop_after(job: Job, n_clips: int, exit_status: int = 130) -> None:
    """Run the job, asking it to stop when it has done that many clips."""
    stop = StopRequest()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.StepRendered) and event.clip == n_clips - 1:
            stop.ask(exit_status)

    with pytest.raises(Interrupted) as caught:
        run_job(job, TrivialEngine(), on_event=listen, stop=stop)
    assert caught.value.exit_status == exit_status
