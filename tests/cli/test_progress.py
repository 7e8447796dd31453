from pathlib import Path

import pytest

from hallo_cli.cli.progress import PlainLines, Speed, Style, clock, showing
from hallo_cli.jobs import events

PLANNED = events.Planned(100, 25.0, 10, 1, 20, Path("work"))


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_speed_counts_this_runs_frames_only() -> None:
    time = Clock()
    speed = Speed(time)
    speed.update(20, 100)
    time.now = 10.0
    speed.update(60, 100)
    assert (speed.fps, speed.seconds_left) == (4.0, 10.0)


def test_speed_is_unknown_before_the_first_clip() -> None:
    speed = Speed(Clock())
    speed.update(20, 100)
    assert str(speed) == ""


def test_times_are_shown_with_hours() -> None:
    assert [clock(0.4), clock(61), clock(7325)] == ["0:00:00", "0:01:01", "2:02:05"]


def test_plain_lines_tell_stage_plan_and_frames(capsys: pytest.CaptureFixture[str]) -> None:
    time = Clock()
    lines = PlainLines(Speed(time), last=-100.0)
    happened = [
        events.StageStarted("render"),
        PLANNED,
        events.ClipRendered(1, 20, 100),
        events.ClipRendered(2, 30, 100),  # so soon that it is left out
        events.FellBack("sliced attention", "full"),
        events.ClipRendered(9, 100, 100),
    ]
    for event in happened:
        lines.show(event)
        time.now += 1.0
    assert capsys.readouterr().err.splitlines() == [
        "rendering",
        "100 frames in 10 clips, 20 done by an earlier run; work is kept in work",
        "20/100 frames",
        "out of memory (full): going on with sliced attention",
        "100/100 frames 26.7 frames/s, 0:00:00 left",
    ]


@pytest.mark.parametrize("style", list(Style))
def test_every_style_takes_every_event(style: Style, capsys: pytest.CaptureFixture[str]) -> None:
    happened = [
        events.StageStarted("analyse"),
        PLANNED,
        events.StepRendered(2, 1, 4),
        events.ClipRendered(2, 30, 100),
        events.SegmentCommitted(0, 1),
        events.FellBack("sliced attention", "full"),
        events.Finished(Path("out.mp4"), Path("out.json"), 100, 3.0, False),
    ]
    with showing(style) as show:
        for event in happened:
            show(event)
    assert capsys.readouterr().out == ""
