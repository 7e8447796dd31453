"""Consent files, from `hallo consent add` to a refused row."""

import json
import subprocess
import sys
from pathlib import Path

import batch_doubles
import pytest
from batch_doubles import InlinePool
from typer.testing import CliRunner, Result

from hallo_cli.batch import building
from hallo_cli.batch import run as batch
from hallo_cli.batch.ledger import Record
from hallo_cli.cli import batch_build
from hallo_cli.cli.app import register
from hallo_cli.errors import SettingsError

APP = register("consent", "batch")


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A batch of rows a and b, on the trivial engine."""
    monkeypatch.setattr(batch, "default_check_processes", lambda: 0)
    monkeypatch.setattr(batch_build, "make_pool", lambda options, devices, spec: InlinePool(spec))
    monkeypatch.setattr(building, "make_engine", batch_doubles.make_engine)
    monkeypatch.setattr(batch_build, "predict", lambda engine, settings, frames: frames / 10)
    monkeypatch.chdir(tmp_path)
    batch_doubles.write_batch(tmp_path, ["a", "b"])
    return tmp_path


def hallo(*arguments: str) -> Result:
    return CliRunner().invoke(APP, arguments, catch_exceptions=False)


def render(*options: str) -> tuple[int, dict[str, Record]]:
    run = ["batch", "batch.csv", "--no-quality", "--device", "cpu", "--progress", "none", *options]
    return hallo(*run).exit_code, batch_doubles.results(Path("batch.csv"))


def add(*arguments: str) -> None:
    assert hallo("consent", "add", "consent.csv", *arguments).exit_code == 0


def test_rows_without_consent_are_refused_and_rendered_once_it_is_there() -> None:
    add("a.png", "speech.wav", "--who", "Anna", "--until", "2999-12-31")
    status, records = render("--consent", "consent.csv")
    assert (status, records["a"].status, records["b"].status) == (1, "done", "invalid")
    assert records["b"].error == "ConsentError"
    assert "b.png' has no entry in" in records["b"].message
    add("b.png", "--who", "Ben")
    status, records = render("--consent", "consent.csv")
    assert (status, records["b"].status) == (0, "done")


def test_finished_rows_stay_done_when_consent_ends() -> None:
    add("a.png", "b.png", "speech.wav", "--who", "Anna")
    assert render("--consent", "consent.csv")[0] == 0
    add("a.png", "b.png", "speech.wav", "--who", "Anna", "--until", "2020-01-01")
    status, records = render("--consent", "consent.csv")
    assert (status, records["a"].status) == (0, "done")


def test_retry_obeys_the_consent_file_of_the_run() -> None:
    add("a.png", "speech.wav", "--who", "Anna")
    render("--consent", "consent.csv")
    assert hallo("batch", "retry", "batch.csv", "--progress", "none").exit_code == 1
    assert batch_doubles.results(Path("batch.csv"))["b"].error == "ConsentError"


def test_dry_run_names_refused_rows() -> None:
    add("a.png", "speech.wav", "--who", "Anna")
    result = hallo("batch", "batch.csv", "--dry-run", "--device", "cpu", "--consent", "consent.csv")
    assert result.exit_code == 1
    assert "ConsentError" in result.stderr


def test_added_entries_are_listed_and_replaced() -> None:
    add("a.png", "--who", "Anna", "--until", "2020-01-01", "--note", "contract 7")
    assert "ENDED 2020-01-01" in hallo("consent", "list", "consent.csv").stdout
    add("a.png", "--who", "Anna", "--until", "2999-12-31")
    add("--speak", "say -o {output}", "--who", "Voices Ltd")
    listed = json.loads(hallo("consent", "list", "consent.csv", "--json").stdout)["entries"]
    assert [(one["who"], one["file"], one["speak"], one["valid"]) for one in listed] == [
        ("Anna", "a.png", "", True),
        ("Voices Ltd", "", "say -o {output}", True),
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.png"], "--who NAME"),
        (["--who", "Anna"], "name the pictures"),
        (["a.png", "--who", "Anna", "--until", "soon"], "'soon' is not a date"),
    ],
)
def test_incomplete_entries_are_told(arguments: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        hallo("consent", "add", "consent.csv", *arguments)
    assert not Path("consent.csv").exists()


def test_bad_consent_file_is_one_line_and_status_2(folder: Path) -> None:
    (folder / "consent.csv").write_text("portrait,date\n")
    command = [sys.executable, "-m", "hallo_cli", "batch", "batch.csv", "--consent", "consent.csv"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "consent.csv" in result.stderr
    assert not list(folder.glob("batch.results*"))
