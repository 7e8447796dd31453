"""What a quarantined row's folder says can be run as it stands, whatever its files are called."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from hallo_cli.batch import quarantine
from hallo_cli.batch.task import Task
from hallo_cli.errors import OutputError
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.settings.values import to_values

DEFAULTS = RenderSettings()
NAMES = ["a b.png", "$(touch owned).png", "it's.png", '"; touch owned; ".png', "a\nb\x1b[2J.png", "`id`.png"]


def task(portrait: Path, settings: RenderSettings = DEFAULTS) -> Task:
    values = (portrait.parent / "out.mp4", settings, "", "f", 1, 1.0, 1.0)
    return Task(3, "id", portrait, portrait, *values)


@pytest.mark.parametrize("name", NAMES)
def test_the_shell_line_names_the_very_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "MAX_INPUT_BYTES", 0)  # named, not copied
    (tmp_path / name).write_text("picture")
    place = quarantine.put_aside(tmp_path, task(tmp_path / name), "killed", b"log")
    text = (place / "README.txt").read_text()
    line = text.splitlines()[2].strip().replace("hallo render", "printf '%s\\0'")
    assert "\x1b" not in text
    words = subprocess.run(["bash", "-c", line], capture_output=True, check=True, cwd=tmp_path).stdout
    assert words.split(b"\0")[:2] == [str(tmp_path / name).encode()] * 2
    assert not (tmp_path / "owned").exists()


def test_settings_can_be_read_back(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_text("picture")
    settings = RenderSettings(bundle='q"\\ \x7f\U0001f600\u0001', steps=3)
    place = quarantine.put_aside(tmp_path, task(tmp_path / "p.png", settings), "killed", b"log")
    assert tomllib.loads((place / "settings.toml").read_text()) == to_values(settings)


def test_links_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    for name in ("p.png", "treasure"):
        (tmp_path / name).write_text(name)
    place = tmp_path / "quarantine" / "row-000003"
    place.mkdir(parents=True)
    (place / "portrait.png").symlink_to(tmp_path / "treasure")
    quarantine.put_aside(tmp_path, task(tmp_path / "p.png"), "killed", b"log")
    assert (tmp_path / "treasure").read_text() == "treasure"
    assert (place / "portrait.png").read_text() == "p.png"
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="links are not followed"):
        quarantine.put_aside(tmp_path / "link", task(tmp_path / "p.png"), "killed", b"log")


def test_only_the_end_of_a_long_log_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MAX_LOG_BYTES", 4)
    log = tmp_path / "worker.log"
    log.write_bytes(b"0123456789")
    assert quarantine.read_log(log, 0) == b"6789"
    assert quarantine.read_log(log, 8) == b"89"  # what came before is another row's


def test_log_that_is_kept_is_a_mebibyte_at_most() -> None:
    assert quarantine.MAX_LOG_BYTES == 1 << 20
