"""How the files of two folders become rows."""

import unicodedata
from pathlib import Path

import pytest
from manifest_rows import LAYOUT

from hallo_cli.batch.pairs import pair_folders
from hallo_cli.batch.rows import BadRow, Row
from hallo_cli.errors import ManifestError


def test_folders_pair_by_cross_zip_and_stem(tmp_path: Path) -> None:
    for name in ("pictures/a.png", "pictures/b.JPG", "pictures/notes.txt", "sounds/b.wav", "sounds/c.mp3"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folders = (tmp_path / "pictures", tmp_path / "sounds")
    rows = {how: list(pair_folders(*folders, how, LAYOUT)) for how in ("cross", "zip", "stem")}
    ids = {how: [row.id for row in found if isinstance(row, Row)] for how, found in rows.items()}
    assert ids == {"cross": ["a_b", "a_c", "b_b", "b_c"], "zip": ["a_b", "b_c"], "stem": ["b_b"]}


def paired_by_stem(tmp_path: Path, *names: str, may_be_alone: bool = False) -> list[Row | BadRow]:
    for name in names:
        (tmp_path / name).touch()
    return list(pair_folders(tmp_path, tmp_path, "stem", LAYOUT, may_be_alone=may_be_alone))


def test_files_without_a_partner_are_bad_rows(tmp_path: Path) -> None:
    rows = paired_by_stem(tmp_path, "anna.png", "anna.wav", "zoe.png", "extra.wav")
    bad = [row.message for row in rows if isinstance(row, BadRow)]
    assert len(rows) == 3
    assert "extra.wav: no picture has the same name" in bad[0]
    assert "zoe.png: no recording has the same name" in bad[1]
    assert "--allow-unmatched" in bad[0]


def test_files_that_may_be_alone_are_named_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (row,) = paired_by_stem(tmp_path, "anna.png", "anna.wav", "zoe.png", may_be_alone=True)
    assert row.id == "anna_anna"
    assert "zoe.png is left out: no recording has the same name" in caplog.text


def test_recordings_that_share_a_name_are_told_instead_of_guessed(tmp_path: Path) -> None:
    rows = paired_by_stem(tmp_path, "anna.png", "anna.wav", "anna.mp3", "ben.png", "ben.wav")
    assert [type(row) for row in rows] == [BadRow, BadRow, BadRow, Row]
    assert isinstance(rows[0], BadRow)
    assert "anna.png: anna.mp3 and anna.wav have the same name" in rows[0].message


def test_names_composed_differently_are_partners(tmp_path: Path) -> None:
    names = (unicodedata.normalize("NFC", "zoë.png"), unicodedata.normalize("NFD", "zoë.wav"))
    (row,) = paired_by_stem(tmp_path, *names)
    assert isinstance(row, Row)


def test_folders_of_different_length_cannot_be_zipped(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.wav"):
        (tmp_path / name).touch()
    with pytest.raises(ManifestError, match="2 pictures and 1 recordings cannot be paired in order"):
        list(pair_folders(tmp_path, tmp_path, "zip", LAYOUT))


def test_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="holds no pictures"):
        list(pair_folders(tmp_path, tmp_path, "cross", LAYOUT))
