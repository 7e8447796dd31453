import dataclasses

import pytest

from hallo_cli.errors import JobError
from hallo_cli.jobs.plan import (
    JobPlan,
    Segment,
    count_frames,
    fingerprint,
    from_json,
    plan_segments,
    to_json,
)
from hallo_cli.settings.schema import RenderSettings


def test_segments_cover_every_frame_once_and_start_with_a_clip() -> None:
    segments = plan_segments(1000, clip_frames=16, segment_frames=100)
    assert [s.start for s in segments[1:]] == [s.stop for s in segments[:-1]]
    assert (segments[0].start, segments[-1].stop) == (0, 1000)
    assert all(segment.start % 16 == 0 for segment in segments)


def test_cuts_move_to_pauses_nearby() -> None:
    segments = plan_segments(400, clip_frames=10, segment_frames=100, pauses=[(85, 95), (218, 222)])
    assert [segment.stop for segment in segments] == [90, 190, 290, 390, 400]


def test_cut_ignores_pauses_far_away() -> None:
    segments = plan_segments(200, clip_frames=10, segment_frames=100, pauses=[(0, 70), (130, 200)])
    assert [segment.stop for segment in segments] == [100, 200]


@pytest.mark.parametrize(
    ("pause", "first_cut"), [((80, 85), 80), ((70, 75), 100), ((120, 125), 120), ((130, 135), 100)]
)
def test_cut_moves_by_a_quarter_of_a_segment_at_most(pause: tuple[int, int], first_cut: int) -> None:
    segments = plan_segments(400, clip_frames=10, segment_frames=100, pauses=[pause])
    assert segments[0].stop == first_cut


def test_short_recording_is_one_segment() -> None:
    assert plan_segments(7, clip_frames=16, segment_frames=750) == (Segment(0, 0, 7),)


def test_recording_that_fits_into_a_segment_is_one_though_its_last_clip_does_not() -> None:
    assert plan_segments(750, clip_frames=12, segment_frames=750) == (Segment(0, 0, 750),)
    assert [s.stop for s in plan_segments(751, clip_frames=12, segment_frames=750)] == [744, 751]


@pytest.mark.parametrize(
    ("duration_s", "n_frames"),
    [(5.0, 125), (5.001, 126), (0.04, 1), (0.0401, 2), (0.001, 1), (3600.0, 90000)],
)
def test_frames_reach_the_end_of_the_recording(duration_s: float, n_frames: int) -> None:
    assert count_frames(duration_s, 25.0) == n_frames


def test_plan_survives_being_written_and_read() -> None:
    plan = JobPlan("abc", 100, 29.97, 16, plan_segments(100, clip_frames=16, segment_frames=40))
    assert from_json(to_json(plan)) == plan


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "segments": [3]}'])
def test_plan_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="--no-resume"):
        from_json(text)


@pytest.mark.parametrize("change", ["portrait", "audio", "weights_id", "settings"])
def test_fingerprint_changes_with_each_part(change: str) -> None:
    parts = {"portrait": "a", "audio": "b", "weights_id": "c", "settings": RenderSettings()}
    other = parts | {change: dataclasses.replace(RenderSettings(), seed=7) if change == "settings" else "x"}
    assert fingerprint(**other) != fingerprint(**parts)  # type: ignore[arg-type]
