import dataclasses
import threading
from contextlib import closing

import numpy as np
import pytest
from job_doubles import LoudnessTrack, TrivialEngine

from hallo_cli.domain import Speech
from hallo_cli.errors import SpeechError
from hallo_cli.jobs.plan import Job, Segment
from hallo_cli.jobs.prepared_inputs import Prepared, SpeechAhead, whole_clips
from hallo_cli.jobs.runner import prepare_ahead, run_job
from hallo_cli.media.audio import Recording
from hallo_cli.media.probe import frame_hashes
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.locks import locked


@dataclasses.dataclass
class NotedTrack(LoudnessTrack):
    """Notes which stretches are analysed."""

    noted: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    def speech(self, start: int, stop: int) -> Speech:
        self.noted.append((start, stop))
        return super().speech(start, stop)


class NotingEngine(TrivialEngine):
    def __init__(self) -> None:
        super().__init__()
        self.noted: list[tuple[int, int]] = []

    def track(self, recording: Recording, n_frames: int, settings: RenderSettings) -> NotedTrack:
        return NotedTrack(recording, n_frames, settings.fps, self.noted)


def test_job_prepared_ahead_gives_the_same_frames_and_analyses_nothing_twice(
    job: Job, undisturbed: list[str]
) -> None:
    engine = NotingEngine()
    prepared = prepare_ahead(job, engine)
    (first,) = engine.noted
    run_job(job, engine, prepared=prepared)
    assert list(frame_hashes(job.output)) == undisturbed
    assert engine.noted.count(first) == 1
    assert len(engine.noted) == len(prepared.plan.segments)


def test_inputs_that_changed_after_they_were_prepared_are_analysed_anew(job: Job) -> None:
    engine = TrivialEngine()
    prepared = prepare_ahead(job, engine)
    job.portrait.write_bytes(job.portrait.read_bytes()[::-1])
    run_job(job, engine, prepared=prepared)
    ahead = list(frame_hashes(job.output))
    job.output.unlink()
    run_job(job, TrivialEngine())
    assert list(frame_hashes(job.output)) == ahead


def test_workspace_that_vanished_after_preparing_is_made_anew(job: Job, undisturbed: list[str]) -> None:
    prepared = prepare_ahead(job, TrivialEngine())
    (workspace,) = job.output.parent.glob(".hallo-*")
    (workspace / "plan.json").unlink()
    run_job(job, TrivialEngine(), prepared=prepared)
    assert list(frame_hashes(job.output)) == undisturbed


def test_job_that_cannot_be_prepared_leaves_no_workspace(job: Job) -> None:
    job.audio.write_text("no sound", encoding="utf-8")
    with pytest.raises(SpeechError):
        prepare_ahead(job, TrivialEngine())
    assert not list(job.output.parent.glob(".hallo-*"))


def test_preparing_waits_for_a_worker_that_is_dying(job: Job) -> None:
    prepare_ahead(job, TrivialEngine())
    (workspace,) = job.output.parent.glob(".hallo-*")
    holding, dying = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(workspace / "lock", what="this job"):
            holding.set()
            dying.wait(10)

    threading.Thread(target=hold).start()
    holding.wait(10)
    threading.Timer(0.5, dying.set).start()
    prepare_ahead(job, TrivialEngine())
    assert dying.is_set()


def test_clips_cover_a_segment_and_what_is_left_of_the_last_clip() -> None:
    assert whole_clips(Segment(1, 8, 16), 4) == (8, 16)
    assert whole_clips(Segment(1, 8, 13), 4) == (8, 16)


@dataclasses.dataclass
class FailingTrack(LoudnessTrack):
    """Cannot analyse anything that begins at `bad_start`."""

    bad_start: int = -1
    error: Exception = dataclasses.field(default_factory=lambda: SpeechError("unreadable"))

    def speech(self, start: int, stop: int) -> Speech:
        if start == self.bad_start:
            raise self.error
        return super().speech(start, stop)


class FailingEngine(TrivialEngine):
    def __init__(self, bad_start: int) -> None:
        super().__init__()
        self.bad_start = bad_start

    def track(self, recording: Recording, n_frames: int, settings: RenderSettings) -> FailingTrack:
        return FailingTrack(recording, n_frames, settings.fps, self.bad_start)


def ahead(prepared: Prepared, *, works_ahead: bool = True) -> tuple[SpeechAhead, list[Segment]]:
    segments = list(prepared.plan.segments)
    return SpeechAhead(prepared, segments, works_ahead=works_ahead), segments


@pytest.mark.parametrize("works_ahead", [True, False])
def test_next_segment_is_heard_while_one_is_in_hand(job: Job, *, works_ahead: bool) -> None:
    engine = NotingEngine()
    prepared = prepare_ahead(job, engine)
    speech, segments = ahead(prepared, works_ahead=works_ahead)
    first = speech.of(segments[0])
    speech._thread.submit(lambda: None).result()  # behind all that was begun
    assert len(engine.noted) == 1 + works_ahead
    assert speech.of(segments[0]) is first  # as after a fallback
    speech.close()


def test_speech_made_ahead_is_the_same(job: Job) -> None:
    prepared = prepare_ahead(job, TrivialEngine())
    speech, segments = ahead(prepared)
    with closing(speech):
        for segment in segments:
            expected = prepared.track.speech(*whole_clips(segment, prepared.plan.clip_frames))
            assert np.array_equal(speech.of(segment).features, expected.features)


@pytest.mark.parametrize("works_ahead", [True, False])
def test_speech_that_cannot_be_analysed_ends_the_job_at_its_segment(job: Job, *, works_ahead: bool) -> None:
    second = prepare_ahead(job, TrivialEngine()).plan.segments[1]
    engine = FailingEngine(second.start)
    engine.leaves_processor_free = works_ahead
    with pytest.raises(SpeechError, match="unreadable"):
        run_job(job, engine)
    assert len(engine.clips_rendered) * engine.clip_frames == second.start
    run_job(job, TrivialEngine())


def test_lack_of_memory_in_the_analysis_is_tried_again(job: Job) -> None:
    prepared = prepare_ahead(job, TrivialEngine())
    second = prepared.plan.segments[1]
    whole = prepared.track
    assert isinstance(whole, LoudnessTrack)
    track = FailingTrack(whole.recording, whole.n_frames, whole.fps, second.start)
    speech, _ = ahead(dataclasses.replace(prepared, track=track))
    track.error = MemoryError()
    with closing(speech):
        with pytest.raises(MemoryError):
            speech.of(second)
        track.bad_start = -1
        assert speech.of(second).first_frame == second.start
