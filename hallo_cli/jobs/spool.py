"""Keeps the frames of the unfinished segment clip by clip, so that a killed job loses at most one clip."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hallo_cli.domain import Bytes, Clip, MotionFrames
from hallo_cli.store.opening import open_to_read
from hallo_cli.store.writing import append, cut_to, reporting_write_errors, write_whole

LENGTH_BYTES = 8  # before each clip of the file, which is deflated


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


def _deflated(frames: Bytes) -> bytes:
    """Runs of equal bytes shortened: most of a packed motion is zeros, and the rest hardly shrinks."""
    deflater = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return deflater.compress(frames.data) + deflater.flush()
