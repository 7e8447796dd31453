import logging
from pathlib import Path
from typing import get_args

import pytest
from rich.console import Console
from rich.live import Live

from hallo_cli.cli.progress import PlainLines, SayingHandler, Speed, Style, clock, showing
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
        "out of memory (full): continuing with sliced attention",
        "100/100 frames 26.7 frames/s, 0:00:00 left",
    ]


@pytest.mark.parametrize("style", get_args(Style))
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


@pytest.mark.parametrize("width", [80, 120])
def test_bar_of_a_long_job_keeps_to_one_line(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with showing("bar") as listener:
        bar = listener.__self__  # type: ignore[attr-defined]
        time = Clock()
        bar.speed = Speed(time)
        bar.show(events.StageStarted("render"))
        bar.show(events.Planned(90_000, 25.0, 7500, 120, 0, Path("work")))
        bar.show(events.ClipRendered(0, 12, 90_000))
        time.now = 600.0
        bar.show(events.ClipRendered(1233, 14_800, 90_000))
        bar.show(events.StepRendered(1234, 40, 40))
        console = Console(width=width)
        with console.capture() as capture:
            console.print(bar.progress.get_renderable())
    (line,) = capture.get().splitlines()
    assert len(line.rstrip()) <= width - 2  # ^C must not wrap


def test_warnings_leave_a_live_view_whole(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("batch")
    logger.addHandler(SayingHandler())  # made before the view, as the command line does
    with Live(console=Console(stderr=True, force_terminal=True, width=40)) as live:
        live.update("the view", refresh=True)
        logger.warning("mind the gap")
    said = capsys.readouterr().err
    before, after = said.split("mind the gap")
    assert before.endswith("\x1b[2K")  # the view is erased, and drawn again behind the warning
    assert "the view" in after
