"""Decodes one sound track of an opened file and checks that it is complete."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import SpeechError
from hallo_cli.media.files import reason_of, require_file, shown, sniff
from hallo_cli.media.headers import CONTRADICTION, Header, read_header
from hallo_cli.media.mixing import Mixer
from hallo_cli.media.probe import DECODING_ERRORS, open_media

MAX_LEVEL = 1e6  # float files may hold anything; whole-recording statistics need finite squares
MAX_PADDING = SAMPLE_RATE // 5  # samples after a declared end that may be an encoder's padding
MAX_DURATION_S = 12 * 3600.0
WHOLE_SHARE = 0.9  # a file that decodes to less than this of its declared length is cut off
CANCELLED_SHARE = 0.2  # share of the sound's power that averaging the channels would lose
ESTIMATED_LENGTH = frozenset({"mp3", "aac", "ac3", "eac3", "mpeg", "mpegts", "amr", "loas", "avi"})

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stretch:
    """A part of a file's sound."""

    start_s: float = 0.0
    duration_s: float | None = None  # None: to the end
    track: int = 0  # of the file's sound tracks, counted from 0


@contextmanager
def open_sound(source: Path, track: int = 0) -> Iterator[SoundTrack]:
    """A sound track of a file.

    Raises SpeechError if there is none, or if reading it fails while it is open.
    """
    file = require_file(source, SpeechError, "recording")
    try:
        with open_media(file) as container:
            yield SoundTrack(container, file, track)
    except DECODING_ERRORS as error:
        if sniff(file).endswith("picture"):
            raise SpeechError(no_sound(file)) from error
        raise SpeechError(
            f"The recording {shown(source)} cannot be decoded: {reason_of(error)}. Give a sound or video "
            "file that ffmpeg can read, such as WAV, MP3, M4A or MP4."
        ) from error


def no_sound(file: Path) -> str:
    """The message about a file without a sound track."""
    if sniff(file).endswith("picture"):
        return f"The recording {shown(file)} is a picture. Did you swap portrait and recording?"
    return f"The file {shown(file)} has no sound track. Give a recording of speech."


class SoundTrack:
    """One sound track, decoded once from its beginning."""

    def __init__(self, container: av.container.InputContainer, file: Path, track: int) -> None:
        streams = container.streams.audio
        if not streams:
            raise SpeechError(no_sound(file))
        if track >= len(streams):
            raise SpeechError(
                f"The file {shown(file)} has no sound track {track}: it has {len(streams)}, counted from 0. "
                "Set --audio-track."
            )
        self.stream = streams[track]
        self.container = container
        self._file = file
        self._header: Header = read_header(file)
        self._mixer = Mixer()
        self._n_bad = self._n_good = 0
        self._n_samples = 0
        self._has_nonsense = bool(self._header.patches)

    def notes(self) -> list[str]:
        """Warnings about the sound that was decoded so far, for people."""
        found = []
        if self._has_nonsense:
            found.append("the file's header gives a wrong length: the recording is read to its end")
        if self._mixer.lost_power > CANCELLED_SHARE * self._mixer.power > 0:
            found.append(
                "the recording's channels cancel each other (opposite phase): they are mixed so that nothing "
                "is lost, but a player with one loudspeaker may stay silent"
            )
        return found

    def frames(self) -> Iterator[av.AudioFrame]:
        """Yield decoded frames; damaged packets are left out and counted."""
        for packet in self.container.demux(self.stream):
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                log.debug("%s: skipped a damaged packet: %s", self._file, error)
                self._n_bad += 1
                continue
            self._n_good += 1
            yield from frames

    def samples(self) -> Iterator[Float]:
        """Yield the sound at 16 kHz mono; raise SpeechError if too much of it is damaged or missing."""
        n_real = self._n_before_padding()
        beyond: Float = np.zeros(0, np.float32)
        for piece in self._mixed():
            n_inside = len(piece) if n_real is None else max(0, n_real - self._n_samples)
            self._n_samples += len(piece)
            yield piece[:n_inside]
            beyond = np.concatenate([beyond, piece[n_inside:]])
            if len(beyond) > MAX_PADDING:  # too much for padding: the header is wrong
                yield beyond
                beyond, n_real = beyond[:0], None
        self._require_whole()

    def _n_before_padding(self) -> int | None:
        """Return how many samples an MP4 declares; its encoder fills up the last packet behind them."""
        declared = self._declared_s()
        return round(declared * SAMPLE_RATE) if declared and self._is("mp4") else None

    def _mixed(self) -> Iterator[Float]:
        n_channels = 0
        for samples in resampled(self.frames(), SAMPLE_RATE):
            if n_channels not in (0, samples.shape[1]):  # some containers change it midway
                yield self._mixer.flush()
            n_channels = samples.shape[1]
            yield self._mixer.push(samples)
        yield self._mixer.flush()

    def _require_whole(self) -> None:
        if self._n_bad > 0.1 * (self._n_bad + self._n_good):
            raise SpeechError(
                f"The recording {shown(self._file)} is damaged: {self._n_bad} of "
                f"{self._n_bad + self._n_good} packets cannot be decoded. Copy or export it again."
            )
        declared = self._declared_s()
        decoded = self._n_samples / SAMPLE_RATE
        if declared is None or decoded >= WHOLE_SHARE * declared - 0.1:
            return
        if self._is_nonsense(declared, decoded):
            self._has_nonsense = True
            return
        raise SpeechError(
            f"The recording {shown(self._file)} is cut off: it should last {declared:.2f} s, but only "
            f"{decoded:.2f} s can be decoded. Copy or download it again, or set --duration."
        )

    def _is_nonsense(self, declared_s: float, decoded_s: float) -> bool:
        """Whether the declared length is wrong rather than the file cut; an MP4's comes from a full index."""
        is_endless = declared_s > MAX_DURATION_S and declared_s > 3 * decoded_s
        return is_endless or (declared_s > CONTRADICTION * max(decoded_s, 0.01) and not self._is("mp4"))

    def _declared_s(self) -> float | None:
        """Return the length the file's header promises; None if ffmpeg only guesses it."""
        duration, base = self.stream.duration, self.stream.time_base
        is_guess = any(self._is(name) for name in ESTIMATED_LENGTH)
        if is_guess or duration is None or base is None:
            return None
        return float(duration * base) * self._header.excess  # ffmpeg goes by the size on disk

    def _is(self, name: str) -> bool:
        return name in self.container.format.name.split(",")


def resampled(frames: Iterator[av.AudioFrame], rate: int | None = None) -> Iterator[Float]:
    """Yield finite samples [n, channels] at `rate`; None: at that of the first frame.

    The sound is taken as continuous; broken timestamps must not reorder it.
    """
    resampler: av.AudioResampler | None = None
    shape: tuple[str, int, int] | None = None
    for frame in frames:
        rate = rate or frame.sample_rate
        if shape != (frame.format.name, frame.layout.nb_channels, frame.sample_rate):
            if resampler is not None:
                yield from map(_finite, resampler.resample(None))
            # Interleaved: PyAV reads past its planes where there are more than eight.
            resampler = av.AudioResampler("flt", frame.layout, rate)
            shape = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        assert resampler is not None
        frame.pts = None
        yield from map(_finite, resampler.resample(frame))
    if resampler is not None:
        yield from map(_finite, resampler.resample(None))


def _finite(frame: av.AudioFrame) -> Float:
    samples = np.asarray(frame.to_ndarray(), np.float32).reshape(-1, frame.layout.nb_channels)
    finite: Float = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(finite, -MAX_LEVEL, MAX_LEVEL)
