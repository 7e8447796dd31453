"""A job's folder on disk. A file under its final name is complete; resuming relies on nothing else.

Every file is written beside its place, flushed to disk and renamed. A segment's boundary state is written
before its video, so a job can continue after every segment that exists. A spool keeps the frames of the
unfinished segment clip by clip, so that even a killed job loses at most one clip.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hallo_cli.domain import Bytes, Clip, MotionFrames
from hallo_cli.errors import JobError
from hallo_cli.jobs.plan import JobPlan, Segment, from_json, to_json
from hallo_cli.store.locks import locked
from hallo_cli.store.opening import open_to_read, sweep_parts
from hallo_cli.store.writing import append, cut_to, make_own_folder, reporting_write_errors, write_whole

LENGTH_BYTES = 8  # before each clip of a spool, which is deflated

logger = logging.getLogger(__name__)


class Workspace:
    """One job's folder, held under its lock. Made by `open_workspace`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def audio(self) -> Path:
        """Where the decoded recording is kept."""
        return self.root / "audio.f32"

    def plan(self) -> JobPlan | None:
        """The plan of an earlier run. Raises JobError if it cannot be used."""
        path = self.root / "plan.json"
        return from_json(path.read_text(encoding="utf-8")) if path.exists() else None

    def write_plan(self, plan: JobPlan) -> None:
        """Write the plan, once."""
        write_whole(self.root / "plan.json", to_json(plan).encode())

    def segment_path(self, segment: Segment) -> Path:
        """The segment's final path; the file exists if and only if the segment is done."""
        return self.root / f"segment-{segment.index:05d}.mp4"

    def missing(self, plan: JobPlan) -> list[Segment]:
        """The segments to render, from the first that is not done or lacks its state."""
        for segment in plan.segments:
            is_last = segment.index == len(plan.segments) - 1
            if not self.segment_path(segment).exists():
                return list(plan.segments[segment.index :])
            if not is_last and _read_state(self._state_path(segment)) is None:
                logger.warning("state of segment %d is unreadable: rendering it again", segment.index)
                return list(plan.segments[segment.index :])
        return []

    def state_before(self, plan: JobPlan, segment: Segment) -> MotionFrames | None:
        """The motion frames that the segment starts from; None at the start of the job."""
        if segment.index == 0:
            return None
        state = _read_state(self._state_path(plan.segments[segment.index - 1]))
        if state is None:
            raise JobError(f"{self.root}: the state before segment {segment.index} is missing; run again.")
        return state

    def write_state(self, segment: Segment, motion: MotionFrames) -> None:
        """Write the state that the next segment continues from; do this before the segment's video."""
        _write_state(self._state_path(segment), motion)

    def keep_state(self, frame: int, motion: MotionFrames) -> None:
        """Keep the state after a clip that ends before this frame, for corrections."""
        _write_state(self._kept_path(frame), motion)

    def kept_states(self) -> list[int]:
        """The frames before which a state is kept, in order."""
        names = (path.stem.removeprefix("after-") for path in self.root.glob("after-*.npy"))
        return sorted(int(name) for name in names if name.isdecimal())

    def kept_state(self, frame: int) -> MotionFrames:
        """A state of `kept_states`. Raises JobError if it cannot be read."""
        motion = _read_state(self._kept_path(frame))
        if motion is None:
            raise JobError(f"{self.root}: the state before frame {frame} is unreadable; delete the folder.")
        return motion

    @property
    def size(self) -> int:
        """Bytes in the folder."""
        return sum(path.stat().st_size for path in self.root.iterdir() if path.is_file())

    def spool(self, segment: Segment) -> Spool:
        """The frames of a segment that is not done yet."""
        return Spool(self.root / f"spool-{segment.index:05d}")

    def sweep(self) -> None:
        """Remove partly written files of dead runs."""
        sweep_parts(self.root)
        for leftover in self.root.glob("*.part-*"):
            with contextlib.suppress(OSError):
                leftover.unlink()

    def _state_path(self, segment: Segment) -> Path:
        return self.root / f"state-{segment.index:05d}.npy"

    def _kept_path(self, frame: int) -> Path:
        return self.root / f"after-{frame:07d}.npy"


