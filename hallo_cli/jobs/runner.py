"""Runs one job to its end: analyse, render missing segments, join them, move the video to its output path.

Knows neither networks nor the command line: it calls an `Engine` and reports events to a listener.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.errors import EncoderError, InputError, Interrupted, JobError
from hallo_cli.inference.memory import reporting_memory
from hallo_cli.jobs import events, record
from hallo_cli.jobs.assembly import finished, require_soundtrack
from hallo_cli.jobs.correction import Earlier
from hallo_cli.jobs.engine import Engine
from hallo_cli.jobs.inputs import SettledJob, require_unchanged, settled, work_name, work_prefix
from hallo_cli.jobs.marking import UNMARKED, Marking
from hallo_cli.jobs.outputs import require_free_name, require_writable
from hallo_cli.jobs.plan import Job, Segment
from hallo_cli.jobs.prepared_inputs import Prepared, prepare
from hallo_cli.jobs.record import JobResult
from hallo_cli.jobs.sending import Sending
from hallo_cli.jobs.stream import ClipSource, load_networks
from hallo_cli.jobs.workspace import open_workspace, remove_abandoned, remove_workspace
from hallo_cli.media.files import shown
from hallo_cli.media.probe import probe
from hallo_cli.media.video import SegmentWriter, require_encoder
from hallo_cli.media.video_format import VideoFormat

STOP_S = 15.0  # time limit for the current clip after a request to stop
PATIENCE_S = 20.0  # for a dying worker of a batch
MIN_CLIPS_FOR_SPEED = 4  # fewer say little about a longer job


@dataclass(frozen=True)
class RunOptions:
    """What to do with files; changes no pixel."""

    work_dir: Path | None = None  # where the job's folder is made; None: beside the output
    resume: bool = True
    keep_work: bool = False
    overwrite: bool = False
    marking: Marking = UNMARKED
    earlier: Earlier | None = None  # a render of another recording that this one corrects
    sending: Sending | None = None  # where the finished video goes, too


class StopRequest:
    """Asks a running job to stop after the current clip; set by a signal handler or another thread."""

    def __init__(self) -> None:
        self.exit_status: int | None = None
        self.asked_at = 0.0  # monotonic

    def ask(self, exit_status: int = 130) -> None:
        """Stop soon, with this exit status."""
        self.asked_at = self.asked_at or time.monotonic()
        self.exit_status = exit_status


def run_job(
    job: Job,
    engine: Engine,
    *,
    options: RunOptions = RunOptions(),
    on_event: events.Listener = events.ignore,
    stop: StopRequest | None = None,
    prepared: Prepared | None = None,
) -> JobResult:
    """Render a job, or resume it.

    `prepared`: the result of `prepare_ahead` for the same job. Raises InputError, SettingsError,
    WeightsError, DeviceMemoryError, JobError or Interrupted; finished work is kept unless the settings or
    inputs are the cause.
    """
    return _Run(engine, options, on_event, stop or StopRequest()).execute(job, prepared)


def prepare_ahead(job: Job, engine: Engine) -> Prepared:
    """Analyse a job that is rendered later, with the default options, while another one renders.

    Waits briefly if a dying worker still holds the job. Raises InputError, SettingsError or JobError.
    """
    job = settled(job, engine)
    with open_workspace(_root(job, RunOptions()), patience_s=PATIENCE_S) as workspace:
        return prepare(job, engine, workspace)


def find_obstacles(job: SettledJob, options: RunOptions = RunOptions()) -> JobResult | None:
    """Check a job before anything is rendered; returns the result if it is already done.

    Raises SettingsError, OutputError (FarFolderError among them), InputError (ConsentError among them) or
    EncoderError.
    """
    require_writable(job)
    if not options.overwrite:
        if done := record.find_finished(job):
            return done
        require_free_name(job)
        if options.sending:
            options.sending.require_free(job.output)
    options.marking.require()
    options.marking.consents(job)
    require_encoder(job.settings.codec)
    require_soundtrack(job)
    if job.corrects and options.earlier is None:
        raise InputError(
            "this video was made with frames of an earlier render, so its record alone cannot repeat it. "
            "Render its portrait and recording without --from."
        )
    return None


class _Run:
    """The state of one run of one job."""

    def __init__(
        self, engine: Engine, options: RunOptions, on_event: events.Listener, stop: StopRequest
    ) -> None:
        self.engine = engine
        self.options = options
        self.report = on_event
        self.stop = stop
        self.last_step = 0.0  # monotonic time of the last denoising step
        self.began = time.monotonic()
        self.timings: dict[str, float] = {}

    def execute(self, job: Job, prepared: Prepared | None) -> JobResult:
        with self._stage("analyse"):
            self.job = settled(job, self.engine)
            if done := find_obstacles(self.job, self.options):
                return self._finish(done)
        root = _root(self.job, self.options)
        with open_workspace(root, resume=self.options.resume) as self.workspace:
            with self._stage("analyse"):
                self._prepare(prepared)
            self._render()
            with self._stage("join"):
                result = self._join()
            if self.options.keep_work:
                result = dataclasses.replace(result, kept=root)
            else:
                remove_workspace(root)
                remove_abandoned(root.parent, work_prefix(self.job))
        return self._finish(result)

    def _prepare(self, ahead: Prepared | None) -> None:
        name = self.job.inputs.pictures
        if ahead is None or ahead.plan.fingerprint != name or not ahead.is_of(self.workspace):
            earlier = self.options.earlier
            ahead = prepare(self.job, self.engine, self.workspace, earlier=earlier, between=self._obey_stop)
            self._obey_stop()
            for warning in ahead.warnings():
                self.report(events.Warned(warning))
        self.prepared = ahead
        self.portrait, self.compositor, self.plan = ahead.portrait, ahead.compositor, ahead.plan

    def _render(self) -> None:
        missing: Sequence[Segment] = self.workspace.missing(self.plan)
        if missing and missing[0].is_taken:
            self._take_over(missing[0])
            missing = missing[1:]
        self.frames_done = missing[0].start if missing else self.plan.n_frames
        self.report(
            events.Planned(
                n_frames=self.plan.n_frames,
                fps=self.plan.fps,
                n_clips=self.plan.n_clips,
                n_segments=len(self.plan.segments),
                frames_done=self.frames_done,
                work_dir=self.workspace.root,
            )
        )
        if missing:
            with self._stage("load"):
                load_networks(self.engine, self.job.settings, self.report)
        self.clip_times = [time.monotonic()]
        with self._stage("render"):
            while missing:
                missing = self._render_until_rejoined(missing)
        self._note_speed()

    def _render_until_rejoined(self, missing: Sequence[Segment]) -> Sequence[Segment]:
        """Render segments in order; returns those of the new plan if the rest can be taken over."""
        source = ClipSource(self.engine, self.job.settings, self.prepared, missing, self._report_step)
        with closing(source):
            for segment in missing:
                if segment.is_taken:
                    self._take_over(segment)
                else:
                    with reporting_memory():
                        self._render_segment(segment, source)
                self.report(events.SegmentCommitted(segment.index, len(self.plan.segments)))
                correction = self.prepared.correction
                plan = correction and correction.rejoined(self.plan, segment, self.workspace)
                if plan:
                    self.workspace.write_plan(plan)
                    self.plan, self.prepared = plan, dataclasses.replace(self.prepared, plan=plan)
                    return plan.segments[segment.index + 1 :]
        return ()

    def _take_over(self, segment: Segment) -> None:
        """Copy a segment from the earlier render."""
        if self.prepared.correction is None:
            raise JobError(
                f"the earlier render's work for {shown(self.job.output)} is gone. Add --no-resume to render "
                "everything."
            )
        self.prepared.correction.take_over(segment, self.workspace, self._format())
        self._report_clip(segment.stop)

    def _note_speed(self) -> None:
        n_clips = len(self.clip_times) - 1
        if n_clips < MIN_CLIPS_FOR_SPEED:
            return
        first, *_, last = self.clip_times[1:]  # the first clip warms up, and may compile
        seconds_per_frame = (last - first) / (n_clips - 1) / self.plan.clip_frames
        self.engine.note_speed(self.job.settings, seconds_per_frame)

    def _render_segment(self, segment: Segment, source: ClipSource) -> None:
        spool = self.workspace.spool(segment)
        kept = spool.recover()
        motion = kept or self.workspace.state_before(self.plan, segment)
        frame = segment.start
        with SegmentWriter(self.workspace.segment_path(segment), self._format()) as writer:
            if kept:
                for frames in spool.read(self.compositor.frame_shape):
                    writer.write(self.compositor.compose(frames))
                    frame += len(frames)
                self._report_clip(frame)
            with closing(source.clips(segment, frame, motion)) as clips:
                for clip, composed in clips:
                    writer.write(composed)
                    spool.append(clip)
                    frame += len(clip.frames)
                    if self.options.keep_work and len(clip.frames) == self.plan.clip_frames:
                        self.workspace.keep_state(frame, clip.motion)
                    self.clip_times.append(time.monotonic())
                    motion = clip.motion
                    self._report_clip(frame)
                    self._obey_stop()
            assert motion is not None
            self.workspace.write_state(segment, motion)
            writer.commit()
        spool.remove()

    def _format(self) -> VideoFormat:
        width, height = self.compositor.size
        settings = self.job.settings
        return VideoFormat(
            width, height, settings.fps, settings.codec, settings.crf, self.options.marking.comment
        )

    def _join(self) -> JobResult:
        self._require_whole_segments()
        with finished(
            self.job,
            self.workspace,
            self.plan.segments,
            self._format(),
            marking=self.options.marking,
            between=self._obey_stop,
        ) as video:
            self.timings["total"] = time.monotonic() - self.began
            self._require_unchanged()
            if not self.options.overwrite:
                require_free_name(self.job)  # another program may have created the output meanwhile
            made_with, square = self.engine.describe(), self.compositor.shown
            return record.publish(self.job, video, self.plan, made_with, self.timings, square=square)

    def _require_unchanged(self) -> None:
        """Delete the work if the inputs changed, because the record would not match it."""
        try:
            require_unchanged(self.job, self.job.inputs)
        except InputError:
            remove_workspace(self.workspace.root)
            raise

    def _require_whole_segments(self) -> None:
        """Delete segments with missing frames, so that the next run renders them again."""
        for segment in self.plan.segments:
            path = self.workspace.segment_path(segment)
            if _count_frames(path) != segment.n_frames:
                path.unlink(missing_ok=True)
                raise EncoderError(
                    f"segment {segment.index} does not have its {segment.n_frames} frames and was removed. "
                    "Run the same command again; the other segments are kept."
                )

    def _report_step(self, event: events.Event) -> None:
        """Pass on an event of the current clip; stop if the clip would not end in time."""
        self.report(event)
        if not isinstance(event, events.StepRendered):
            return
        now = time.monotonic()
        step_s, self.last_step = now - (self.last_step or now), now
        if self.stop.exit_status is not None:
            left_s = step_s * (event.n_steps - event.step + 1)  # one more for decoding
            if now + left_s > self.stop.asked_at + STOP_S:
                self._obey_stop()

    def _report_clip(self, frame: int) -> None:
        clip = max(0, frame - 1) // self.plan.clip_frames
        self.report(events.ClipRendered(clip, frame, self.plan.n_frames))

    def _finish(self, result: JobResult) -> JobResult:
        if self.options.sending:
            with self._stage("send"):
                self.options.sending.send(result.output, result.sidecar, may_replace=self.options.overwrite)
        self.report(
            events.Finished(result.output, result.sidecar, result.n_frames, result.seconds, result.was_done)
        )
        return result

    def _obey_stop(self) -> None:
        if self.stop.exit_status is not None:
            raise Interrupted(
                "stopped; finished work is kept, and the same command resumes.",
                exit_status=self.stop.exit_status,
            )

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._obey_stop()
        if name not in self.timings:
            self.report(events.StageStarted(name))
        start = time.monotonic()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.monotonic() - start


def _root(job: SettledJob, options: RunOptions) -> Path:
    return (options.work_dir or job.output.parent) / work_name(job, job.inputs.pictures)


def _count_frames(video: Path) -> int | None:
    """The number of frames in a segment's file; None if it cannot be read."""
    try:
        track = probe(video, what="segment").video
    except InputError:
        return None
    return track.n_frames if track else None
