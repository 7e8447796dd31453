"""What the command line prints reaches every console, harms none, and never decides how a run ends."""

import ast
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import own_process_cli
import pytest
from batch_doubles import write_picture, write_sound
from rich.console import Console

from hallo_cli.batch.tally import AtWork, Tally
from hallo_cli.cli.batch_view import table
from hallo_cli.cli.console import plain

TESTS = Path(__file__).parent.parent
CLI = TESTS.parent / "hallo_cli" / "cli"


def hallo(folder: Path, *arguments: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(TESTS / "stub_cli.py"), *arguments],
        cwd=folder,
        capture_output=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_picture(tmp_path / "face.png", 0)
    write_sound(tmp_path / "speech.wav", 0.3)
    return tmp_path


def test_render_ends_well_on_a_console_that_lacks_the_name_s_letters(folder: Path) -> None:
    result = hallo(folder, "render", "face.png", "speech.wav", "-o", "видео.mp4", PYTHONIOENCODING="cp1252")
    assert result.returncode == 0, result.stderr
    assert (folder / "видео.mp4").exists()
    assert b"\\u0432\\u0438\\u0434\\u0435\\u043e.mp4" in result.stdout
    assert b"\\u0432\\u0438\\u0434\\u0435\\u043e.mp4: 8 frames" in result.stderr


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "utf-8"])
def test_name_is_written_in_the_letters_of_each_console(folder: Path, encoding: str) -> None:
    arguments = ("render", "face.png", "speech.wav", "-o", "видео.mp4")
    result = own_process_cli.hallo(folder, *arguments, encoding=encoding)
    assert result.returncode == 0, result.stderr
    shown = "видео.mp4" if encoding == "utf-8" else "\\u0432\\u0438\\u0434\\u0435\\u043e.mp4"
    assert shown in result.stdout
    assert f"{shown}: 8 frames" in result.stderr


def test_errors_are_told_on_such_a_console(folder: Path) -> None:
    result = own_process_cli.hallo(folder, "render", "нет.png", "speech.wav", encoding="cp1252")
    assert result.returncode == 4
    assert "does not exist" in result.stderr
    assert "bug" not in result.stderr


def test_name_that_is_not_utf8_reaches_a_program_as_it_is(folder: Path) -> None:
    result = hallo(folder, "render", "face.png", "speech.wav", "-o", b"caf\xe9.mp4")
    assert result.returncode == 0, result.stderr
    assert result.stdout == b"caf\xe9.mp4\n"
    assert b"caf\\xe9.mp4: 8 frames" in result.stderr


@pytest.mark.parametrize("stream", ["1", "2"])
@pytest.mark.parametrize("target", [">/dev/full", ">&-", "> >(exit 0)"])
def test_stream_that_takes_nothing_does_not_decide_the_exit_status(
    folder: Path, stream: str, target: str
) -> None:
    script = f'"$@" {stream}{target}'
    command = [sys.executable, TESTS / "stub_cli.py", "render", "face.png", "speech.wav", "-o", "o.mp4"]
    result = subprocess.run(
        ["bash", "-c", script, "bash", *command], cwd=folder, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert (folder / "o.mp4").exists()
    assert b"Exception ignored" not in result.stderr


def test_control_characters_of_a_name_reach_no_stream(folder: Path) -> None:
    name = "a\x1b[31m\x9b2J\u202egpj.png"
    (folder / "face.png").rename(folder / name)
    for arguments in (
        ("render", name, "speech.wav"),
        ("render", name, "missing\nhallo: all is well\x1b[2J.wav"),
        ("render", f"--{name}", "speech.wav"),
        (f"x{name}",),
        ("render", name, "speech.wav", "--preset", name),
        ("render", name, "speech.wav", "--config", name),
        ("models", "show", name),
    ):
        result = own_process_cli.hallo(folder, *arguments)
        said = result.stdout + result.stderr
        assert said
        assert not set(said) & set("\x1b\x9b\u202e"), arguments
        assert "\nhallo: all is well" not in said


def test_brackets_in_names_are_shown_and_no_markup() -> None:
    shown = Console(file=StringIO(), width=100, force_terminal=True, color_system="standard")
    tally = Tally(workers={"[bold]cpu[/bold]": AtWork("rendering", "[red]row[/red] [/]\x1b[2J", 1, 2)})
    shown.print(table(tally, 100))
    shown.print(plain("[link=file:///etc/passwd]click[/link]"))
    said = shown.file.getvalue()  # type: ignore[attr-defined]
    for text in ("[bold]cpu[/bold]", "[red]row[/red] [/]\\x1b[2J", "[link=file:///etc/passwd]click[/link]"):
        assert text in said


def writers(file: Path) -> set[str]:
    """What a module writes with, other than the console's functions."""
    names = {ast.unparse(n.func) for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.Call)}
    forbidden = {"print", "typer.echo", "typer.secho", "click.echo", "sys.stdout.write", "sys.stderr.write"}
    return names & forbidden


def test_the_console_is_written_to_in_one_place() -> None:
    own = ("console.py", "help.py")  # the help's text is ours, and coloured
    modules = [file for file in CLI.glob("*.py") if file.name not in own]
    assert len(modules) > 10
    assert {file.name: writers(file) for file in modules if writers(file)} == {}


def test_inputs_and_folders_need_not_be_utf8(folder: Path) -> None:
    place = os.fsencode(folder) + b"/ordn\xe9"
    os.mkdir(place)
    os.rename(folder / "face.png", place + b"/caf\xe9.png")
    os.rename(folder / "speech.wav", place + b"/s\xff.wav")
    names = (place + b"/caf\xe9.png", place + b"/s\xff.wav", b"-o", place + b"/o\xe9.mp4")
    result = own_process_cli.hallo(folder, "render", *map(os.fsdecode, names))
    assert result.returncode == 0, result.stderr
    assert os.path.exists(place + b"/o\xe9.mp4")
    again = ("render", "--from", os.fsdecode(place + b"/o\xe9.json"), "-o", "again.mp4")
    assert own_process_cli.hallo(folder, *again).returncode == 0