class Spool:
    """The frames of the unfinished segment, and the motion frames after the last of them."""

    def __init__(self, stem: Path) -> None:
        self._frames = stem.with_suffix(".rgb")
        self._state = stem.with_suffix(".npz")

    def append(self, clip: Clip) -> None:
        """Keep one more clip: its frames first, then the index entry that counts them."""
        block = _deflated(np.ascontiguousarray(clip.frames))
        with reporting_write_errors(self._frames):
            n_bytes = append(self._frames, len(block).to_bytes(LENGTH_BYTES, "little") + block)
        note = io.BytesIO()
        np.savez(note, n_bytes=np.int64(n_bytes), motion=clip.motion.values)
        write_whole(self._state, note.getvalue())

    def recover(self) -> MotionFrames | None:
        """Motion frames after the kept frames; drops a partly written clip. None if nothing can be used."""
        try:
            with open_to_read(self._state) as kept, np.load(kept, allow_pickle=False) as note:
                n_bytes, motion = int(note["n_bytes"]), note["motion"]
            is_whole = self._frames.stat().st_size >= n_bytes and motion.dtype == np.float32
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            is_whole = False
        if not is_whole:
            self.remove()
            return None
        with reporting_write_errors(self._frames):
            cut_to(self._frames, n_bytes)
        return MotionFrames(motion)

    def read(self, frame_shape: tuple[int, ...]) -> Iterator[Bytes]:
        """The kept frames, uint8 [n, *frame_shape], clip by clip."""
        with open_to_read(self._frames) as file:
            while length := file.read(LENGTH_BYTES):
                block = zlib.decompress(file.read(int.from_bytes(length, "little")))
                yield np.frombuffer(block, np.uint8).reshape(-1, *frame_shape)

    def remove(self) -> None:
        """Delete the kept frames, the index first."""
        self._state.unlink(missing_ok=True)
        self._frames.unlink(missing_ok=True)


@contextlib.contextmanager
def open_workspace(root: Path, *, resume: bool = True, patience_s: float = 0.0) -> Iterator[Workspace]:
    """Make or open the folder `root` and lock it.

    `patience_s` is how long to wait for a process that holds the lock. With `resume` false, the work of
    earlier runs is deleted. Raises JobError if another run uses the folder, OutputError if it cannot be
    written.
    """
    make_own_folder(root)
    with locked(root / "lock", what="this job", patience_s=patience_s):
        workspace = Workspace(root)
        workspace.sweep()
        if not resume:
            _empty(root)
        yield workspace


def remove_workspace(root: Path) -> None:
    """Delete a finished job's folder; files that cannot be deleted stay."""
    shutil.rmtree(root, ignore_errors=True)


def remove_abandoned(folder: Path, prefix: str) -> None:
    """Delete the folders of unfinished jobs for the same output, except running ones."""
    for root in folder.glob(f"{prefix}*"):
        if root.is_symlink() or not root.is_dir():
            continue
        with contextlib.suppress(JobError), locked(root / "lock", what="this job"):
            remove_workspace(root)


def _empty(root: Path) -> None:
    for path in root.iterdir():
        if path.name != "lock":
            with reporting_write_errors(path):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _read_state(path: Path) -> MotionFrames | None:
    try:
        pixels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return MotionFrames(pixels) if pixels.ndim == 4 and pixels.dtype == np.float32 else None


def _write_state(path: Path, motion: MotionFrames) -> None:
    buffer = io.BytesIO()
    np.save(buffer, motion.values, allow_pickle=False)
    write_whole(path, buffer.getvalue())


def _deflated(frames: Bytes) -> bytes:
    """Runs of equal bytes shortened: most of a packed motion is zeros, and the rest hardly shrinks."""
    deflater = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return deflater.compress(frames.data) + deflater.flush()
