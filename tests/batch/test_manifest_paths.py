"""Which files the cells of a manifest mean, and which they may not reach."""

import unicodedata
from pathlib import Path

import pytest
from manifest_rows import only, only_bad

from hallo_cli.batch.places import Layout
from hallo_cli.batch.spelling import find_written
from hallo_cli.errors import SettingsError


@pytest.mark.parametrize("cells", ["../p.png,s.wav,", "p.png,/etc/s.wav,", "p.png,s.wav,../v.mp4"])
def test_confined_row_may_not_reach_outside(cells: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "in", tmp_path / "out", is_confined=True)
    assert "--confine forbids" in only_bad(f"portrait,audio,output\n{cells}\n", layout).message


@pytest.mark.parametrize(
    "bundle", ["/home/other/weights", "../weights", "a/b", "~/weights", ".hidden", "weights"]
)
def test_confined_row_may_not_name_a_bundles_folder(
    bundle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    layout = Layout(tmp_path / "in", tmp_path / "out", is_confined=True)
    assert "--confine forbids" in only_bad(f"portrait,audio,bundle\np,s,{bundle}\n", layout).message


def test_confined_row_may_not_leave_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    layout = Layout(tmp_path / "in", tmp_path / "out", is_confined=True)
    assert "lies outside" in only_bad("portrait,audio\nlink/p.png,s.wav\n", layout).message


def test_name_template_fills_in_what_it_names() -> None:
    layout = Layout(Path("/in"), Path("/out"), "{portrait}/{row:04}-{seed}-{preset}.mp4")
    row = only("portrait,audio,seed\nface.png,s.wav,9\n", layout)
    assert row.output == Path("/out/face/0002-9-default.mp4")


@pytest.mark.parametrize("template", ["{id.__class__}.mp4", "{name}.mp4", "{id!r}.mp4", "{id.mp4", "{id}"])
def test_name_template_takes_plain_known_names_only(template: str) -> None:
    with pytest.raises(SettingsError, match="--name-template"):
        Layout(Path("/in"), Path("/out"), template)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_file_is_found_however_its_name_is_composed(tmp_path: Path, form: str) -> None:
    on_disk = "NFD" if form == "NFC" else "NFC"
    folder = tmp_path / unicodedata.normalize(on_disk, "Gesichter für Zoë")
    folder.mkdir()
    for name in ("Zoë.png", "Zoë.wav"):
        (folder / unicodedata.normalize(on_disk, name)).touch()
    text = "portrait,audio\nGesichter für Zoë/Zoë.png,Gesichter für Zoë/Zoë.wav\n"
    row = only(unicodedata.normalize(form, text), Layout(tmp_path, tmp_path / "out"))
    assert row.portrait.exists()
    assert row.audio.exists()


def test_file_that_is_there_as_written_is_taken_before_one_composed_otherwise(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "ë.png")).touch()
    for form in ("NFC", "NFD"):
        name = unicodedata.normalize(form, "ë.png")
        assert find_written(tmp_path, name) == tmp_path / name


def test_paths_with_backslashes_are_found_where_nothing_has_that_name(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "anna.png").touch()
    row = only("portrait,audio\nfaces\\anna.png,s.wav\n", Layout(tmp_path, tmp_path / "out"))
    assert row.portrait == tmp_path / "faces" / "anna.png"


def test_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "p.png").touch()
    assert only("portrait,audio\n~/p.png,s.wav\n").portrait == tmp_path / "p.png"


def test_confined_row_may_not_leave_through_another_spelling(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "p.png").touch()
    layout = Layout(tmp_path / "in", tmp_path / "out", is_confined=True)
    assert "lies outside" in only_bad("portrait,audio\n..\\p.png,s.wav\n", layout).message


@pytest.mark.parametrize("folders", [("/in\udcff", "/out"), ("/in", "/out\udcff")])
def test_folders_whose_names_ledgers_cannot_hold_are_refused(folders: tuple[str, str]) -> None:
    with pytest.raises(SettingsError, match="UTF-8"):
        Layout(Path(folders[0]), Path(folders[1]))
