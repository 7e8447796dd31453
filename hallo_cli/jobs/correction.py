"""Takes over the frames of an earlier render whose recording was corrected.

Everything before the correction is copied as it is encoded. Where the rest of the recording is the same, only
later or earlier, the earlier frames are joined again as soon as the new ones have come back to them.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from math import ceil, floor
from pathlib import Path

import numpy as np

from hallo_cli.analysis.head_motion import Delay
from hallo_cli.analysis.loudness import BLOCK_SAMPLES, SPEECH_RANGE_DB, Sound, measure
from hallo_cli.domain import SAMPLE_RATE, Bytes
from hallo_cli.errors import InputError, JobError, SettingsError
from hallo_cli.jobs import record
from hallo_cli.jobs.containers import is_transparent
from hallo_cli.jobs.inputs import inspect_inputs, named, picture_settings, work_name
from hallo_cli.jobs.plan import Job, JobPlan, Segment, plan_segments
from hallo_cli.jobs.workspace import Workspace
from hallo_cli.media.audio import Recording
from hallo_cli.media.cutting import Piece, copy_frames, keyframes
from hallo_cli.media.files import shown
from hallo_cli.media.layout import resized
from hallo_cli.media.video import read_frames
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.settings.schema import RenderSettings

REACH_S = 1.2  # how far away a sound can change a frame
MIDDLE_S = 2.0  # length of rendered segments: after each of them the earlier frames may be joined
STEP_S = 1.0  # of earlier frames that are compared
STEP_SHARE = 0.5  # of the largest step between two of them: how far the new frames may be from the earlier
SEEN = 64  # pixels of the shorter side when frames are compared: smaller, they lose the encoder's noise
COMPARED = 3000 * BLOCK_SAMPLES  # samples read at a time

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Earlier:
    """The kept work of an earlier render."""

    workspace: Workspace
    plan: JobPlan

    @classmethod
    def of(cls, known: record.Record, folder: Path) -> Earlier | None:
        """The kept work of a record, in `folder`; None if it is incomplete or another version made it.

        None for transparent videos, too: their alpha would be lost when frames are compared and cut.
        """
        if is_transparent(known.job.settings):
            return None
        pictures = named(known.job, known.inputs).pictures  # as this version names them
        workspace = Workspace(folder / work_name(known.job, pictures))
        try:
            plan = workspace.plan()
        except (JobError, OSError):
            return None
        if plan is None or plan.fingerprint != pictures:
            return None
        files = [workspace.audio, *map(workspace.segment_path, plan.segments)]
        return cls(workspace, plan) if all(map(Path.is_file, files)) else None

    def pieces(self, start: int, stop: int) -> list[Piece]:
        """Where frames [start, stop) are."""
        found = []
        for segment in self.plan.segments:
            first, last = max(start, segment.start), min(stop, segment.stop)
            if first < last:
                file = self.workspace.segment_path(segment)
                found.append(Piece(file, first - segment.start, last - segment.start))
        return found

    def frames(self, start: int, stop: int) -> Iterator[Bytes]:
        """Decoded frames [start, stop). Raises InputError."""
        for piece in self.pieces(start, stop):
            yield from islice(read_frames(piece.file), piece.start, piece.stop)

    def next_keyframe(self, frame: int) -> int | None:
        """The first frame from this one on at which a file can begin."""
        for segment in self.plan.segments:
            if segment.stop > frame:
                found = (segment.start + n for n in keyframes(self.workspace.segment_path(segment)))
                if (first := next((n for n in found if n >= frame), None)) is not None:
                    return first
        return None


def corrected(known: record.Record, job: Job, folder: Path) -> tuple[Job, Earlier | None]:
    """The job that gives a record's render another recording, and that render's kept work, if it is there.

    `folder`: where the work was kept. Raises InputError if the portrait is not the record's, SettingsError if
    a setting that changes pixels is not.
    """
    if job.voices:
        raise SettingsError("a video of several faces cannot be corrected: render it again with --face.")
    now = inspect_inputs(job, known.inputs.weights_id)
    if now.audio == known.inputs.audio:
        record.require_same_inputs(known, job)
        return job, None
    if _timeless(job) != _timeless(known.job):
        raise SettingsError(
            "a corrected recording keeps the record's settings. Leave others out, or render without --from."
        )
    correcting = dataclasses.replace(job, corrects=known.inputs.fingerprint)
    record.require_same_inputs(known, correcting)
    earlier = Earlier.of(known, folder)
    if earlier is None:
        logger.warning(
            "%s does not have the earlier render's clips, or another version wrote them: everything is "
            "rendered again. (--keep-work keeps clips.)",
            shown(folder),
        )
    return (correcting if earlier else dataclasses.replace(job, corrects="")), earlier


def _timeless(job: Job) -> RenderSettings:
    """The settings that change pixels, but for what part of the recording is heard."""
    return dataclasses.replace(picture_settings(job.settings), start_s=0.0, duration_s=None)


@dataclass(frozen=True)
class Correction:
    """Which frames of an earlier render stay in a new one."""

    earlier: Earlier
    n_before: int  # frames at the start that stay, a whole number of clips; 0: none
    shift: int  # frames by which the rest comes later
    rejoins: int | None  # the first frame of the new video that may come from the rest

    @classmethod
    def of(cls, earlier: Earlier, recording: Recording, n_frames: int) -> Correction:
        """Compare the recordings. `n_frames`: of the new video."""
        before, fps = Recording.kept(earlier.workspace.audio), earlier.plan.fps
        n_same, n_same_end = shared(before, recording)
        n_equal = floor((n_same / SAMPLE_RATE - REACH_S) * fps)
        n_before = max(
            (n for n in earlier.workspace.kept_states() if n <= min(n_equal, n_frames - 1)), default=0
        )
        rest = ceil(((recording.n_samples - n_same_end) / SAMPLE_RATE + REACH_S) * fps)
        shift = n_frames - earlier.plan.n_frames
        return cls(earlier, n_before, shift, rest if n_same_end and rest < n_frames else None)

    @property
    def delay(self) -> Delay | None:
        """How head and eyes have to move to come back to the rest."""
        return Delay(self.rejoins, self.shift) if self.rejoins is not None and self.shift else None

    def planned(self, plan: JobPlan, segment_s: float) -> JobPlan:
        """The plan in which the earlier start is taken over and everything else is rendered."""
        kept = (Segment(0, 0, self.n_before, is_taken=True),) if self.n_before else ()
        rendered = plan_segments(
            plan.n_frames - self.n_before,
            clip_frames=plan.clip_frames,
            segment_frames=round(min(segment_s, MIDDLE_S) * plan.fps),
        )
        return dataclasses.replace(plan, segments=_numbered(kept, rendered, self.n_before))

    def take_over(self, segment: Segment, workspace: Workspace, video: VideoFormat) -> None:
        """Copy a taken segment's frames, and the states after its clips. Raises EncoderError, OutputError."""
        shift = self.shift if segment.start else 0
        start, stop = segment.start - shift, segment.stop - shift
        for frame in self.earlier.workspace.kept_states():
            if start < frame <= stop:
                motion = self.earlier.workspace.kept_state(frame)
                workspace.keep_state(frame + shift, motion)
                if frame == stop:
                    workspace.write_state(segment, motion)
        copy_frames(self.earlier.pieces(start, stop), workspace.segment_path(segment), video)

    def rejoined(self, plan: JobPlan, segment: Segment, workspace: Workspace) -> JobPlan | None:
        """The plan that takes over the rest behind this segment, if its last frame has come back to it.

        Up to the next keyframe of the rest, a few frames are still rendered.
        """
        stop = segment.stop
        if self.rejoins is None or plan.segments[-1].is_taken or not self.rejoins <= stop < plan.n_frames:
            return None
        start = self.earlier.next_keyframe(stop - self.shift)
        if start is None or not self._meets(segment, workspace):
            return None
        start += self.shift
        bridge = (Segment(0, stop, start),) if start > stop else ()
        rest = Segment(0, start, plan.n_frames, is_taken=True)
        done = plan.segments[: segment.index + 1]
        return dataclasses.replace(plan, segments=_numbered(done, (*bridge, rest)))

    def _meets(self, segment: Segment, workspace: Workspace) -> bool:
        """Whether the last rendered frame differs from the earlier one less than frames differ in time."""
        frame = segment.stop - self.shift - 1
        following = round(STEP_S * self.earlier.plan.fps)
        try:
            *_, last = read_frames(workspace.segment_path(segment))
            rest = [shrunk(picture) for picture in self.earlier.frames(frame, frame + following)]
        except InputError:
            return False
        steps = [difference(one, other) for one, other in pairwise(rest)]
        return bool(steps) and difference(shrunk(last), rest[0]) <= STEP_SHARE * max(steps)


