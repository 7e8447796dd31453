"""Prepares a job's inputs before its first frame: work for the CPU, not for the GPU.

A batch prepares the next row while it renders one; a single job prepares its own inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from hallo_cli.analysis.hearing import listen
from hallo_cli.domain import Portrait, Speech
from hallo_cli.errors import InputError
from hallo_cli.jobs.compositor import Compositor
from hallo_cli.jobs.correction import Correction, Earlier
from hallo_cli.jobs.engine import Engine, SpeechTrack
from hallo_cli.jobs.inputs import SettledJob, require_unchanged
from hallo_cli.jobs.plan import Job, JobPlan, Segment, count_frames, plan_segments
from hallo_cli.jobs.workspace import Workspace, remove_workspace
from hallo_cli.media.audio import Recording
from hallo_cli.media.video_format import exact_rate
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.writing import reporting_write_errors


@dataclass(frozen=True)
class Prepared:
    """A job's portrait and recording, analysed, and its plan."""

    portrait: Portrait
    compositor: Compositor
    track: SpeechTrack
    plan: JobPlan
    speech: Speech | None  # of the first missing segment, in whole clips
    recording: Recording
    correction: Correction | None = None  # of an earlier render

    def heard(self, start: int, stop: int) -> Speech:
        """Features of frames [start, stop), precomputed if they are for exactly these frames."""
        ahead = self.speech
        if ahead is not None and (ahead.first_frame, ahead.n_frames) == (start, stop - start):
            return ahead
        return self.track.speech(start, stop)

    def warnings(self) -> tuple[str, ...]:
        """Warnings about the inputs; analyses the whole recording."""
        heard = listen(self.recording.blocks(), self.recording.notes)
        return (*self.portrait.notes, *self.compositor.warnings, *heard.warnings())

    def is_of(self, workspace: Workspace) -> bool:
        """Whether the workspace still has the files that this was made from."""
        return workspace.audio.exists() and workspace.plan() == self.plan


class SpeechAhead:
    """The speech of a job's segments, asked for in order.

    If the CPU is free, the next segment's speech is analysed while the current one is rendered; an error in
    it is raised when that segment is asked for. Close it after use.
    """

    def __init__(self, prepared: Prepared, segments: Sequence[Segment], *, works_ahead: bool) -> None:
        self._prepared = prepared
        self._segments = [segment for segment in segments if not segment.is_taken]
        self._n_begun = 2 if works_ahead else 1
        self._thread = ThreadPoolExecutor(1, "speech")
        self._made: dict[Segment, Future[Speech]] = {}

    def of(self, segment: Segment) -> Speech:
        """Features of the segment's whole clips; a second call gives the same. Raises SpeechError."""
        at = self._segments.index(segment)
        wanted = self._segments[at : at + self._n_begun]
        self._made = {one: self._made.get(one) or self._begin(one) for one in wanted}
        try:
            return self._made[segment].result()
        except Exception:  # of any kind: raised again
            del self._made[segment]  # tried again if memory had run out
            raise

    def close(self) -> None:
        """Wait for what is being analysed."""
        self._thread.shutdown(cancel_futures=True)

    def _begin(self, segment: Segment) -> Future[Speech]:
        frames = whole_clips(segment, self._prepared.plan.clip_frames)
        return self._thread.submit(self._prepared.heard, *frames)


def prepare(
    job: SettledJob,
    engine: Engine,
    workspace: Workspace,
    *,
    earlier: Earlier | None = None,
    between: Callable[[], None] = lambda: None,
) -> Prepared:
    """Analyse a job's inputs and write its plan, or read that of an earlier run.

    `earlier`: a render of another recording whose frames are taken over where the recordings agree.
    `between` is called between the steps; what it raises stops the analysis.

    What is kept counts once the plan is there, and that is written when the inputs have turned out to be
    still those that name the workspace. Raises InputError if an input cannot be used or was replaced; then a
    workspace that holds nothing rendered is removed.
    """
    settings = job.settings
    try:
        portrait = engine.portrait(job.portrait, settings)
        between()
        compositor = engine.compositor(job.portrait, portrait, settings)
        between()
        recording = _recording(job, engine, workspace)
        between()
        require_unchanged(job, job.inputs)
    except InputError:
        if workspace.plan() is None:
            remove_workspace(workspace.root)
        raise
    n_frames = count_frames(recording.duration_s, float(exact_rate(settings.fps)))
    track = engine.track(recording, n_frames, settings)
    correction = None if earlier is None else Correction.of(earlier, recording, n_frames)
    if correction and correction.delay:
        track = track.delayed(correction.delay)
    between()
    plan = workspace.plan()
    if plan is None:
        plan = _new_plan(settings, track, fingerprint=job.inputs.pictures, n_frames=n_frames)
        plan = correction.planned(plan, settings.segment_s) if correction else plan
        workspace.write_plan(plan)
    rendered = [segment for segment in workspace.missing(plan) if not segment.is_taken]
    between()
    speech = track.speech(*whole_clips(rendered[0], plan.clip_frames)) if rendered else None
    return Prepared(portrait, compositor, track, plan, speech, recording, correction)


def whole_clips(segment: Segment, clip_frames: int) -> tuple[int, int]:
    """The frames [start, stop) of a segment's whole clips: at the job's end, more than the segment's."""
    n_clips = -(-(segment.stop - segment.start) // clip_frames)
    return segment.start, segment.start + n_clips * clip_frames


def _recording(job: Job, engine: Engine, workspace: Workspace) -> Recording:
    """The decoded sound, from an earlier run if it exists."""
    file = workspace.audio
    if file.exists() and workspace.plan() is not None:
        return Recording.kept(file)
    with reporting_write_errors(file):
        return engine.decode(job.audio, file, job.settings)


def _new_plan(settings: RenderSettings, track: SpeechTrack, *, fingerprint: str, n_frames: int) -> JobPlan:
    assert settings.clip_frames is not None, "the settings are resolved"
    segment_frames = round(settings.segment_s * settings.fps)
    pauses = track.pauses() if n_frames > segment_frames else ()
    segments = plan_segments(
        n_frames, clip_frames=settings.clip_frames, segment_frames=segment_frames, pauses=pauses
    )
    return JobPlan(fingerprint, n_frames, settings.fps, settings.clip_frames, segments)
