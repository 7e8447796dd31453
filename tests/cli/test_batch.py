"""The batch commands, from argv to exit status, on the trivial engine."""

import csv
import json
import re
import shlex
import sys
from datetime import datetime
from pathlib import Path

import batch_doubles
import pytest
from batch_command import hallo, trivial  # noqa: F401

from hallo_cli.cli import batch_build
from hallo_cli.cli.batch_options import BatchOptions, next_time
from hallo_cli.cli.batch_view import (
    PORCELAIN,
)
from hallo_cli.errors import HalloError, InputError, ManifestError, SettingsError


def test_manifest_to_videos_status_and_report(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a", "b"])
    (tmp_path / "b.png").write_text("no picture", encoding="utf-8")
    result = hallo(manifest, "--no-quality", "--device", "cpu", "--porcelain")
    assert result.exit_code == 1
    lines = sorted(line.split("\t") for line in result.stdout.splitlines())
    assert [line[:2] for line in lines] == [["a", "done"], ["b", "invalid"]]
    assert {len(line) for line in lines} == {len(PORCELAIN)}
    assert "1 of 2 rows done, 1 refused in 0:00:0" in result.stderr
    assert "see " in result.stderr
    assert (tmp_path / "batch.videos" / "a.mp4").exists()

    status = json.loads(hallo("status", manifest, "--json").stdout)
    assert (status["rows"], status["pending"]) == (2, 0)
    assert status["statuses"] == {"done": 1, "invalid": 1}
    assert (status["done"], status["refused"], status["running"]) == (1, 1, [])
    assert hallo("status", manifest).stdout.startswith("1 of 2 rows done, 1 refused; 0:00:0")

    report = hallo("report", manifest)
    page, sheet = (Path(line) for line in report.stdout.splitlines())
    assert "data:video/mp4;base64," in page.read_text(encoding="utf-8")
    assert "1 of 2 rows done, 1 refused. " in page.read_text(encoding="utf-8")
    with sheet.open(encoding="utf-8", newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["done", "invalid"]

    batch_doubles.write_picture(tmp_path / "b.png", 2)
    again = hallo("retry", manifest)
    assert again.exit_code == 0
    assert "2 of 2 rows done" in again.stderr


def test_rows_from_standard_input_as_json_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    batch_doubles.write_batch(tmp_path, ["a"])
    row = json.dumps({"id": "x", "portrait": "a.png", "audio": "speech.wav", "seed": 7})
    result = hallo("-", "--no-quality", "--device", "cpu", "--json", stdin=row + "\n")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {line["version"] for line in lines} == {1}
    assert lines[0]["event"] == "batch_planned"
    assert lines[-1]["event"] == "row_ended"
    assert (lines[-1]["id"], lines[-1]["seed"], lines[-1]["status"]) == ("x", 7, "done")
    assert (tmp_path / "batch.videos" / "x.mp4").exists()


def test_events_go_to_standard_error_where_progress_is_json(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    result = hallo(manifest, "--no-quality", "--device", "cpu", "--progress", "json")
    assert result.stdout == ""
    names = [json.loads(line)["event"] for line in result.stderr.splitlines() if line.startswith("{")]
    assert (names[0], names[-1]) == ("batch_planned", "row_ended")


def test_failure_of_the_batch_is_the_last_event(tmp_path: Path) -> None:
    result = hallo(tmp_path / "none.csv", "--json")
    last = json.loads(result.stdout.splitlines()[-1])
    assert (last["event"], last["kind"], last["exit_status"]) == ("failed", "ManifestError", 4)


def test_budget_that_is_spent_says_what_is_left(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a", "b"])
    price = ("--gpu-hour-price", "3600", "--no-quality", "--device", "cpu")
    result = hallo(manifest, *price, "--max-cost", "1")  # each row is predicted to need 1.5 s
    assert result.exit_code == 75
    assert "the budget is spent: 2 rows are left for another run" in result.stderr
    assert hallo(manifest, *price, "--max-cost", "100").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-cost", "3"], "add --gpu-hour-price"),
        (["--finish-by", "25:00"], "is not a time"),
        (["--finish-by", "soon"], "is not a time"),
        (["--finish-by", "2001-01-01T06:00"], "is past"),
        (["--on-row", "no-such-program x"], "there is no program 'no-such-program'"),
        (["--on-end", "'"], "is not a command"),
    ],
)
def test_budget_or_hook_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = hallo(batch_doubles.write_batch(tmp_path, ["a"]), *arguments)
    assert isinstance(result.exception, SettingsError)
    assert message in str(result.exception)


def test_time_to_finish_by_is_the_next_one_the_clock_shows() -> None:
    evening = datetime(2026, 11, 29, 22, 30)
    assert next_time("06:00", evening) == datetime(2026, 11, 30, 6, 0)
    assert next_time("23:00", evening) == datetime(2026, 11, 29, 23, 0)
    assert next_time("2026-12-01T06:00", evening) == datetime(2026, 12, 1, 6, 0)


def test_hooks_hear_of_each_row_and_of_the_end(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a", "b"])
    (tmp_path / "b.png").unlink()
    heard = tmp_path / "heard.jsonl"
    tee = f"tee -a {shlex.quote(str(heard))}"
    hallo(manifest, "--no-quality", "--device", "cpu", "--on-row", tee, "--on-end", tee)
    said = [json.loads(line) for line in heard.read_text(encoding="utf-8").splitlines()]
    assert [one.get("id") for one in said] == ["b", "a", None]
    assert (said[1]["status"], said[2]["done"], said[2]["refused"]) == ("done", 1, 1)


def test_hook_that_fails_is_told_and_loses_nothing(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    command = f"{sys.executable} -c \"raise SystemExit('no mail today')\""
    result = hallo(manifest, "--no-quality", "--device", "cpu", "--on-row", command)
    assert result.exit_code == 0
    assert "ended with status 1: no mail today" in result.stderr
    silent = hallo(manifest, "--no-quality", "--device", "cpu", "--on-end", "false").stderr
    assert "--on-end 'false' ended with status 1\n" in silent
    assert batch_doubles.results(manifest)["a"].status == "done"


def test_ledger_names_no_command(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    hallo(manifest, "--no-quality", "--device", "cpu", "--on-end", "true")
    assert '"true"' not in (tmp_path / "batch.results.jsonl").read_text(encoding="utf-8")


def test_manifest_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    assert isinstance(hallo(tmp_path / "typo.csv").exception, ManifestError)
    assert list(tmp_path.iterdir()) == []


def test_folders_by_name_count_the_files_without_a_partner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("anna.wav", "extra.wav"):
        batch_doubles.write_sound(tmp_path / name, 0.6)
    for number, name in enumerate(("anna.png", "zoe.png")):
        batch_doubles.write_picture(tmp_path / name, number)
    folders = (
        "--portraits",
        tmp_path,
        "--audios",
        tmp_path,
        "--pair",
        "stem",
        "--dry-run",
        "--device",
        "cpu",
    )
    strict, lax = hallo(*folders), hallo(*folders, "--allow-unmatched")
    assert (strict.exit_code, lax.exit_code) == (1, 0)
    assert "3 rows: 1 to render (0:00:01 of video), 2 refused" in strict.stdout
    assert "1 row: 1 to render" in lax.stdout
    assert "zoe.png: no recording has the same name" in strict.stderr


def test_columns_of_ones_own_reach_ledger_and_report(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    manifest.write_text(
        "id,portrait,audio,note,x_client\na,a.png,speech.wav,<b>,ACME\nb,,speech.wav,bad,\n", encoding="utf-8"
    )
    refused = hallo(manifest, "--no-quality", "--device", "cpu")
    assert isinstance(refused.exception, ManifestError)
    hallo(manifest, "--no-quality", "--device", "cpu", "--ignore-column", "note")
    kept = {name: record.own for name, record in batch_doubles.results(manifest).items()}
    assert kept == {"a": {"note": "<b>", "x_client": "ACME"}, "b": {"note": "bad"}}
    page, sheet = (Path(line) for line in hallo("report", manifest).stdout.splitlines())
    assert "&lt;b&gt;</td>" in page.read_text(encoding="utf-8")
    with sheet.open(encoding="utf-8", newline="") as file:
        assert [(row["note"], row["x_client"]) for row in csv.DictReader(file)] == [
            ("<b>", "ACME"),
            ("bad", ""),
        ]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ([], None, ""),
        (["--portraits", "p"], SettingsError, "both --portraits and --audios"),
        (["m.csv", "--audios", "p"], SettingsError, "not both"),
        (["none.csv"], ManifestError, "cannot be read"),
        (["none.csv", "--shard", "5/4"], SettingsError, "--shard 5/4"),
        (["none.csv", "--shard", "auto"], SettingsError, "neither SLURM_ARRAY_TASK_ID"),
        (["none.csv", "--name-template", "x"], SettingsError, "must end in .mp4"),
        (["none.csv", "--steps", "0"], SettingsError, "--steps"),
        (["status", "none.csv"], ManifestError, "has this batch been run"),
        (["retry", "none.csv"], ManifestError, "has this batch been run"),
        (["merge", "none.csv"], ManifestError, "no ledgers of shards"),
    ],
)
def test_wrong_usage_says_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    kind: type[HalloError] | None,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    result = hallo(*arguments)
    assert (type(result.exception) if kind else None) == kind
    assert message in str(result.exception)


def test_quality_limits_come_from_the_config_file(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("seed = 3\n[quality]\nseam_jump = [1, 2]\nidentity = false\n", encoding="utf-8")
    options = BatchOptions(manifest="-", base=str(tmp_path / "b"), config=str(config))
    limits = batch_build.build_batch(options).renderer.limits[""]
    assert (limits.seam_jump, limits.identity) == ((1.0, 2.0), None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seam_jmp = [1, 2]", "Did you mean 'seam_jump'"),
        ("seam_jump = [2, 1]", "not a rising pair"),
        ("identity = [0.2, 0.5]", "not a falling pair"),
        ("identity = 3", "not a falling pair"),
    ],
)
def test_quality_limits_that_make_no_sense_are_refused(tmp_path: Path, line: str, message: str) -> None:
    config = tmp_path / "mine.toml"
    config.write_text(f"[quality]\n{line}\n", encoding="utf-8")
    options = BatchOptions(manifest="-", base=str(tmp_path / "b"), config=str(config))
    with pytest.raises(SettingsError, match=message):
        batch_build.build_batch(options)


def test_workers_that_share_the_processor_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    options = BatchOptions(manifest="-", base="/b", devices="cpu", jobs=2)
    assert batch_build.build_batch(options).renderer.runtime.threads == 4
    assert batch_build.worker_devices(options, "auto") == ["cpu", "cpu"]


def marks_of(manifest: Path, **marks: str) -> Path:
    """A file as the report page saves it, for videos that the ledger knows."""
    records = batch_doubles.results(manifest)
    decisions = [{"id": name, "mark": mark, "sha256": records[name].sha256} for name, mark in marks.items()]
    file = manifest.with_name("marks.json")
    file.write_text(json.dumps({"format": 1, "batch": "batch", "decisions": decisions}), encoding="utf-8")
    return file


def test_rejected_row_is_rendered_again_with_its_next_seed_and_only_once(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a", "b"])
    hallo(manifest, "--no-quality", "--device", "cpu", "--seed", "7")
    before = batch_doubles.results(manifest)
    marks = marks_of(manifest, a="rejected", b="approved")
    assert hallo("retry", manifest, "--decisions", marks).exit_code == 0
    after = batch_doubles.results(manifest)
    assert (after["a"].seed, after["b"].seed) == (8, 7)
    assert after["a"].sha256 != before["a"].sha256
    assert after["b"] == before["b"]
    again = hallo("retry", manifest, "--decisions", marks)
    assert "rejects no video that still exists" in str(again.exception)
    assert "a: the marked video is gone or was rendered again since; look at the row again" in again.stderr
    rerun = hallo(manifest, "--no-quality", "--device", "cpu", "--seed", "7", "--porcelain")
    assert (rerun.exit_code, rerun.stdout) == (0, "")
    assert batch_doubles.results(manifest)["a"] == after["a"]


def test_approved_rows_become_a_batch_with_the_promoted_preset(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a", "b", "c"])
    lines = manifest.read_text(encoding="utf-8").splitlines()
    lines = [f"{line},{cells}" for line, cells in zip(lines, ["seed,x_note", "3,hi", "4,", ","], strict=True)]
    manifest.write_text("\n".join(lines), encoding="utf-8")
    hallo(manifest, "--no-quality", "--device", "cpu", "--pose-weight", "0.9", "--crf", "30")
    drafts = batch_doubles.results(manifest)
    marks = marks_of(manifest, a="approved", b="rejected")
    result = hallo("promote", manifest, "--decisions", marks, "--preset", "still")
    assert result.exit_code == 0, result.stderr
    made = tmp_path / "batch.still.jsonl"
    assert "batch.still.jsonl: 1 approved row" in result.stderr
    promoted = batch_doubles.results(made)
    assert [(name, record.seed, dict(record.own)) for name, record in promoted.items()] == [
        ("a", 3, {"x_note": "hi"})
    ]
    settings = json.loads((tmp_path / "batch.still.videos" / "a.json").read_text())["settings"]
    still = json.loads((tmp_path / "batch.videos" / "a.json").read_text())["settings"]
    assert settings["crf"] == still["crf"] == 30
    assert settings["pose_weight"] < 0.9 == still["pose_weight"]
    assert batch_doubles.results(manifest) == drafts

    later = hallo("promote", manifest, "--decisions", marks_of(manifest, c="approved"), "--preset", "still")
    assert later.exit_code == 0
    assert set(batch_doubles.results(made)) == {"a", "c"}
    assert "2 of 2 rows done" in hallo("status", made).stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("[1]", "it = [1] is not a table"),
        ('{"format": 2, "decisions": []}', "format = 2 is not 1"),
        (
            '{"format": 1, "decisions": [{"id": "a", "mark": "fine", "sha256": ""}]}',
            "decisions.0.mark = 'fine' is not 'approved' or 'rejected'",
        ),
        ('{"format": 1, "decisions": [{"id": "a"}]}', "mark must be given"),
        ('{"format": 1, "decisions": []}', "holds no decisions"),
        ("[" * 100_000, "is not a file of decisions"),
    ],
)
def test_bad_file_of_decisions_is_refused_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a"])
    hallo(manifest, "--no-quality", "--device", "cpu")
    file = tmp_path / "marks.json"
    file.write_text(content, encoding="utf-8")
    result = hallo("retry", manifest, "--decisions", file)
    assert isinstance(result.exception, InputError)
    assert said in str(result.exception)


def test_report_shows_rows_to_come_and_what_rows_ask_for(tmp_path: Path) -> None:
    manifest = batch_doubles.write_batch(tmp_path, ["a", "b"])
    hallo(manifest, "--no-quality", "--device", "cpu", "--seed", "7", "--only", "a")
    page, sheet = (Path(line) for line in hallo("report", manifest).stdout.splitlines())
    with sheet.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["status"], Path(row["portrait"]).name) for row in rows] == [
        ("a", "done", "a.png"),
        ("b", "pending", "b.png"),
    ]
    assert rows[1]["recording"].endswith("speech.wav")
    text = page.read_text(encoding="utf-8")
    assert re.search("Settings of all rows:[^<]* seed=7", text)
    assert 'data-video="./batch.videos/a.mp4"' in text
    assert text.count("data-sha256=") == text.count(' data-mark="approved">approve</button>') == 1
    manifest.unlink()
    result = hallo("report", manifest)
    assert result.exit_code == 0
    assert "the page shows only rows that have a result" in result.stderr
