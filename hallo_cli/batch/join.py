"""Joins the rendered parts of a row into its video."""

import dataclasses
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hallo_cli.batch.parts import blended, part_path
from hallo_cli.batch.task import Part, Task
from hallo_cli.errors import EncoderError, InputError, SettingsError
from hallo_cli.jobs import record
from hallo_cli.jobs.assembly import finished
from hallo_cli.jobs.engine import Engine
from hallo_cli.jobs.inputs import require_unchanged, settled, work_name
from hallo_cli.jobs.marking import UNMARKED, Marking
from hallo_cli.jobs.outputs import require_free_name
from hallo_cli.jobs.plan import Job, JobPlan, Segment
from hallo_cli.jobs.record import JobResult
from hallo_cli.jobs.workspace import open_workspace, remove_workspace
from hallo_cli.media.probe import probe
from hallo_cli.media.video import SegmentWriter, read_frames
from hallo_cli.media.video_format import VideoFormat


def join(job: Job, task: Task, engine: Engine, marking: Marking = UNMARKED) -> JobResult:
    """Blend the parts' videos, add the recording, and give the video its name.

    Raises EncoderError, OutputError, and SettingsError if something else has the output's name.
    """
    began = time.monotonic()
    name = task.fingerprint + (f" seed {job.settings.seed}" if task.seed_offset else "")
    found = settled(job, engine)
    job = dataclasses.replace(found, inputs=dataclasses.replace(found.inputs, fingerprint=name))
    if (done := record.find_finished(job)) is not None:
        return done
    if not task.may_replace:
        require_free_name(job)
    parts = task.parts
    videos = [part_path(Path(task.parts_dir), index) for index in range(len(parts))]
    form = dataclasses.replace(_format(job, videos[0]), comment=marking.comment)
    root = job.output.parent / work_name(job, name)
    with open_workspace(root) as workspace:
        whole = Segment(0, 0, task.frames)
        _blend(videos, parts, workspace.segment_path(whole), form)
        with finished(job, workspace, [whole], form, marking=marking) as video:
            plan = _plan(task, parts, fps=job.settings.fps)
            took = {"total": _seconds_of(videos) + time.monotonic() - began}
            require_unchanged(job, found.inputs)
            if not task.may_replace:
                require_free_name(job)
            portrait = engine.portrait(job.portrait, job.settings)
            square = engine.compositor(job.portrait, portrait, job.settings).shown
            result = record.publish(job, video, plan, engine.describe(), took, square=square)
        remove_workspace(root)
    shutil.rmtree(task.parts_dir, ignore_errors=True)
    return result


def _blend(videos: Sequence[Path], parts: Sequence[Part], target: Path, form: VideoFormat) -> None:
    with SegmentWriter(target, form) as writer:
        for frame in blended(map(read_frames, videos), parts):
            writer.write(frame[None])
        writer.commit()


def _format(job: Job, video: Path) -> VideoFormat:
    track = probe(video, what="part").video
    if track is None:
        raise EncoderError(f"{video} holds no picture; run again.")
    settings = job.settings
    return VideoFormat(track.width, track.height, settings.fps, settings.codec, settings.crf)


def _plan(task: Task, parts: Sequence[Part], *, fps: float) -> JobPlan:
    """The entries of the record about clips, from which joins are measured.

    Parts begin where their overlap requires, so the clips are not those of a row rendered in one piece: the
    whole counts as one clip.
    """
    segments = tuple(Segment(index, part.start, part.stop) for index, part in enumerate(parts))
    return JobPlan(task.fingerprint, task.frames, fps, task.frames, segments)


def _seconds_of(videos: Sequence[Path]) -> float:
    """The total compute time of the parts whose records tell it."""
    total_s = 0.0
    for video in videos:
        with suppress(InputError, SettingsError):  # no reason to lose a row that is done
            total_s += record.read_record(record.sidecar_path(video)).timings_s.get("total", 0.0)
    return total_s
