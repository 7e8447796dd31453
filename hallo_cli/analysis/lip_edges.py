"""Finds the lips' edges in the picture, where landmarks are some pixels off."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import cv2
import numpy as np
import numpy.typing as npt

from hallo_cli.analysis.mouth import Mouth
from hallo_cli.domain import LUMA, Bytes, Float

# In widths of the mouth, but where it says otherwise
_SEARCH = 0.035  # how far from the landmarks the line between shut lips may be
_CHANGE = 60.0  # grey levels by which the line must be darker to be looked for so far away
_TEETH_SHOW, _LESS_RED = 25.0, 15.0  # grey levels by which teeth are lighter than lips, and less red
_BEYOND = 0.08  # how far teeth may go on beyond the landmarks
_ENDLESS = 0.1  # of the columns: in more of them, what goes on so far is no tooth
# Of the gap and of the lower lip: where their colours are taken
_INSIDE, _ON_THE_LIP = (0.1, 0.9), (0.4, 0.8)


def along_the_dark(mouth: Mouth, picture: Bytes) -> Mouth:
    """The mouth, its lips meeting in the picture's dark line that is nearest to the landmarks'."""
    x = np.linspace(mouth.upper[0, 0], mouth.upper[-1, 0], 33)[1:-1]
    middle = (np.interp(x, *mouth.upper.T) + np.interp(x, *mouth.lower.T)) / 2
    reach = _SEARCH * mouth.width
    away = np.linspace(-reach, reach, 2 * ceil(2 * reach) + 1)
    seen = mouth.seen(picture, x, middle + away[:, None])
    light = cv2.GaussianBlur(seen.mean(2), (7, 1), 1.5)
    light += _CHANGE * (away[:, None] / reach) ** 2
    found = away[light.argmin(0)].astype(np.float32)
    shift = smoothed(found, 7)
    ends = mouth.upper[[0, -1]]
    shift *= np.sin(np.linspace(0, np.pi, len(x) + 2))[1:-1]
    line = np.concatenate([ends[:1], np.stack([x, middle + shift], 1), ends[1:]]).astype(np.float32)
    return replace(mouth, upper=line, lower=line)


def around_the_teeth(mouth: Mouth, picture: Bytes) -> Mouth:
    """The mouth, its lips moved apart where teeth go on beyond the landmarks' edges."""
    x = np.linspace(mouth.upper[0, 0], mouth.upper[-1, 0], 33)
    upper, lower, under = (np.interp(x, *line.T) for line in (mouth.upper, mouth.lower, mouth.under))
    inside, lip = (
        mouth.seen(picture, x, start + np.linspace(*shares, 9)[:, None] * (end - start))[:, 8:-8]
        for start, end, shares in ((upper, lower, _INSIDE), (lower, under, _ON_THE_LIP))
    )
    light = inside @ LUMA
    flesh = lip.mean((0, 1))
    contrast = inside[light >= np.percentile(light, 70)].mean(0) - flesh
    if contrast @ LUMA < _TEETH_SHOW or contrast[1] - contrast[0] < _LESS_RED:
        return mouth
    away = np.linspace(0, _BEYOND * mouth.width, ceil(2 * _BEYOND * mouth.width) + 1)[:, None]
    moved = []
    for line, start, outwards in ((mouth.upper, upper, -1), (mouth.lower, lower, 1)):
        colours = mouth.seen(picture, x, start + outwards * away)
        is_tooth = (colours - flesh) @ contrast > 0.5 * (contrast @ contrast)
        further = outwards * away[-1] * _evened(np.cumprod(is_tooth, 0)[1:].mean(0))
        rows = line[:, 1] + np.interp(line[:, 0], x, further)
        moved.append(np.stack([line[:, 0], rows], 1).astype(np.float32))
    return replace(mouth, upper=moved[0], lower=moved[1])


def _evened(shares: npt.NDArray[np.floating]) -> Float:
    """How far teeth go on [n], smooth and 0 at the corners; nowhere if they do not end, as a shining lip."""
    if (shares == 1).mean() > _ENDLESS:
        return np.zeros(len(shares), np.float32)
    rounded = np.sqrt(np.sin(np.linspace(0, np.pi, len(shares))))
    return np.asarray(smoothed(shares, 5) * rounded, np.float32)


def smoothed(line: npt.NDArray[np.floating], reach: int) -> npt.NDArray[np.floating]:
    """The line [n] without outliers, averaged over `reach` neighbours (odd)."""
    calm = cv2.medianBlur(line.astype(np.float32)[None], 5)[0]
    return np.convolve(np.pad(calm, reach // 2, mode="edge"), np.full(reach, 1 / reach), "valid")
