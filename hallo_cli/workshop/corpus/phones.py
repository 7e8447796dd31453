"""Phones, the mouth shapes (visemes) they ask for, and the coarticulation that joins these smoothly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hallo_cli.domain import Float

FPS = 25
VISEMES = ("open", "wide", "round", "close", "tuck", "tongue")
REST = "pau"

# phones (ARPAbet): open, wide, round, close (lips pressed), tuck (lower lip under teeth), tongue (tip raised)
# "open" is that of a loud, stressed syllable: see stress.effort
_SHAPES: dict[str, tuple[float, float, float, float, float, float]] = {
    "aa": (0.95, 0.10, 0, 0, 0, 0),
    "ae": (0.85, 0.45, 0, 0, 0, 0),
    "ah": (0.70, 0, 0, 0, 0, 0),
    "ao": (0.75, 0, 0.50, 0, 0, 0),
    "aw": (0.80, 0, 0.30, 0, 0, 0),
    "ax": (0.52, 0, 0, 0, 0, 0),
    "ay": (0.82, 0.30, 0, 0, 0, 0),
    "b m p": (0.0, 0, 0, 1, 0, 0),
    "ch sh jh zh": (0.28, 0, 0.55, 0, 0, 0),
    "d t n": (0.30, 0.25, 0, 0, 0, 0.6),
    "dh th": (0.30, 0.10, 0, 0, 0, 1.0),
    "eh": (0.70, 0.40, 0, 0, 0, 0),
    "er": (0.48, 0, 0.40, 0, 0, 0),
    "ey": (0.56, 0.65, 0, 0, 0, 0),
    "f v": (0.12, 0.10, 0, 0, 1, 0),
    "g k ng": (0.40, 0.10, 0, 0, 0, 0),
    "hh": (0.42, 0, 0, 0, 0, 0),
    "ih": (0.48, 0.40, 0, 0, 0, 0),
    "iy": (0.40, 0.85, 0, 0, 0, 0),
    "l": (0.45, 0.10, 0, 0, 0, 0.8),
    "ow": (0.58, 0, 0.85, 0, 0, 0),
    "oy": (0.62, 0, 0.75, 0, 0, 0),
    REST: (0, 0, 0, 0, 0, 0),
    "r": (0.32, 0, 0.50, 0, 0, 0),
    "s z": (0.22, 0.45, 0, 0, 0, 0),
    "uh": (0.42, 0, 0.60, 0, 0, 0),
    "uw": (0.28, 0, 1.0, 0, 0, 0),
    "w": (0.16, 0, 1.0, 0, 0, 0),
    "y": (0.32, 0.50, 0, 0, 0, 0),
}
_SHAPE_OF = {phone: shape for phones, shape in _SHAPES.items() for phone in phones.split()}
PHONES: tuple[str, ...] = tuple(sorted(_SHAPE_OF))
PHONE_ID = {phone: index for index, phone in enumerate(PHONES)}
_SHAPE_TABLE = np.array([_SHAPE_OF[phone] for phone in PHONES], np.float32)  # [phones, visemes]

_RATE = 200  # samples a second of the curves before they are read out at FPS
_BLUR_S = 0.042  # spread of a phone's shape into its neighbours
_CLOSURE_BLUR_S = 0.026  # closures and tucks are faster
_CLOSURE_GAIN = 1.6  # a short closure must still reach 1
_OPEN, _CLOSE, _TUCK = (VISEMES.index(name) for name in ("open", "close", "tuck"))


@dataclass(frozen=True)
class Segment:
    """One phone in time."""

    start_s: float
    end_s: float
    phone: str


def viseme_curves(segments: list[Segment], n_frames: int, effort: Float | None = None) -> Float:
    """Coarticulated visemes [n_frames, 6] in 0..1, read at the middle of each 40 ms frame.

    `effort`: [curve_length(n_frames)] what the opening is multiplied by, see `stress.effort`; None: 1.
    """
    targets = _SHAPE_TABLE[_phones(segments, n_frames)]
    curves = _blurred(targets, _BLUR_S)
    quick = _blurred(targets[:, [_CLOSE, _TUCK]], _CLOSURE_BLUR_S)
    curves[:, [_CLOSE, _TUCK]] = np.clip(quick * _CLOSURE_GAIN, 0, 1)
    curves[:, _OPEN] *= (1 - curves[:, _CLOSE]) * (1 - 0.6 * curves[:, _TUCK])
    if effort is not None:
        curves[:, _OPEN] = np.clip(curves[:, _OPEN] * effort, 0, 1)
    return curves[_middles(n_frames)].astype(np.float32)


def curve_length(n_frames: int) -> int:
    """Values at 200 Hz that `n_frames` frames are read from."""
    return (n_frames + 1) * (_RATE // FPS)


def phone_ids(segments: list[Segment], n_frames: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The phone (index into PHONES) spoken at the middle of each frame."""
    return _phones(segments, n_frames)[_middles(n_frames)]


def _phones(segments: list[Segment], n_frames: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """The phone spoken at each value of the curves."""
    ids = np.full(curve_length(n_frames), PHONE_ID[REST], np.uint8)
    for segment in segments:
        start = round(segment.start_s * _RATE)
        ids[start : max(start + 1, round(segment.end_s * _RATE))] = PHONE_ID[segment.phone]
    return ids


def _middles(n_frames: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The curves' values at the middle of each frame."""
    steps = _RATE // FPS
    return np.arange(n_frames) * steps + steps // 2


def _blurred(curves: Float, sigma_s: float) -> Float:
    sigma = sigma_s * _RATE
    offsets = np.arange(-int(4 * sigma), int(4 * sigma) + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    columns = [np.convolve(curves[:, i], kernel, "same") for i in range(curves.shape[1])]
    return np.stack(columns, axis=1).astype(np.float32)
