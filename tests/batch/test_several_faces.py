"""Rows with a column for what each of several faces says."""

import json
from pathlib import Path

import pytest
from batch_command import hallo, trivial  # noqa: F401
from batch_doubles import results, write_picture, write_sound
from file_server import Server, serving  # noqa: F401
from group_doubles import Faces
from manifest_rows import LAYOUT, only, only_bad
from typer.testing import CliRunner, Result

from hallo_cli.batch import building
from hallo_cli.cli.app import register
from hallo_cli.jobs.record import read_record
from hallo_cli.media.probe import probe

HEADER = "id,portrait,face_1,face_2"


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(building, "make_engine", lambda bundle, runtime: Faces())
    write_picture(tmp_path / "group.png", 0)
    write_sound(tmp_path / "a.wav", 0.6, 1)
    write_sound(tmp_path / "b.wav", 1.0, 2)
    file = tmp_path / "batch.csv"
    file.write_text(f"{HEADER}\ntalk,group.png,a.wav,b.wav\n")
    return file


def run(manifest: Path, *options: str) -> Result:
    return hallo(manifest, "--no-provenance", "--device", "cpu", *options)


def test_row_of_two_faces_is_rendered_once(manifest: Path) -> None:
    assert run(manifest).exit_code == 0
    video = manifest.with_suffix(".videos") / "talk.mp4"
    made = read_record(video.with_suffix(".json")).job
    assert [(voice.face, voice.audio.name) for voice in made.voices] == [(1, "a.wav"), (2, "b.wav")]
    assert made.settings.framing == "full"
    assert results(manifest)["talk"].frames == 25
    assert probe(video).audio is not None
    assert "1 done before" in run(manifest, "--dry-run").stdout


def test_row_is_rendered_again_when_one_voice_has_changed(manifest: Path) -> None:
    run(manifest)
    write_sound(manifest.parent / "a.wav", 0.6, 3)
    assert "1 to render" in run(manifest, "--dry-run").stdout


def test_exchanged_voices_are_another_row(manifest: Path) -> None:
    run(manifest)
    manifest.write_text(f"{HEADER}\ntalk,group.png,b.wav,a.wav\n")
    assert "1 to render" in run(manifest, "--dry-run").stdout


@pytest.mark.parametrize(
    ("column", "said"),
    [("face_9", "there is no face 9 in"), ("canvas", "leave --canvas out")],
)
def test_row_that_a_group_cannot_be_is_refused(manifest: Path, column: str, said: str) -> None:
    cell = "a.wav" if column == "face_9" else "9:16"
    manifest.write_text(f"{HEADER},{column}\ntalk,group.png,a.wav,b.wav,{cell}\n")
    assert run(manifest).exit_code == 1
    assert said in results(manifest)["talk"].message


def test_consent_is_asked_for_each_voice(manifest: Path) -> None:
    allowed, folder = manifest.with_name("ok.csv"), manifest.parent

    def add(*names: str) -> None:
        files = [str(folder / name) for name in names]
        command = ["consent", "add", str(allowed), *files, "--who", "Anna"]
        assert CliRunner().invoke(register("consent"), command).exit_code == 0

    add("group.png", "a.wav")
    assert run(manifest, "--consent", str(allowed)).exit_code == 1
    assert "recording 2 of 2 has no entry" in results(manifest)["talk"].message
    add("b.wav")
    assert run(manifest, "--consent", str(allowed)).exit_code == 0


def test_report_and_promoted_rows_name_the_voices(manifest: Path) -> None:
    run(manifest)
    hallo("report", manifest)
    assert "1=a.wav 2=b.wav" in manifest.with_suffix(".report.csv").read_text()
    mark = {"id": "talk", "mark": "approved", "sha256": results(manifest)["talk"].sha256}
    (manifest.parent / "marks.json").write_text(json.dumps({"format": 1, "decisions": [mark]}))
    result = hallo("promote", manifest, "--decisions", manifest.parent / "marks.json", "--preset", "still")
    assert result.exit_code == 0
    (line,) = map(json.loads, (manifest.parent / "batch.still.jsonl").read_text().splitlines())
    assert [Path(line[name]).name for name in ("face_1", "face_2")] == ["a.wav", "b.wav"]


def test_voices_may_lie_on_a_server(manifest: Path, server: Server) -> None:
    server.files = {"/b.wav": (manifest.parent / "b.wav").read_bytes()}
    manifest.write_text(f"{HEADER}\ntalk,group.png,a.wav,{server.address('/b.wav')}\n")
    assert run(manifest).exit_code == 0


def test_faces_are_counted_and_named() -> None:
    row = only("portrait,face 10,face 2\ng.png,a.wav,b.wav\n")
    assert list(row.voices) == ["face_2", "face_10"]
    assert row.id == "g_b+a"


@pytest.mark.parametrize("column", ["audio", "text"])
def test_faces_and_one_recording_are_not_both_given(column: str) -> None:
    row = only_bad(f"portrait,face_1,{column}\ng.png,a.wav,b.wav\n", LAYOUT)
    assert row.message == f"{column} and face_1 are both given; leave one of them empty."
