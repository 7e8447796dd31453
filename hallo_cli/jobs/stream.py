"""Yields a job's clips and frames in order, wherever they are kept.

The runner writes them into files; `stream_frames` hands them to a program.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import tempfile
from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path

from hallo_cli.domain import Bytes, Clip, MotionFrames, Speech
from hallo_cli.errors import DeviceMemoryError, first_line
from hallo_cli.inference.memory import is_out_of_memory
from hallo_cli.jobs import events
from hallo_cli.jobs.engine import Engine
from hallo_cli.jobs.inputs import settled
from hallo_cli.jobs.plan import Job, Segment
from hallo_cli.jobs.prepared_inputs import Prepared, SpeechAhead, prepare
from hallo_cli.jobs.workspace import open_workspace
from hallo_cli.settings.schema import RenderSettings

logger = logging.getLogger(__name__)


class ClipSource:
    """Renders the clips of a prepared job. Where memory runs out, it continues with slower fallbacks."""

    def __init__(
        self,
        engine: Engine,
        settings: RenderSettings,
        prepared: Prepared,
        segments: Sequence[Segment],
        report: events.Listener = events.ignore,
    ) -> None:
        """`settings`: resolved; `segments`: those whose clips are asked for, in order. Close it after use."""
        self._engine, self._settings, self._prepared, self._report = engine, settings, prepared, report
        self._speech = SpeechAhead(prepared, segments, works_ahead=engine.leaves_processor_free)

    def clips(
        self, segment: Segment, start: int, motion: MotionFrames | None
    ) -> Generator[tuple[Clip, Bytes]]:
        """The segment's clips from frame `start` on, each with the frames of the video.

        The job's last clip is cropped. Raises DeviceMemoryError if no fallback is left.
        """
        while start < segment.stop:
            try:
                with closing(self._attempt(segment, start, motion)) as clips:
                    for clip in clips:
                        composed = self._prepared.compositor.compose(clip.frames)
                        start, motion = start + len(clip.frames), clip.motion
                        yield clip, composed
                return
            except Exception as error:  # torch and its backends share no class for lack of memory
                if not is_out_of_memory(error):
                    raise
                reason = first_line(error)
            _fall_back(self._engine, reason, self._report)

    def close(self) -> None:
        """Wait for speech that is being analysed."""
        self._speech.close()

    def _attempt(self, segment: Segment, start: int, motion: MotionFrames | None) -> Generator[Clip]:
        speech, portrait = self._heard(segment, start), self._prepared.portrait
        left = segment.stop - start
        with closing(self._engine.clips(portrait, self._settings, speech, motion)) as steps:
            for step in steps:
                if isinstance(step, Clip):
                    yield dataclasses.replace(step, frames=step.frames[:left])
                    left -= min(len(step.frames), left)
                else:
                    self._report(events.StepRendered(step.clip, step.step, step.n_steps))

    def _heard(self, segment: Segment, start: int) -> Speech:
        """Features from frame `start` to the end of the last clip, cut from those of the whole segment."""
        whole = self._speech.of(segment)
        offset = start - whole.first_frame
        return dataclasses.replace(
            whole, features=whole.features[offset:], first_frame=start, n_frames=whole.n_frames - offset
        )


def load_networks(engine: Engine, settings: RenderSettings, report: events.Listener) -> None:
    """Load the networks before the first clip needs them, with fallbacks as a `ClipSource` has them."""
    while True:
        try:
            engine.load_networks(settings)
            return
        except Exception as error:  # as above
            if not is_out_of_memory(error):
                raise
            reason = first_line(error)
        _fall_back(engine, reason, report)


def stream_frames(job: Job, engine: Engine, *, on_event: events.Listener = events.ignore) -> Generator[Bytes]:
    """Yield the frames of a job's video as [height, width, 3] uint8 RGB, one at a time.

    They are the frames that `run_job` encodes. Nothing stays on disk. Raises what `run_job` raises.
    """
    job = settled(job, engine)
    with (
        tempfile.TemporaryDirectory(prefix="hallo-") as folder,
        open_workspace(Path(folder)) as workspace,
    ):
        prepared = prepare(job, engine, workspace)
        segments = prepared.plan.segments
        load_networks(engine, job.settings, on_event)
        with closing(ClipSource(engine, job.settings, prepared, segments, on_event)) as source:
            motion: MotionFrames | None = None
            for segment in segments:
                for clip, frames in source.clips(segment, segment.start, motion):
                    motion = clip.motion
                    yield from frames


def _fall_back(engine: Engine, reason: str, report: events.Listener) -> None:
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
