import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hallo_cli.cli.app import COMMANDS, GROUPS, objection, register


@pytest.mark.parametrize("name", COMMANDS)
def test_outline_says_of_commands_what_they_say_themselves(name: str) -> None:
    command = import_module(f"hallo_cli.cli.{name}").command
    documented = inspect.getdoc(command)
    assert documented is not None
    assert " ".join(documented.split("\n\n")[0].split()) == COMMANDS[name]


@pytest.mark.parametrize("name", GROUPS)
def test_outline_says_of_groups_what_they_say_themselves(name: str) -> None:
    assert import_module(f"hallo_cli.cli.{name}").app.info.help.split("\n\n")[0] == GROUPS[name]


def hallo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hallo_cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_takes_little_work() -> None:
    code = (
        "import sys, time; sys.argv = ['hallo', '--help']\n"
        "from hallo_cli.cli.app import main\n"
        "try: main()\n"
        "finally: print(time.process_time(), 'torch' in sys.modules, 'numpy' in sys.modules, file=sys.stderr)"
    )
    # Processor time, not the clock: other work on the machine must not fail the test.
    command = [sys.executable, "-c", code]
    said = [subprocess.run(command, capture_output=True, text=True, check=False).stderr for _ in range(3)]
    assert all(line.split()[1:] == ["False", "False"] for line in said)
    assert min(float(line.split()[0]) for line in said) < 0.5  # 0.25 s where nothing else runs


def test_help_lists_every_command() -> None:
    shown = hallo("--help").stdout
    assert all(name in shown for name in (*COMMANDS, *GROUPS))


@pytest.mark.parametrize("group", [(), *((name,) for name in GROUPS)], ids=" ".join)
def test_group_without_a_command_shows_its_help(group: tuple[str, ...]) -> None:
    result = hallo(*group)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == hallo(*group, "--help").stdout


def test_unknown_command_ends_with_status_2() -> None:
    result = hallo("rendr")
    assert result.returncode == 2
    assert "rendr" in result.stderr


def completions(line: str) -> list[str]:
    """What bash offers for the word after this line."""
    words = {
        "COMP_WORDS": f"{line} ",
        "COMP_CWORD": str(len(line.split())),
        "_HALLO_COMPLETE": "complete_bash",
    }
    code = "import sys; sys.argv = ['hallo']; from hallo_cli.cli.app import main; main()"
    command = [sys.executable, "-c", code]
    shown = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **words}
    ).stdout
    return shown.splitlines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hallo", {"render", "batch", "doctor"}),
        ("hallo models", {"pull", "verify"}),
        ("hallo render --framing", {"head-and-shoulders", "full"}),
        ("hallo presets show", {"official", "still"}),
    ],
)
def test_commands_and_values_are_completed(line: str, expected: set[str]) -> None:
    assert expected <= set(completions(line))


def commands(group: Any) -> Iterator[Any]:
    """Every command below a group."""
    for command in group.commands.values():
        if hasattr(command, "commands"):
            yield from commands(command)
        else:
            yield command


def test_every_command_and_option_is_explained() -> None:
    found = list(commands(typer.main.get_command(register())))
    silent = [f"{c.name} {p.opts}" for c in found for p in c.params if not p.help]
    assert len(found) > 20
    assert [c.name for c in found if not c.help] == []
    assert silent == []


def test_application_has_the_named_commands_only_however_often_it_is_made() -> None:
    for _ in range(2):
        app = register("demo", "batch")
        assert [command.name for command in app.registered_commands] == ["demo"]
        assert [group.name for group in app.registered_groups] == ["batch"]


def test_typer_sees_the_whole_application() -> None:
    assert (
        "--lip-weight"
        in CliRunner().invoke(register(), ["render", "--help-all"], env={"COLUMNS": "200"}).stdout
    )


@pytest.mark.parametrize(
    ("platform", "machine"), [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]
)
def test_linux_and_apple_silicon_are_right(platform: str, machine: str) -> None:
    assert objection(platform, machine) == ""


def test_this_system_is_one_of_them() -> None:
    assert objection() == ""


@pytest.mark.parametrize(
    ("platform", "machine", "remedy"),
    [("win32", "AMD64", "WSL 2"), ("darwin", "x86_64", "Apple silicon"), ("freebsd14", "amd64", "Linux")],
)
def test_other_systems_are_told_what_to_use(platform: str, machine: str, remedy: str) -> None:
    assert remedy in objection(platform, machine)
