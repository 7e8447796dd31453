"""Rows whose speech is a text."""

import shlex
import sys
from pathlib import Path

import batch_doubles
import pytest
from batch_doubles import InlinePool

import hallo_cli as hallo
from hallo_cli.batch import building, run
from hallo_cli.batch.manifest_file import read_manifest
from hallo_cli.batch.places import Layout
from hallo_cli.batch.rows import BadRow, Row

SPEAKER = """
import sys, wave
if "fail" in sys.argv[2]: sys.exit("no voice")
open(__file__ + ".said", "a").write(sys.argv[2] + "|")
with wave.open(sys.argv[1], "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(bytes(16000))
"""


@pytest.fixture(autouse=True)
def speaker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setattr(run, "default_check_processes", lambda: 0)
    monkeypatch.setattr(building, "make_pool", lambda devices, logs, spec: InlinePool(spec))
    monkeypatch.setattr(building, "make_engine", batch_doubles.make_engine)
    monkeypatch.setattr(building, "predict", lambda engine, settings, frames: frames / 10)
    options = building.RowsOptions
    monkeypatch.setattr(building, "RowsOptions", lambda *args: options(*args, has_gate=False))
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    batch_doubles.write_batch(tmp_path, ["a", "b"])
    (tmp_path / "speaker.py").write_text(SPEAKER)
    return shlex.join([sys.executable, str(tmp_path / "speaker.py"), "{output}", "{text}"])


def row(name: str, text: str) -> dict[str, object]:
    return {"id": name, "portrait": "a.png", "text": text}


def test_texts_are_spoken_once_and_rendered(speaker: str) -> None:
    rows = [row("one", "Good morning"), row("two", "Good evening")]
    records = hallo.render_batch(rows, "week", speak=speaker, device="cpu")
    again = hallo.render_batch([*rows, row("three", "Good night")], "week", speak=speaker, device="cpu")
    assert [(record.id, record.status, record.frames) for record in records] == [
        ("one", "done", 13),
        ("two", "done", 13),
    ]
    assert [record.status for record in again] == ["done"] * 3
    said = Path("speaker.py.said").read_text().split("|")
    assert sorted(said) == ["", "Good evening", "Good morning", "Good night"]


def test_text_that_cannot_be_spoken_is_its_rows_fault(speaker: str) -> None:
    rows = [row("one", "fail"), row("two", "Good evening")]
    records = hallo.render_batch(rows, "week", speak=speaker, device="cpu")
    assert [record.status for record in records] == ["invalid", "done"]
    assert "no voice" in records[0].message


def test_command_whose_voice_has_no_consent_is_not_run(speaker: str) -> None:
    Path("ok.csv").write_text("who,speak\nVoices Ltd,another command\n")
    (record,) = hallo.render_batch(
        [row("one", "Good morning")], "week", speak=speaker, device="cpu", consent="ok.csv"
    )
    assert (record.status, record.error) == ("invalid", "ConsentError")
    assert not Path("speaker.py.said").exists()


def read(text: str, speak: str | None) -> list[Row | BadRow]:
    Path("texts.csv").write_text(text)
    return list(read_manifest(Path("texts.csv"), Layout(Path.cwd(), Path.cwd(), speak=speak)))


def test_column_of_texts_takes_the_place_of_recordings(speaker: str) -> None:
    (found,) = read('portrait,text\na.png,"Hello, world"\n', speaker)
    assert isinstance(found, Row)
    assert (found.id, found.own) == ("a_Hello, world", {"text": "Hello, world"})


@pytest.mark.parametrize(
    ("text", "has_speaker", "said"),
    [
        ("portrait,audio,text\na.png,speech.wav,Hello\n", True, "both given"),
        ("portrait,text\na.png,Hello\n", False, "needs --speak"),
        ("portrait,audio,text\na.png,,\n", True, "audio is empty"),
    ],
)
def test_row_that_cannot_be_heard_is_told(speaker: str, text: str, has_speaker: bool, said: str) -> None:
    (found,) = read(text, speaker if has_speaker else None)
    assert isinstance(found, BadRow)
    assert said in found.message
