"""A render engine without networks: everything around it is real, its frames are cheap and deterministic.

A frame depends on the seed, its clip's number, the sound and the motion frames before it, so that any mistake
in resuming changes every later frame. `python tests/job_doubles.py PORTRAIT AUDIO OUTPUT ...` runs a job.
"""

import argparse
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

from hallo_cli.analysis.head_motion import Delay
from hallo_cli.domain import (
    SAMPLE_RATE,
    Clip,
    CropBox,
    Float,
    MotionFrames,
    Portrait,
    RegionMasks,
    Speech,
    StepDone,
)
from hallo_cli.errors import HalloError
from hallo_cli.jobs import events
from hallo_cli.jobs.compositor import Compositor
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import RunOptions, StopRequest, run_job
from hallo_cli.media.audio import Recording, decode
from hallo_cli.media.sound_track import Stretch
from hallo_cli.settings.schema import RenderSettings

CLIP_FRAMES = 4
SIZE = 32


def plain_compositor(size: tuple[int, int] = (SIZE, SIZE), shown: CropBox | None = None) -> Compositor:
    """Its frames are those given."""
    shape = (size[1], size[0], 3)
    return Compositor(size, shape, np.zeros((1, *shape), np.uint8), shown, lambda frames: frames)


@dataclasses.dataclass
class LoudnessTrack:
    """One feature a frame: how loud it is."""

    recording: Recording
    n_frames: int
    fps: float

    def pauses(self) -> Sequence[tuple[int, int]]:
        return [(n, n + 1) for n in range(self.n_frames) if self._loudness(n) < 0.01]

    def speech(self, start: int, stop: int) -> Speech:
        loudness = np.array([self._loudness(n) for n in range(start - 2, stop + 2)], np.float32)
        return Speech(loudness.reshape(-1, 1, 1), start, stop - start, self.fps)

    def delayed(self, delay: Delay) -> "LoudnessTrack":
        return self

    def _loudness(self, frame: int) -> float:
        edges = [round(SAMPLE_RATE * n / self.fps) for n in (frame, frame + 1)]
        return float(np.sqrt(np.mean(self.recording.read(*edges) ** 2)))


class TrivialEngine:
    """Implements jobs.engine.Engine."""

    weights_id = "trivial"
    clip_frames = CLIP_FRAMES
    leaves_processor_free = True

    def __init__(self, *, clip_s: float = 0.0, fails: Sequence[Exception] = ()) -> None:
        self.clip_s = clip_s
        self.fails = list(fails)
        self.fallbacks = ["smaller chunks", "sliced attention"]
        self.clips_rendered: list[int] = []

    def resolve_settings(self, settings: RenderSettings) -> RenderSettings:
        return dataclasses.replace(settings, clip_frames=settings.clip_frames or CLIP_FRAMES)

    def describe(self) -> dict[str, str]:
        return {"name": "trivial"}

    def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
        pixels = np.resize(np.frombuffer(path.read_bytes(), np.uint8), (SIZE, SIZE, 3)).copy()
        region = np.ones((SIZE, SIZE), np.float32)
        masks = RegionMasks((region,), (region,), (region,))
        landmarks = np.zeros((478, 2), np.float32)
        return Portrait(pixels, CropBox(0, 0, SIZE), (SIZE, SIZE), landmarks, region, masks, None, "trivial")

    def compositor(self, path: Path, portrait: Portrait, settings: RenderSettings) -> Compositor:
        return plain_compositor()

    def decode(self, source: Path, target: Path, settings: RenderSettings) -> Recording:
        return decode(source, target, Stretch(settings.start_s, settings.duration_s))

    def track(self, recording: Recording, n_frames: int, settings: RenderSettings) -> LoudnessTrack:
        return LoudnessTrack(recording, n_frames, settings.fps)

    def load_networks(self, settings: RenderSettings) -> None:
        pass

    def note_speed(self, settings: RenderSettings, seconds_per_frame: float) -> None:
        self.seconds_per_frame = seconds_per_frame

    def fall_back(self) -> str | None:
        return self.fallbacks.pop(0) if self.fallbacks else None

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        for start in range(0, speech.n_frames, CLIP_FRAMES):
            if self.fails:
                raise self.fails.pop(0)
            index = (speech.first_frame + start) // CLIP_FRAMES
            yield StepDone(index, 1, 1)
            time.sleep(self.clip_s)
            heard = speech.features[start : start + CLIP_FRAMES + 2 * speech.context]
            clip = self._clip(index, portrait, settings.seed, heard, motion)
            motion = clip.motion
            self.clips_rendered.append(index)
            yield clip

    def _clip(
        self, index: int, portrait: Portrait, seed: int, heard: Float, motion: MotionFrames | None
    ) -> Clip:
        noise = np.random.default_rng([seed, index]).random((CLIP_FRAMES, SIZE, SIZE, 3), np.float32)
        before = portrait.pixels / np.float32(127.5) - 1 if motion is None else motion.values[-1]
        frames = np.sin(before + noise * (1 + heard.sum())).astype(np.float32)
        shown = (1e4 * frames).astype(np.int32).astype(np.uint8)  # noise, which nothing makes smaller
        return Clip(index, shown, MotionFrames(frames[-2:]))


class ShortOfMemory(TrivialEngine):
    """Memory runs out once, in the sixth clip, which is in the middle of a segment."""

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        for item in super().clips(portrait, settings, speech, motion):
            if isinstance(item, Clip) and item.index == 5 and len(self.fallbacks) == 2:
                raise MemoryError("full")
            yield item


def run_here(job: Job, stage: str, reached: Event) -> None:
    """Run a job, saying when a stage begins or all is done: for a process that may be killed."""
    run_job(job, TrivialEngine(), on_event=lambda event: reached.set() if begins(event, stage) else None)
    reached.set()


def begins(event: events.Event, stage: str) -> bool:
    return isinstance(event, events.StageStarted) and event.stage == stage


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("portrait", "audio", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--clip-s", type=float, default=0.0)
    parser.add_argument("--segment-s", type=float, default=0.5)
    arguments = parser.parse_args()
    stop = StopRequest()
    signal.signal(signal.SIGINT, lambda *_: stop.ask(130))
    signal.signal(signal.SIGTERM, lambda *_: stop.ask(143))
    settings = RenderSettings(segment_s=arguments.segment_s)
    job = Job(arguments.portrait, arguments.audio, arguments.output, settings)
    try:
        run_job(
            job,
            TrivialEngine(clip_s=arguments.clip_s),
            options=RunOptions(),
            on_event=lambda event: print(events.to_json(event), flush=True),  # noqa: T201
            stop=stop,
        )
    except HalloError as error:
        print(json.dumps({"event": "failed", "message": str(error)}), file=sys.stderr)  # noqa: T201
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
