"""Yields a job's clips and frames in order, wherever they are kept.

The runner writes them into files; `stream_frames` hands them to a program.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import tempfile
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.domain import Bytes, Clip, MotionFrames, Speech
from hallo_cli.errors import DeviceMemoryError
from hallo_cli.inference.memory import is_out_of_memory
from hallo_cli.jobs import events
from hallo_cli.jobs.engine import Engine
from hallo_cli.jobs.inputs import inspect_inputs
from hallo_cli.jobs.plan import Job, Segment
from hallo_cli.jobs.prepared_inputs import Prepared, SpeechAhead, prepare
from hallo_cli.jobs.workspace import open_workspace
from hallo_cli.printable import first_line
from hallo_cli.settings.schema import RenderSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipSource:
    """Renders the clips of a prepared job."""

    engine: Engine
    settings: RenderSettings  # resolved
    prepared: Prepared
    speech: SpeechAhead
    report: events.Listener = events.ignore

    def clips(self, segment: Segment, start: int, motion: MotionFrames | None) -> Generator[Clip]:
        """The segment's clips from frame `start` on, the job's last one cropped."""
        if start >= segment.stop:
            return
        speech, left = self._heard(segment, start), segment.stop - start
        with closing(self.engine.clips(self.prepared.portrait, self.settings, speech, motion)) as steps:
            for step in steps:
                if isinstance(step, Clip):
                    yield dataclasses.replace(step, frames=step.frames[:left])
                    left -= min(len(step.frames), left)
                else:
                    self.report(events.StepRendered(step.clip, step.step, step.n_steps))

    def _heard(self, segment: Segment, start: int) -> Speech:
        """Features from frame `start` to the end of the last clip, cut from those of the whole segment."""
        whole = self.speech.of(segment)
        offset = start - whole.first_frame
        return dataclasses.replace(
            whole, features=whole.features[offset:], first_frame=start, n_frames=whole.n_frames - offset
        )


def stream_frames(job: Job, engine: Engine, *, on_event: events.Listener = events.ignore) -> Generator[Bytes]:
    """Yield the frames of a job's video as [height, width, 3] uint8 RGB, one at a time.

    They are the frames that `run_job` encodes. Nothing stays on disk. Raises what `run_job` raises.
    """
    job = dataclasses.replace(job, settings=engine.resolve_settings(job.settings))
    inputs = inspect_inputs(job, engine.weights_id)
    with (
        tempfile.TemporaryDirectory(prefix="hallo-") as folder,
        open_workspace(Path(folder)) as workspace,
    ):
        prepared = prepare(job, engine, workspace, inputs)
        segments = prepared.plan.segments
        speech = SpeechAhead(prepared, segments, works_ahead=engine.leaves_processor_free)
        with closing(speech):
            source = ClipSource(engine, job.settings, prepared, speech, on_event)
            motion: MotionFrames | None = None
            for segment in segments:
                for clip in _with_fallbacks(source, segment, motion):
                    motion = clip.motion
                    yield from prepared.compositor.compose(clip.frames)


def fall_back(engine: Engine, reason: str, report: events.Listener) -> None:
    """After memory ran out, let the engine continue with a slower fallback that needs less.

    Call it outside the except block, since the exception's references hold memory. Raises DeviceMemoryError
    if no fallback is left.
    """
    fallback = engine.fall_back()
    gc.collect()
    if fallback is None:
        raise DeviceMemoryError(
            f"out of memory after every fallback ({reason}). Lower --size, close other programs "
            "or use another --device; finished work is kept."
        )
    logger.warning("out of memory: continuing with %s", fallback)
    report(events.FellBack(fallback, reason))


def _with_fallbacks(source: ClipSource, segment: Segment, motion: MotionFrames | None) -> Generator[Clip]:
    """The segment's clips; if memory runs out, the remaining ones with slower fallbacks."""
    start = segment.start
    while True:
        try:
            source.engine.load_networks(source.settings)
            with closing(source.clips(segment, start, motion)) as clips:
                for clip in clips:
                    start, motion = start + len(clip.frames), clip.motion
                    yield clip
            return
        except Exception as error:  # torch and its backends share no class for lack of memory
            if not is_out_of_memory(error):
                raise
            reason = first_line(error)
        fall_back(source.engine, reason, source.report)
