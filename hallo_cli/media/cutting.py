"""Copies ranges of frames out of segments' files without encoding them again.

Segments have no B-frames, so that a file can end after any frame. It can begin only at a keyframe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from hallo_cli.errors import EncoderError
from hallo_cli.media.files import reason_of, shown
from hallo_cli.media.probe import DECODING_ERRORS, open_media
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.store.writing import replacing, reporting_write_errors


@dataclass(frozen=True)
class Piece:
    """Frames [start, stop) of a file, counted from its first frame."""

    file: Path
    start: int
    stop: int


def copy_frames(pieces: Sequence[Piece], target: Path, video: VideoFormat) -> None:
    """Write the pieces' encoded frames, in order, into one video file of this rate.

    Every piece begins at a keyframe, and all come from the same encoder. Raises EncoderError if a file cannot
    be read or has too few frames, OutputError if the target cannot be written.
    """
    n_expected = sum(piece.stop - piece.start for piece in pieces)
    options = {"video_track_timescale": str(video.timescale)}
    n_copied = 0
    with reporting_write_errors(target), replacing(target) as written:
        try:
            with (
                av.open(written, "w", format="mp4", options=options) as container,
                open_media(pieces[0].file) as first,
            ):
                track = container.add_stream_from_template(first.streams.video[0])
                for packet in _packets(pieces):
                    packet.time_base = 1 / video.rate
                    packet.pts = packet.dts = n_copied
                    packet.duration = 1
                    packet.stream = track
                    container.mux(packet)
                    n_copied += 1
        except DECODING_ERRORS as error:
            raise EncoderError(
                f"frames of {shown(pieces[0].file)} cannot be copied: {reason_of(error)}."
            ) from error
        if n_copied != n_expected:
            raise EncoderError(
                f"{shown(pieces[0].file.parent)} gave {n_copied} of {n_expected} frames; render it again."
            )


def keyframes(file: Path) -> list[int]:
    """The frames of a video file that later ones do not need anything before of."""
    with open_media(file) as container:
        packets = (packet for packet in container.demux(video=0) if packet.size)
        return [index for index, packet in enumerate(packets) if packet.is_keyframe]


def _packets(pieces: Sequence[Piece]) -> Iterator[av.Packet[Any]]:
    for piece in pieces:
        with open_media(piece.file) as container:
            index = 0
            for packet in container.demux(video=0):
                if not packet.size:
                    continue
                if piece.start <= index < piece.stop:
                    yield packet
                index += 1
                if index >= piece.stop:
                    break
