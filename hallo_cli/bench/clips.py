"""Renders several clips of the example as a job does, with all that overlaps overlapping, and times that."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.bench.clock import now
from hallo_cli.bench.example import Rig
from hallo_cli.domain import Bytes, Clip
from hallo_cli.inference import spans as trace
from hallo_cli.media.video import SegmentWriter, VideoFormat
from hallo_cli.settings.schema import RenderSettings

DENOISING = ("conditions", "denoising step", "motion frames")
BEHIND = ("decoding", "encoding")  # what may run while the next clip is denoised


@dataclass(frozen=True)
class Film:
    """Several clips, one after the other."""

    clips: tuple[Bytes, ...]  # the frames of each, [n_frames, height, width, 3]
    seconds: float  # from the first clip's conditions to the encoded file; not portrait and speech

    @property
    def n_frames(self) -> int:
        """Of all clips."""
        return sum(len(frames) for frames in self.clips)

    @property
    def frame_s(self) -> float:
        """Seconds a frame."""
        return self.seconds / self.n_frames


@dataclass(frozen=True)
class Overlap:
    """How much of a film's decoding and encoding took no time of its own."""

    denoising_s: float
    behind_s: float  # decoding and encoding
    shared_s: float  # at the same time as denoising

    @classmethod
    def of(cls, spans: Sequence[trace.Span]) -> Overlap:
        """Of a film's trace."""
        return cls(
            trace.total_s(spans, DENOISING),
            trace.total_s(spans, BEHIND),
            trace.shared_s(spans, DENOISING, BEHIND),
        )


def film(rig: Rig, settings: RenderSettings, n_clips: int) -> Film:
    """Render the first clips of the example with settled settings; frames and their encoded file."""
    with tempfile.TemporaryDirectory() as folder:
        portrait = rig.portrait(settings)
        speech = rig.speech(settings, Path(folder), n_clips=n_clips)
        context = rig.animator.prepare(portrait, settings)
        height, width = portrait.pixels.shape[:2]
        video = VideoFormat(width, height, settings.fps, settings.codec, settings.crf)
        clips = []
        start = now(rig.animator.execution.device)  # what was prepared is not part of it
        with (
            SegmentWriter(Path(folder, "film.mp4"), video) as writer,
            closing(rig.animator.clips(context, speech)) as steps,
        ):
            for clip in (step for step in steps if isinstance(step, Clip)):
                with trace.span("encoding"):
                    writer.write(clip.frames)
                clips.append(clip.frames)
            with trace.span("encoding"):
                writer.commit()
        return Film(tuple(clips), time.perf_counter() - start)
