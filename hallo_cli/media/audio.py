"""Decodes any sound to 16 kHz mono, once, in constant memory; knows no features.

PyAV brings its own ffmpeg libraries, so no program is needed. Playlists and other files that point to further
files are not followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import SpeechError
from hallo_cli.media.files import shown
from hallo_cli.media.sound_track import MAX_DURATION_S, Stretch, open_sound
from hallo_cli.store.writing import replacing

BLOCK = 30 * SAMPLE_RATE  # samples held at a time
BYTES_PER_SAMPLE = 4


@dataclass(frozen=True)
class Recording:
    """Decoded sound in a file of raw little-endian float32 samples, 16 kHz mono; read piece by piece."""

    file: Path
    n_samples: int
    notes: tuple[str, ...] = ()  # warnings about it from decoding, for people

    @classmethod
    def kept(cls, file: Path) -> Recording:
        """What an earlier run decoded into this file."""
        return cls(file, file.stat().st_size // BYTES_PER_SAMPLE)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / SAMPLE_RATE

    def read(self, start: int, stop: int) -> Float:
        """Return samples [stop - start], zeros where the range reaches outside the recording."""
        first, last = min(max(start, 0), self.n_samples), max(min(stop, self.n_samples), 0)
        samples = np.zeros(stop - start, np.float32)
        if first < last:
            # Read, not memory-mapped: mapped pages would count as memory in use.
            inside = np.fromfile(self.file, "<f4", count=last - first, offset=BYTES_PER_SAMPLE * first)
            samples[first - start : last - start] = inside
        return samples

    def blocks(self, size: int = BLOCK) -> Iterator[Float]:
        """Yield all samples in order, `size` at a time."""
        for start in range(0, self.n_samples, size):
            yield self.read(start, min(start + size, self.n_samples))


class Decoding:
    """The sound of a file as blocks of float32, 16 kHz mono; to be iterated once.

    Channels are mixed so that they do not cancel; NaN samples become 0. Raises SpeechError
    if there is no sound, the file is damaged or cut off, or longer than 12 h.
    """

    def __init__(self, source: Path, stretch: Stretch = Stretch()) -> None:
        self.notes: tuple[str, ...] = ()  # warnings, for people; complete after the last block
        self._source = source
        self._stretch = stretch

    def __iter__(self) -> Iterator[Float]:
        with open_sound(self._source, self._stretch.track) as track:
            try:
                yield from _gathered(self._cut_out(track.samples()))
            finally:
                self.notes = tuple(track.notes())

    def _cut_out(self, pieces: Iterator[Float]) -> Iterator[Float]:
        """Cut out the part between two times; stop decoding after it."""
        stretch = self._stretch
        first = round(stretch.start_s * SAMPLE_RATE)
        length_s = MAX_DURATION_S if stretch.duration_s is None else stretch.duration_s
        last = first + round(length_s * SAMPLE_RATE)
        position = 0
        for samples in pieces:
            yield samples[max(first - position, 0) : max(last - position, 0)]
            position += len(samples)
            if position >= last:
                break
        if position > last and stretch.duration_s is None:
            raise SpeechError(
                f"The recording {shown(self._source)} is longer than {MAX_DURATION_S / 3600:.0f} h. Render "
                "it in parts with --start and --duration."
            )
        if position == 0:
            raise SpeechError(
                f"The recording {shown(self._source)} holds no sound (0 s). Give one with speech."
            )
        if position <= first:
            raise SpeechError(
                f"The recording {shown(self._source)} is {position / SAMPLE_RATE:.2f} s long, but it should "
                f"start at {stretch.start_s:g} s. Lower --start."
            )


def decode(source: Path, target: Path, stretch: Stretch = Stretch()) -> Recording:
    """Decode the sound of `source` into the file `target` and return it. Raises SpeechError, OutputError."""
    decoding = Decoding(source, stretch)
    return Recording(target, write_samples(target, decoding), decoding.notes)


def write_samples(target: Path, blocks: Iterable[Float]) -> int:
    """Write blocks of samples as a recording's file and return how many there are. Raises OutputError."""
    n_samples = 0
    with replacing(target) as file:
        for block in blocks:
            file.write(block.astype("<f4").tobytes())
            n_samples += len(block)
    return n_samples


def read_sound(source: Path, stretch: Stretch = Stretch()) -> Float:
    """Return a short sound whole as [n_samples] float32, 16 kHz mono. Raises SpeechError."""
    return np.concatenate(list(Decoding(source, stretch)))


def _gathered(pieces: Iterator[Float]) -> Iterator[Float]:
    held: list[Float] = []
    n_held = 0
    for piece in pieces:
        held.append(piece)
        n_held += len(piece)
        if n_held >= BLOCK:
            yield np.concatenate(held)
            held, n_held = [], 0
    if n_held:
        yield np.concatenate(held)
