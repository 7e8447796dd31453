"""What people see of a batch while it runs."""

import json

import pytest

from hallo_cli.batch import batch_events
from hallo_cli.batch.ledger import Record
from hallo_cli.batch.tally import AtWork, Tally
from hallo_cli.cli import batch_view
from hallo_cli.cli.batch_run import plan_lines
from hallo_cli.cli.batch_view import (
    SPARE,
    describe,
    describe_worker,
    line_of,
    shorten,
    showing,
    table,
)
from hallo_cli.cli.progress import Shown

PLAN = batch_events.BatchPlanned(10, 6, 2, 1, 1, 600, 24.0, 7200.0, 5_000_000_000, 3_000_000_000)


def test_plan_names_compute_price_and_disk() -> None:
    text = "\n".join(plan_lines(PLAN, 3.0))
    assert "10 rows: 6 to render (0:00:24 of video), 2 done before, 1 waiting for" in text
    assert "2.00 hours" in text
    assert "about 6.00 at 3 an hour" in text
    assert "about 8000 MB while rendering, 5000.0 MB in the end" in text


def test_tally_counts_rows_frames_and_time_left() -> None:
    now = [100.0]
    tally = Tally(clock=lambda: now[0])
    tally.add(PLAN)
    tally.add(batch_events.WorkerLoading("cpu"))
    assert describe_worker(tally.workers["cpu"]) == "loading the networks"
    now[0] = 160.0  # the networks were loading, which is no sign of the speed
    tally.add(batch_events.WorkerReady("cpu"))
    tally.add(batch_events.RowStarted("a", 2, "cpu", 1, 100))
    now[0] = 170.0
    tally.add(batch_events.RowAdvanced("a", "cpu", 50, 100))
    assert tally.fps == 5.0
    assert tally.seconds_left == 110.0
    tally.add(batch_events.RowMeasured("a", 2, "cpu"))
    assert describe_worker(tally.workers["cpu"]) == "measuring a"
    tally.add(batch_events.RowEnded(Record("a", 2, "done", "a.mp4", frames=100, worker="cpu")))
    tally.add(batch_events.RowEnded(Record("b", 3, "error", "b.mp4", message="no")))
    tally.add(batch_events.RowEnded(Record("c", 4, "invalid", message="no")))  # counted with the plan
    assert line_of(tally).startswith("3 of 10 rows done, 2 failed, 1 refused, 4 pending, 5.0 frames/s")
    assert tally.workers == {"cpu": AtWork("waiting")}


def test_worker_that_is_not_replaced_leaves_the_view() -> None:
    tally = Tally()
    for event in (
        batch_events.WorkerReady("a"),
        batch_events.WorkerReady("b"),
        batch_events.WorkerLost("a", "no", False),
    ):
        tally.add(event)
    assert tally.workers == {"b": AtWork("waiting")}


@pytest.mark.parametrize("width", [40, 80, 120])
def test_live_view_has_one_line_for_each_worker_on_every_terminal(width: int) -> None:
    from rich.console import Console

    tally = Tally()
    started = batch_events.RowStarted("a-very-long-id-" * 9 + "end", 2, "cuda:1", 1, 80)
    for event in (PLAN, batch_events.WorkerLoading("cuda:0"), batch_events.WorkerReady("cuda:1"), started):
        tally.add(event)
    tally.add(batch_events.RowAdvanced(started.id, "cuda:1", 12, 80))
    console = Console(width=width)
    with console.capture() as capture:
        console.print(table(tally, width))
    lines = capture.get().splitlines()
    assert [line.split()[0] for line in lines] == ["all", "cuda:0", "cuda:1"]
    assert max(map(len, lines)) <= width - SPARE
    assert "end" in lines[2] or width == 40
    assert "left" in lines[0] or width == 40


def test_files_that_are_checked_are_counted_in_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(batch_view, "PLAIN_INTERVAL_S", 0.0)
    for options in (Shown(progress="plain"), Shown(progress="json"), Shown(progress="none")):
        with showing(options, Tally()) as show:
            show(batch_events.FilesChecked(3, 40))
    plain, as_json = capsys.readouterr().err.splitlines()
    assert plain == "checked 3 of 40 files"
    assert json.loads(as_json)["n_files"] == 40


def test_terminal_says_what_is_done_before_the_files_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    with showing(Shown(progress="bar"), Tally()) as show:
        show(batch_events.FilesChecked(3, 40))
    said = capsys.readouterr().err
    assert "3 of 40 files" in said
    assert "None" not in said


def test_long_ids_keep_both_ends() -> None:
    assert shorten("anna-in-the-garden-07", 9) == "anna…n-07"
    assert shorten("anna", 9) == "anna"


def test_lines_for_people_name_row_and_reason() -> None:
    retried = batch_events.RowRetried("a", 2, "worker cpu died")
    assert describe(retried) == "row 2 (a) is tried again: worker cpu died"
    killed = batch_events.WorkerLost("cpu", "it was ended by SIGKILL", is_replaced=True)
    assert describe(killed) == "worker cpu: it was ended by SIGKILL; a new worker replaces it"
    broken = batch_events.WorkerLost("cpu", "no such device", is_replaced=False)
    assert describe(broken) == "worker cpu: no such device; it is not replaced"
    warned = Record("a", 2, "warn", "a.mp4", seconds=2.0, compute_s=4.0, worker="cpu", objections=("jump",))
    assert describe(batch_events.RowEnded(warned)) == "row 2 (a): warn, 2.0 s of video in 4.0 s on cpu: jump"
