"""Decodes any sound to 16 kHz mono, once, at constant memory; knows nothing of features.

PyAV brings its own ffmpeg libraries, so no program is needed. Playlists and other files that point to further
files are not followed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from hallo_cli.domain import Float
from hallo_cli.errors import SpeechError
from hallo_cli.media.files import reason_of, require_file, shown
from hallo_cli.media.probe import DECODING_ERRORS, open_media
from hallo_cli.store.writing import replacing

SAMPLE_RATE = 16_000
BLOCK = 30 * SAMPLE_RATE  # samples held at a time
MAX_DURATION_S = 12 * 3600.0
MAX_LEVEL = 1e6  # float files may hold anything; whole-recording statistics need finite squares
MAX_PADDING = SAMPLE_RATE // 5  # samples behind a declared end that may be an encoder's padding
WHOLE_SHARE = 0.9  # a file that decodes to less than this of its declared length is cut off
ESTIMATED_LENGTH = frozenset({"mp3", "aac", "ac3", "eac3", "mpeg", "mpegts", "amr", "loas"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """Decoded sound in a file of raw little-endian float32 samples, 16 kHz mono; read piece by piece."""

    file: Path
    n_samples: int

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
            inside = np.fromfile(self.file, "<f4", count=last - first, offset=4 * first)
            samples[first - start : last - start] = inside
        return samples

    def blocks(self, size: int = BLOCK) -> Iterator[Float]:
        """Yield all samples in order, `size` at a time."""
        for start in range(0, self.n_samples, size):
            yield self.read(start, min(start + size, self.n_samples))


def decode(source: Path, target: Path, *, start_s: float = 0.0, duration_s: float | None = None) -> Recording:
    """Decode the first sound track of `source` into the file `target` and return it.

    Channels are averaged; samples that are no number become 0. Raises SpeechError where there is no
    sound, the file is damaged or cut off, or longer than 12 h.
    """
    return Recording(
        target, write_samples(target, read_blocks(source, start_s=start_s, duration_s=duration_s))
    )


def write_samples(target: Path, blocks: Iterable[Float]) -> int:
    """Write blocks of samples as a recording's file and return how many there are. Raises OutputError."""
    n_samples = 0
    with replacing(target) as file:
        for block in blocks:
            file.write(block.astype("<f4").tobytes())
            n_samples += len(block)
    return n_samples


def load(source: Path, *, start_s: float = 0.0, duration_s: float | None = None) -> Float:
    """Return a short sound whole as [n_samples] float32, 16 kHz mono. Raises SpeechError."""
    return np.concatenate(list(read_blocks(source, start_s=start_s, duration_s=duration_s)))


def read_blocks(source: Path, *, start_s: float = 0.0, duration_s: float | None = None) -> Iterator[Float]:
    """Yield the sound of `source` between two times as blocks of float32, 16 kHz mono. Raises SpeechError."""
    file = require_file(source, SpeechError, "recording")
    yield from _gathered(_stretch(source, _decoded(file), start_s, duration_s))


def _stretch(
    source: Path, pieces: Iterator[Float], start_s: float, duration_s: float | None
) -> Iterator[Float]:
    """Cut out what lies between two times; stop decoding behind it."""
    first = round(start_s * SAMPLE_RATE)
    last = first + round((MAX_DURATION_S if duration_s is None else duration_s) * SAMPLE_RATE)
    position = 0
    for samples in pieces:
        block = samples[max(first - position, 0) : max(last - position, 0)]
        position += len(samples)
        if len(block):
            yield block
        if position >= last:
            break
    if position > last and duration_s is None:
        raise SpeechError(
            f"The recording {shown(source)} is longer than {MAX_DURATION_S / 3600:.0f} h. Render it in parts "
            "with --start and --duration."
        )
    if position <= first:
        raise SpeechError(_too_short(source, position, start_s))


def _too_short(source: Path, n_samples: int, start_s: float) -> str:
    if n_samples == 0:
        return f"The recording {shown(source)} holds no sound (0 s). Give one with speech."
    return (
        f"The recording {shown(source)} is {n_samples / SAMPLE_RATE:.2f} s long, but it should start at "
        f"{start_s:g} s. Lower --start."
    )


def _decoded(file: Path) -> Iterator[Float]:
    """Yield all of a checked file's sound in small pieces."""
    try:
        with open_media(file) as container:
            yield from _SoundTrack(container, file).samples()
    except DECODING_ERRORS as error:
        raise SpeechError(
            f"The recording {shown(file)} cannot be decoded: {reason_of(error)}. Give a sound or video file "
            "that ffmpeg can read, such as WAV, MP3, M4A or MP4."
        ) from error


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


