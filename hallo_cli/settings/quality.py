"""The limits for each finished video of a batch, as data: the [quality] table of a preset or config file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from hallo_cli.errors import SettingsError
from hallo_cli.settings.values import require_known

Limit = tuple[float, float] | None  # from where it warns and from where it fails; None: not judged


@dataclass(frozen=True)
class QualityLimits:
    """Limits by figure. A figure that was not measured, or needs a longer video, is not judged.

    In the first group low values are bad, in the second high ones. The frame count needs no limit: it is
    right or the row fails.
    """

    face_share: Limit = (0.98, 0.8)  # of the frames with a face
    sync_correlation: Limit = (0.25, 0.0)  # of the mouth's opening and the sound's loudness, at the best lag
    identity: Limit = (0.5, 0.25)  # likeness to the portrait
    sync_lag: Limit = (4, 8)  # frames, either way
    silence_motion: Limit = (0.6, 1.0)  # mouth motion in silence, as a share of that in speech
    drift_colour: Limit = (0.1, 0.25)  # of the face: last tenth of the video against the first
    drift_identity: Limit = (0.15, 0.35)
    seam_jump: Limit = (3.0, 8.0)  # motion at joins, relative to that inside clips
    black_frames: Limit = (1, 2)
    frozen_frames: Limit = (1, 100)  # while somebody speaks


# Seconds of video below which a figure says little and is not judged. Of simulated mouths that follow four
# recordings with correlation 0.55, the best lag was four frames or more off in 31 % of the places 1 s long,
# 23 % of 2 s, 4 % of 3 s; over 0.5 s the correlation was below 0 in 12 %.
LEAST_S = {"sync_correlation": 3.0, "sync_lag": 3.0, "drift_colour": 3.0, "drift_identity": 6.0}
MAX_CHANCE = 0.05  # joins are judged if at most this share of other frames jumps as high

LOW_IS_BAD = frozenset(("face_share", "sync_correlation", "identity"))


def read_limits(table: Mapping[str, object], *, where: str) -> QualityLimits:
    """Limits from a [quality] table: each a pair [warn, fail], or false. Raises SettingsError."""
    require_known(table, [field.name for field in dataclasses.fields(QualityLimits)], where=where)
    return QualityLimits(**{name: _limit(name, value, where) for name, value in table.items()})


def _limit(name: str, value: object, where: str) -> Limit:
    if value is False:
        return None
    if isinstance(value, list) and len(value) == 2 and all(type(edge) in (int, float) for edge in value):
        warn, fail = value
        if warn >= fail if name in LOW_IS_BAD else warn <= fail:
            return float(warn), float(fail)
    order = "falling" if name in LOW_IS_BAD else "rising"
    raise SettingsError(f"{where}: {name} = {value!r} is not a {order} pair [warn, fail] or false.")
