"""Checks whether a video matches its mark and its record."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from hallo_cli.errors import InputError
from hallo_cli.jobs.containers import mark_path
from hallo_cli.jobs.record import Record, read_record, sidecar_path
from hallo_cli.media.files import require_file
from hallo_cli.media.probe import frame_hashes
from hallo_cli.provenance.certificates import own_file, read_identity
from hallo_cli.provenance.marks import Claim, Mark, read_mark
from hallo_cli.store.digests import file_digest


@dataclass(frozen=True)
class Verdict:
    """What was found about a video."""

    video: Path
    mark: Mark | None  # None: it has none
    is_own: bool  # signed with this machine's certificate
    record: Path | None  # None: no record beside the video
    differences: tuple[str, ...]  # entries of the record that differ
    n_frames: int | None = None  # of the video; None: it was not rendered again
    n_other: int = 0  # frames that differ

    @property
    def is_good(self) -> bool:
        """Whether the video is marked, unchanged, and matches its record."""
        is_marked = self.mark is not None and self.mark.is_ai and self.mark.is_whole
        return is_marked and not self.differences and not self.n_other


def verify(video: Path, trusted: bytes = b"") -> Verdict:
    """Check a video, its mark and the record beside it. Raises InputError.

    `trusted`: PEM certificates that are trusted besides this machine's own.
    """
    file = require_file(video, InputError, "video")
    kept = own_file()
    own = read_identity(kept).anchor if kept and kept.exists() else b""
    beside = mark_path(file)
    mark = read_mark(file, own + trusted, beside)
    own_mark = read_mark(file, own, beside) if own and mark else None
    sidecar = sidecar_path(video)
    record = sidecar if sidecar.exists() else None
    differences = _differences(file, read_record(sidecar), mark.claim if mark else None) if record else ()
    return Verdict(video, mark, bool(own_mark and own_mark.is_trusted), record, differences)


def count_differences(video: Path, again: Path) -> tuple[int, int]:
    """The number of frames of the longer of two videos, and how many frames differ."""
    pairs = list(zip_longest(frame_hashes(video), frame_hashes(again)))
    return len(pairs), sum(one != other for one, other in pairs)


def _differences(video: Path, record: Record, claim: Claim | None) -> tuple[str, ...]:
    found = [] if file_digest(video) == record.sha256 else ["the video file"]
    if claim is None:
        return tuple(found)
    inputs = record.inputs
    pairs = {
        "the portrait": (claim.portrait, inputs.portrait),
        "the recording": (claim.audio, inputs.audio),
        "the weights": (claim.weights, inputs.weights_id),
        "the settings": (claim.fingerprint, inputs.fingerprint),
    }
    return (*found, *(what for what, (marked, recorded) in pairs.items() if marked != recorded))
