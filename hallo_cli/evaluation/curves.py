"""Curves over a video's time, from which its plots are drawn; knows series of numbers only."""

from __future__ import annotations

import json
import math
import warnings
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval, MaxLen

from hallo_cli.domain import Float
from hallo_cli.store.binding import bind

LONG = 1200  # points of a curve on a page of its own
SHORT = 240  # in a report of many videos
MAX_JOINS = 200  # that are drawn
LIMIT = 1 << 18  # bytes of written curves
SERIES = ("opening", "level", "motion", "colour", "sharpness", "likeness")

Number = Annotated[float, Interval(gt=-1e9, lt=1e9)]
# Evenly over the whole video; None: not measured
Curve = Annotated[tuple[Number | None, ...], MaxLen(LONG)]


@dataclass(frozen=True)
class Curves:
    """What is plotted about one video."""

    seconds: Number  # length of the video
    opening: Curve = ()  # of the mouth, as a share of the face's height
    level: Curve = ()  # of the speech, in dB below its loudest
    motion: Curve = ()  # change to the frame before, in grey levels
    colour: Curve = ()  # mean brightness of the face, relative to the start
    sharpness: Curve = ()  # of the face, relative to the start
    likeness: Curve = ()  # to the portrait, relative to the start
    # Of clips and segments, as shares of the video's length
    joins: Annotated[tuple[Number, ...], MaxLen(LONG)] = ()

    def shortened(self) -> Curves:
        """The same with fewer points."""
        short = {name: sampled(np.array(getattr(self, name), np.float32), SHORT) for name in SERIES}
        return Curves(self.seconds, **short, joins=self.joins)


def sampled(values: Float, n_points: int = LONG) -> Curve:
    """At most `n_points` means of neighbours, with three digits; NaN gives None."""
    if not len(values):
        return ()
    groups = np.array_split(np.asarray(values, np.float32), min(n_points, len(values)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # groups without a number
        means = [float(np.nanmean(group)) for group in groups]
    return tuple(float(f"{mean:.3g}") if math.isfinite(mean) else None for mean in means)


def relative(values: Float) -> Float:
    """Values as shares of the mean of their first tenth; NaN where that is not known."""
    start = values[: max(1, len(values) // 10)]
    known = start[np.isfinite(start)]
    first = float(known.mean()) if len(known) else math.nan
    return np.asarray(values / first if abs(first) > 1e-6 else np.full(len(values), np.nan), np.float32)


def to_json(curves: Curves) -> bytes:
    """The curves as a file's content."""
    return json.dumps(asdict(curves), separators=(",", ":")).encode()


def from_json(content: bytes) -> Curves:
    """The inverse of `to_json`. Raises ValueError if the content is something else."""
    return bind(Curves, json.loads(content), skips_unknown=True)
