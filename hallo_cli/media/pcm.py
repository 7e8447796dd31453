"""Gives a file's sound to ffmpeg as plain samples, so that ffmpeg never sees the file itself.

Two programs may read a file differently: as a song in PyAV, as a list of other files in an older ffmpeg.
Since only PyAV reads it, the sound of the video is the analysed sound.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np

from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import EncoderError
from hallo_cli.media.ffmpeg import address
from hallo_cli.media.files import reason_of, shown
from hallo_cli.media.mixing import Mixer
from hallo_cli.media.probe import DECODING_ERRORS
from hallo_cli.media.sound_track import Stretch, open_sound, resampled
from hallo_cli.store.writing import replacing

MAX_CHANNELS = 8  # more are mixed, as in analysis: encoders have no layout for them


@dataclass(frozen=True)
class Pcm:
    """Samples of a part at the file's own rate, for ffmpeg's standard input."""

    rate: int
    n_channels: int
    samples: Iterator[Float]  # [n, channels] in -1..1

    def as_input(self) -> Any:
        """The stream that reads them, for ffmpeg-python."""
        return ffmpeg.input("pipe:0", format="f32le", ar=self.rate, ac=self.n_channels)["a"]

    def whole(self) -> Iterator[bytes]:
        """All of the sound."""
        return (piece.astype("<f4").tobytes() for piece in self.samples)

    def blocks(self, *, length_s: float) -> Iterator[bytes]:
        """Exactly this much sound, padded with silence."""
        silence = itertools.repeat(np.zeros((self.rate, self.n_channels), np.float32))
        padded = itertools.chain(self.samples, silence)
        for piece in _cut_out(padded, 0, round(length_s * self.rate)):
            yield piece.astype("<f4").tobytes()


@contextmanager
def pcm(source: Path, stretch: Stretch) -> Iterator[Pcm]:
    """Decode a part of a file piece by piece. Raises SpeechError."""
    with open_sound(source, stretch.track) as track:
        rate = track.stream.rate or SAMPLE_RATE
        rest = _at_most_8_channels(resampled(track.frames(), rate))
        first = next(rest, np.zeros((0, 1), np.float32))
        pieces = (piece.clip(-1, 1) for piece in itertools.chain([first], rest))
        start = round(stretch.start_s * rate)
        stop = None if stretch.duration_s is None else start + round(stretch.duration_s * rate)
        yield Pcm(rate, first.shape[1], _cut_out(pieces, start, stop))


def copy_track(source: Path, target: Path, track: int = 0) -> Any:
    """Copy a sound track's packets into an MP4 of our own; returns it as a stream for ffmpeg-python.

    Raises SpeechError if there is none, EncoderError where MP4 does not take it.
    """
    with open_sound(source, track) as sound:
        try:
            with replacing(target) as written, av.open(written, "w", format="mp4") as copied:
                copy = copied.add_stream_from_template(sound.stream)
                early = sound.stream.start_time or 0  # decoders skip what comes before it
                for packet in sound.container.demux(sound.stream):
                    if packet.size and packet.dts is not None and packet.pts is not None:
                        packet.pts, packet.dts = packet.pts - early, packet.dts - early
                        packet.stream = copy
                        copied.mux(packet)
        except DECODING_ERRORS as error:
            raise EncoderError(
                f"the sound of {shown(source)} cannot be copied into MP4: {reason_of(error)}. "
                "Use --audio-codec aac."
            ) from error
    return ffmpeg.input(address(target), format="mp4")["a:0"]


def _at_most_8_channels(pieces: Iterator[Float]) -> Iterator[Float]:
    """Pieces with the first one's number of channels, which is 8 at most."""
    mixer, n_channels = Mixer(), 0
    for piece in pieces:
        n_channels = n_channels or (1 if piece.shape[1] > MAX_CHANNELS else piece.shape[1])
        if piece.shape[1] == n_channels:
            yield piece
        else:  # too many, or another number than before
            mixed = mixer.push(piece)
            yield np.repeat(mixed[:, None], n_channels, axis=1)
    left = mixer.flush()
    if len(left):
        yield np.repeat(left[:, None], n_channels, axis=1)


def _cut_out(pieces: Iterator[Float], start: int, stop: int | None) -> Iterator[Float]:
    position = 0
    for piece in pieces:
        yield piece[max(0, start - position) : None if stop is None else max(0, stop - position)]
        position += len(piece)
        if stop is not None and position >= stop:
            return
