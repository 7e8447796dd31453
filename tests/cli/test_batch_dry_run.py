"""`hallo batch --dry-run`: the plan and the sheet."""

import csv
import json
from pathlib import Path

import batch_doubles
import numpy as np
import pytest
from batch_command import hallo, trivial  # noqa: F401
from typer.testing import Result

from hallo_cli.batch import run as batch
from hallo_cli.batch.planner import Planner
from hallo_cli.cli.batch_plan import PLAN as PLAN_COLUMNS
from hallo_cli.cli.batch_plan import csv_line
from hallo_cli.errors import SettingsError
from hallo_cli.jobs.still import Still


def test_dry_run_prints_the_plan_and_renders_nothing(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a", "b"], seconds=2.0)
    (tmp_path / "b.png").unlink()
    result = hallo(manifest, "--dry-run", "--gpu-hour-price", "36")
    assert result.exit_code == 1
    assert "row 3 (b): InputError: The portrait" in result.stderr
    assert "2 rows: 1 to render (0:00:02 of video), 1 refused" in result.stdout
    assert "about 0.05 at 36 an hour" in result.stdout
    assert "to measure the videos, on one core at the same time" in result.stdout
    assert "to measure" not in hallo(manifest, "--dry-run", "--no-quality").stdout


def test_plan_with_nothing_to_render_tells_no_cost(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    hallo(manifest, "--no-quality", "--device", "cpu")
    lines = hallo(manifest, "--dry-run", "--device", "cpu").stdout.splitlines()
    assert lines[2:] == ["1 row: 0 to render (0:00:00 of video), 1 done before"]


def planned(tmp_path: Path, *options: str) -> Result:
    """The plan of a good row, one that is done, and a refused one."""
    manifest = batch_doubles.write_batch(tmp_path, ["a", "b", "c"], seconds=2.0)
    hallo(manifest, "--no-quality", "--device", "cpu", "--only", "b")
    (tmp_path / "c.png").unlink()
    return hallo(manifest, "--dry-run", "--device", "cpu", "--gpu-hour-price", "36", *options)


def test_plan_shows_a_line_for_each_row(tmp_path: Path) -> None:
    lines = planned(tmp_path).stdout.splitlines()
    assert lines[0].split() == ["id", "state", "portrait", "length", "size", "compute", "price", "output"]
    assert lines[1].split() == ["a", "to", "render", "a.png", "0:00:02", "32x32", "0:00:05", "0.05", "a.mp4"]
    assert lines[2].split()[:3] == ["b", "done", "before"]
    assert lines[3].split()[:2] == ["c", "refused"]


def test_plan_for_programs_has_fixed_columns(tmp_path: Path) -> None:
    rows = [line.split("\t") for line in planned(tmp_path, "--porcelain").stdout.splitlines()]
    assert {len(row) for row in rows} == {len(PLAN_COLUMNS)}
    assert [row[:2] for row in rows] == [["a", "to render"], ["b", "done before"], ["c", "refused"]]
    assert (rows[0][3], rows[0][4], rows[0][6]) == ("2.000", "32x32", "0.0500")


def test_plan_as_json_has_the_prices(tmp_path: Path) -> None:
    events = [json.loads(line) for line in planned(tmp_path, "--json").stdout.splitlines()]
    assert [event["price"] for event in events] == [0.05, None, None, 0.05]  # three rows and the total


def test_plan_as_csv_has_a_header_and_no_formula(tmp_path: Path) -> None:
    result = planned(tmp_path, "--csv")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert tuple(rows[0]) == PLAN_COLUMNS
    assert [row["state"] for row in rows] == ["to render", "done before", "refused"]
    assert csv_line(["=1+1", "a,b"]) == '\'=1+1,"a,b"'
    with pytest.raises(SettingsError, match="--csv needs --dry-run"):
        raise hallo(tmp_path / "batch.csv", "--csv").exception  # type: ignore[misc]


def test_plan_as_json_has_a_line_for_each_row_and_the_sum(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in planned(tmp_path, "--json").stdout.splitlines()]
    assert [line["event"] for line in lines] == [*["row_planned"] * 3, "batch_planned"]
    assert (lines[0]["id"], lines[0]["seconds"], lines[0]["width"]) == ("a", 2.0, 32)


def test_dry_run_leaves_nothing_behind(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    before = sorted(tmp_path.rglob("*"))
    assert hallo(manifest, "--dry-run").exit_code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_dry_run_looks_at_no_file_twice_and_changes_no_finding(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    hallo(manifest, "--no-quality", "--device", "cpu")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    batch_doubles.write_picture(tmp_path / "b.png", 3)
    manifest.write_text(manifest.read_text(encoding="utf-8") + "b,b.png,speech.wav\n", encoding="utf-8")
    assert "1 to render" in hallo(manifest, "--dry-run", "--device", "cpu").stdout
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert changed == {manifest}


def test_dry_run_waits_for_no_running_batch(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    with batch.opened(batch_doubles.batch_of(manifest)):
        assert hallo(manifest, "--dry-run").exit_code == 0


def test_dry_run_writes_a_sheet_of_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = Still(np.zeros((60, 100, 3), np.uint8), (90, 60), "32 x 32", "good", ())
    monkeypatch.setattr(Planner, "still", lambda planner, row: still)
    manifest = batch_doubles.write_batch(tmp_path, ["a", "b"])
    (tmp_path / "b.png").write_text("no picture", encoding="utf-8")
    result = hallo(manifest, "--dry-run", "--device", "cpu", "--sheet", tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert result.exit_code == 1
    assert (page.count("<article"), page.count("data:image/jpeg")) == (2, 1)
    assert "cannot be rendered" in page
    assert "<h1>batch</h1><p>2 rows: 1 to render (0:00:01 of video), 1 refused</p>" in page


def test_sheet_goes_with_a_dry_run(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    result = hallo(manifest, "--device", "cpu", "--sheet", tmp_path / "sheet.html")
    assert isinstance(result.exception, SettingsError)
