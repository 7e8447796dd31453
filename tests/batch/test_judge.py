"""What the quality gate says of figures."""

import pytest

from hallo_cli.batch.judge import judge
from hallo_cli.settings.quality import QualityLimits

LIMITS = QualityLimits(seam_jump=(3.0, 8.0), identity=(0.5, 0.25), sync_lag=(4, 8), black_frames=(1, 2))


@pytest.mark.parametrize(
    ("figures", "verdict", "objection"),
    [
        ({"seam_jump": 2.9, "identity": 0.6, "black_frames": 0, "sync_lag": -3}, "done", ""),
        ({"seam_jump": 3.0}, "warn", "jump at joins 3 is at or above 3"),
        ({"seam_jump": 8.0}, "fail", "jump at joins 8 is at or above 8"),
        ({"identity": 0.4}, "warn", "likeness to the portrait 0.4 is below 0.5"),
        ({"identity": 0.2}, "fail", "likeness to the portrait 0.2 is below 0.25"),
        ({"sync_lag": -9}, "fail", "lag of lips to speech in frames -9"),
        ({"black_frames": 1}, "warn", "black frames 1"),
        ({"seam_jump": float("nan")}, "fail", "jump at joins is not a number"),
        ({"n_frames": 24}, "fail", "24 frames instead of 25 of the recording"),
    ],
)
def test_verdict_and_objection_follow_the_limits(
    figures: dict[str, float], verdict: str, objection: str
) -> None:
    judgement = judge(figures, LIMITS, expected_frames=25, seconds=60.0)
    assert judgement.status == verdict
    assert objection in "; ".join(judgement.objections)


def test_worst_verdict_counts_and_every_objection_is_told() -> None:
    judgement = judge({"seam_jump": 9.0, "identity": 0.4}, LIMITS, expected_frames=25, seconds=60.0)
    assert judgement.status == "fail"
    assert len(judgement.objections) == 2


def test_limit_switched_off_is_not_judged() -> None:
    assert (
        judge({"identity": 0.0}, QualityLimits(identity=None), expected_frames=25, seconds=60.0).status
        == "done"
    )


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.9])
def test_short_video_is_not_judged_by_what_it_cannot_support(seconds: float) -> None:
    bad = {"sync_correlation": -1.0, "sync_lag": 12, "drift_colour": 9.0, "drift_identity": 9.0}
    judgement = judge(bad, QualityLimits(), expected_frames=25, seconds=seconds)
    assert (judgement.status, judgement.limits) == ("done", {})


@pytest.mark.parametrize(
    ("figure", "value", "least_s"),
    [
        ("sync_correlation", -1.0, 3.0),
        ("sync_lag", 12.0, 3.0),
        ("drift_colour", 9.0, 3.0),
        ("drift_identity", 9.0, 6.0),
    ],
)
def test_figure_is_judged_from_so_many_seconds_on(figure: str, value: float, least_s: float) -> None:
    verdicts = [
        judge({figure: value}, QualityLimits(), expected_frames=25, seconds=seconds).status
        for seconds in (least_s - 0.01, least_s)
    ]
    assert verdicts == ["done", "fail"]


def test_long_video_is_judged_by_all_of_it_with_the_limits_named() -> None:
    bad = {"sync_correlation": -1.0, "sync_lag": 12.0, "drift_colour": 9.0, "drift_identity": 9.0}
    judgement = judge(bad, QualityLimits(), expected_frames=25, seconds=6.0)
    assert len(judgement.objections) == 4
    assert judgement.limits["sync_lag"] == (4, 8)


def test_short_video_that_is_black_or_of_somebody_else_is_refused_all_the_same() -> None:
    bad = {"black_frames": 12.0, "identity": 0.0, "face_share": 0.0}
    assert len(judge(bad, QualityLimits(), expected_frames=25, seconds=0.5).objections) == 3


@pytest.mark.parametrize(("share", "verdict"), [(0.0, "fail"), (0.04, "fail"), (0.05, "done"), (0.9, "done")])
def test_joins_are_judged_where_chance_does_not_explain_them(share: float, verdict: str) -> None:
    figures = {"seam_jump": 9.0, "seam_share": share}
    assert judge(figures, QualityLimits(), expected_frames=25, seconds=60.0).status == verdict


@pytest.mark.parametrize(
    ("figure", "good", "doubtful", "bad"),
    [
        ("face_share", 0.98, 0.97, 0.79),
        ("sync_correlation", 0.25, 0.24, -0.01),
        ("identity", 0.5, 0.49, 0.24),
        ("sync_lag", 3, 4, 8),
        ("silence_motion", 0.59, 0.6, 1.0),
        ("drift_colour", 0.09, 0.1, 0.25),
        ("drift_identity", 0.14, 0.15, 0.35),
        ("seam_jump", 2.9, 3.0, 8.0),
        ("black_frames", 0, 1, 2),
        ("frozen_frames", 0, 1, 100),
    ],
)
def test_limits_that_nobody_set_are_these(figure: str, good: float, doubtful: float, bad: float) -> None:
    verdicts = [
        judge({figure: value}, QualityLimits(), expected_frames=25, seconds=60.0).status
        for value in (good, doubtful, bad)
    ]
    assert verdicts == ["done", "warn", "fail"]
