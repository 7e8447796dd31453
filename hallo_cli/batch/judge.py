"""Judges a finished video by figures and limits; how the figures are measured is decided in evaluation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from hallo_cli.settings.quality import LEAST_S, LOW_IS_BAD, MAX_CHANCE, QualityLimits

_LABELS = {
    "face_share": "share of frames with a face",
    "sync_correlation": "correlation of lips and speech",
    "identity": "likeness to the portrait",
    "sync_lag": "lag of lips to speech in frames",
    "silence_motion": "mouth motion in silence",
    "drift_colour": "colour drift",
    "drift_identity": "identity drift",
    "seam_jump": "jump at joins",
    "black_frames": "black frames",
    "frozen_frames": "frozen frames while speaking",
}


@dataclass(frozen=True)
class Judgement:
    """The quality gate's verdict."""

    status: str  # done, warn or fail
    objections: tuple[str, ...] = ()
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of what was judged


def judge(
    figures: Mapping[str, float], limits: QualityLimits, *, expected_frames: int, seconds: float
) -> Judgement:
    """The verdict on a video of this length in seconds, each objection with its value and limit."""
    judged = {one.name: getattr(limits, one.name) for one in fields(limits) if one.name in figures}
    judged = {
        name: limit for name, limit in judged.items() if limit and _can_be_judged(name, figures, seconds)
    }
    objections = [_judge_one(name, figures[name], limit) for name, limit in judged.items()]
    found = [objection for objection in objections if objection]
    n_frames = figures.get("n_frames", expected_frames)
    if n_frames != expected_frames:
        found.insert(0, ("fail", f"{n_frames:g} frames instead of {expected_frames} of the recording"))
    verdicts = {verdict for verdict, _ in found}
    verdict = "fail" if "fail" in verdicts else "warn" if verdicts else "done"
    return Judgement(verdict, tuple(text for _, text in found), judged)


def _can_be_judged(name: str, figures: Mapping[str, float], seconds: float) -> bool:
    """Whether the video is long enough for a figure, and chance does not explain it."""
    if name == "seam_jump" and figures.get("seam_share", 0.0) >= MAX_CHANCE:
        return False
    return seconds >= LEAST_S.get(name, 0.0)


def _judge_one(name: str, value: float, limit: tuple[float, float]) -> tuple[str, str] | None:
    if math.isnan(value):
        return "fail", f"{_LABELS[name]} is not a number"
    is_low = name in LOW_IS_BAD
    for verdict, edge in zip(("fail", "warn"), reversed(limit), strict=True):
        if value < edge if is_low else abs(value) >= edge:
            return verdict, f"{_LABELS[name]} {value:.3g} is {'below' if is_low else 'at or above'} {edge:g}"
    return None