def shared(before: Sound, after: Sound) -> tuple[int, int]:
    """How many samples two recordings share at the start, and at the end.

    What differs by less than the quietest speech counts as the same.
    """
    limit = measure(before).level * 10 ** (-SPEECH_RANGE_DB / 20)
    n_both = min(before.n_samples, after.n_samples)
    start = _shared(before, after, limit, n_both, is_from_end=False)
    if start == n_both == max(before.n_samples, after.n_samples):
        return start, start
    return start, min(_shared(before, after, limit, n_both, is_from_end=True), n_both - start)


def shrunk(picture: Bytes) -> Bytes:
    """The picture with a shorter side of `SEEN` pixels at most."""
    height, width = picture.shape[:2]
    ratio = min(1.0, SEEN / min(height, width))
    return resized(picture, (max(1, round(width * ratio)), max(1, round(height * ratio))))


def difference(one: Bytes, other: Bytes) -> float:
    """The mean absolute difference of two pictures."""
    return float(np.abs(one.astype(np.int16) - other).mean())


def _shared(before: Sound, after: Sound, limit: float, n_both: int, *, is_from_end: bool) -> int:
    for start in range(0, n_both, COMPARED):
        stop = min(start + COMPARED, n_both)
        if is_from_end:
            one, other = (
                sound.read(sound.n_samples - stop, sound.n_samples - start)[::-1] for sound in (before, after)
            )
        else:
            one, other = (sound.read(start, stop) for sound in (before, after))
        squares = np.square(one - other, dtype=np.float64)
        means = np.add.reduceat(squares, np.arange(0, len(squares), BLOCK_SAMPLES)) / BLOCK_SAMPLES
        other_blocks = np.flatnonzero(means > limit**2)
        if len(other_blocks):
            return start + int(other_blocks[0]) * BLOCK_SAMPLES
    return n_both


def _numbered(done: Sequence[Segment], rest: Sequence[Segment], offset: int = 0) -> tuple[Segment, ...]:
    moved = [dataclasses.replace(one, start=one.start + offset, stop=one.stop + offset) for one in rest]
    return tuple(dataclasses.replace(one, index=index) for index, one in enumerate((*done, *moved)))
