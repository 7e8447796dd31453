import dataclasses
import hashlib
from pathlib import Path

import pytest
from job_doubles import SIZE, ShortOfMemory, TrivialEngine

from hallo_cli.domain import Bytes, Portrait
from hallo_cli.errors import DeviceMemoryError
from hallo_cli.jobs import events
from hallo_cli.jobs.compositor import Compositor
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.jobs.stream import stream_frames
from hallo_cli.settings.schema import RenderSettings


class WatchedEngine(TrivialEngine):
    """Keeps the digests of all composed frames."""

    def compositor(self, path: Path, portrait: Portrait, settings: RenderSettings) -> Compositor:
        self.composed: list[str] = []

        def compose(frames: Bytes) -> Bytes:
            self.composed += digest_of(frames)
            return frames

        return dataclasses.replace(super().compositor(path, portrait, settings), compose=compose)


def digest_of(frames: object) -> list[str]:
    return [hashlib.sha256(frame.tobytes()).hexdigest() for frame in frames]  # type: ignore[attr-defined]


def test_frames_come_one_by_one_in_order(job: Job) -> None:
    frames = list(stream_frames(job, TrivialEngine()))
    assert len(frames) == 50
    assert {frame.shape for frame in frames} == {(SIZE, SIZE, 3)}


def test_frames_are_those_of_the_video(job: Job) -> None:
    engine = WatchedEngine()
    run_job(job, engine)
    assert digest_of(stream_frames(job, TrivialEngine())) == engine.composed


def test_frames_are_made_when_they_are_asked_for(job: Job) -> None:
    engine = TrivialEngine()
    frames = stream_frames(job, engine)
    next(frames)
    assert engine.clips_rendered == [0]
    frames.close()


def test_frames_are_the_same_after_memory_ran_out(job: Job) -> None:
    whole = digest_of(stream_frames(job, TrivialEngine()))
    engine = TrivialEngine(fails=[MemoryError("no more")])
    seen: list[events.Event] = []
    assert digest_of(stream_frames(job, engine, on_event=seen.append)) == whole
    assert events.FellBack("smaller chunks", "no more") in seen


def test_frames_are_the_same_after_memory_ran_out_in_the_middle_of_a_segment(job: Job) -> None:
    whole = digest_of(stream_frames(job, TrivialEngine()))
    assert digest_of(stream_frames(job, ShortOfMemory())) == whole


def test_frames_end_when_no_fallback_is_left(job: Job) -> None:
    engine = TrivialEngine(fails=[MemoryError("no more")] * 3)
    with pytest.raises(DeviceMemoryError, match="no more"):
        list(stream_frames(job, engine))


def test_stream_leaves_nothing_beside_the_inputs(job: Job) -> None:
    list(stream_frames(job, TrivialEngine()))
    assert {path.name for path in job.output.parent.iterdir()} == {"face.png", "speech.wav"}
