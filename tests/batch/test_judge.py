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
        ({"n_frames": 24}, "fail", "24 frames where the recording asks for 25"),
    ],
)
def test_verdict_and_objection_follow_the_limits(
    figures: dict[str, float], verdict: str, objection: str
) -> None:
    judgement = judge(figures, LIMITS, expected_frames=25)
    assert judgement.verdict == verdict
    assert objection in "; ".join(judgement.objections)


def test_worst_verdict_counts_and_every_objection_is_told() -> None:
    judgement = judge({"seam_jump": 9.0, "identity": 0.4}, LIMITS, expected_frames=25)
    assert judgement.verdict == "fail"
    assert len(judgement.objections) == 2


def test_limit_switched_off_is_not_judged() -> None:
    assert judge({"identity": 0.0}, QualityLimits(identity=None), expected_frames=25).verdict == "done"