class _SoundTrack:
    """The first sound track of an opened container, resampled as it is decoded."""

    def __init__(self, container: av.container.InputContainer, file: Path) -> None:
        if not container.streams.audio:
            raise SpeechError(f"The file {shown(file)} has no sound track. Give a recording of speech.")
        self._container = container
        self._file = file
        self._stream = container.streams.audio[0]
        self._resampler: av.AudioResampler | None = None
        self._shape: tuple[str, int, int] | None = None
        self._n_bad = self._n_good = 0
        self._n_samples = 0

    def samples(self) -> Iterator[Float]:
        """Yield the sound; raise SpeechError where too much of it is damaged or missing."""
        n_real = self._n_before_padding()
        beyond: Float = np.zeros(0, np.float32)
        for piece in self._pieces():
            n_inside = len(piece) if n_real is None else max(0, n_real - self._n_samples)
            self._n_samples += len(piece)
            yield piece[:n_inside]
            beyond = np.concatenate([beyond, piece[n_inside:]])
            if len(beyond) > MAX_PADDING:  # that much is no padding: the header is wrong
                yield beyond
                beyond, n_real = beyond[:0], None
        self._require_whole()

    def _n_before_padding(self) -> int | None:
        """Return how many samples an MP4 declares; its encoder fills up the last packet behind them."""
        declared = self._declared_s()
        is_mp4 = "mp4" in self._container.format.name.split(",")
        return round(declared * SAMPLE_RATE) if declared and is_mp4 else None

    def _pieces(self) -> Iterator[Float]:
        for frame in self._frames():
            yield from self._resampled(frame)
        yield from self._flushed()

    def _frames(self) -> Iterator[av.AudioFrame]:
        for packet in self._container.demux(self._stream):
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                log.debug("%s: skipped a damaged packet: %s", self._file, error)
                self._n_bad += 1
                continue
            self._n_good += 1
            yield from frames

    def _resampled(self, frame: av.AudioFrame) -> Iterator[Float]:
        shape = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        if shape != self._shape:  # some containers change it midway
            yield from self._flushed()
            # Interleaved: PyAV reads past its planes where there are more than eight.
            self._resampler = av.AudioResampler("flt", frame.layout, SAMPLE_RATE)
            self._shape = shape
        assert self._resampler is not None
        frame.pts = None  # the sound is taken as continuous; broken timestamps must not reorder it
        for piece in self._resampler.resample(frame):
            yield _mono(piece)

    def _flushed(self) -> Iterator[Float]:
        if self._resampler is not None:
            for piece in self._resampler.resample(None):
                yield _mono(piece)

    def _require_whole(self) -> None:
        if self._n_bad > 0.1 * (self._n_bad + self._n_good):
            raise SpeechError(
                f"The recording {shown(self._file)} is damaged: {self._n_bad} of "
                f"{self._n_bad + self._n_good} packets cannot be decoded. Copy or export it again."
            )
        declared = self._declared_s()
        decoded = self._n_samples / SAMPLE_RATE
        if declared is not None and decoded < WHOLE_SHARE * declared - 0.1:
            raise SpeechError(
                f"The recording {shown(self._file)} is cut off: it should last {declared:.2f} s, but only "
                f"{decoded:.2f} s can be decoded. Copy or download it again, or set --duration."
            )

    def _declared_s(self) -> float | None:
        """Return the length the file's header promises; None where ffmpeg only guesses it."""
        duration, base = self._stream.duration, self._stream.time_base
        is_guess = bool(set(self._container.format.name.split(",")) & ESTIMATED_LENGTH)
        if is_guess or duration is None or base is None:
            return None
        return float(duration * base) * _riff_factor(self._file)


def _riff_factor(file: Path) -> float:
    """How many times longer a RIFF file says it is than it is; ffmpeg goes by the file's size instead."""
    with file.open("rb") as opened:
        head = opened.read(8)
    n_bytes = int.from_bytes(head[4:], "little") + 8
    is_unknown = head[:4] != b"RIFF" or n_bytes - 8 in (0, 0xFFFFFFFF)  # sizes that streaming writers leave
    return 1.0 if is_unknown else max(1.0, n_bytes / file.stat().st_size)


def _mono(frame: av.AudioFrame) -> Float:
    samples = np.asarray(frame.to_ndarray(), np.float32).reshape(-1, frame.layout.nb_channels)
    finite: Float = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    mono: Float = np.clip(finite, -MAX_LEVEL, MAX_LEVEL).mean(axis=1, dtype=np.float32)
    return mono
