import inspect
import os
import subprocess
import sys
from importlib import import_module

import pytest
from typer.testing import CliRunner

from hallo_cli.cli.app import COMMANDS, GROUPS


@pytest.mark.parametrize("name", COMMANDS)
def test_outline_says_of_commands_what_they_say_themselves(name: str) -> None:
    command = import_module(f"hallo_cli.cli.{name}").command
    documented = inspect.getdoc(command)
    assert documented is not None
    assert " ".join(documented.split("\n\n")[0].split()) == COMMANDS[name]


@pytest.mark.parametrize("name", GROUPS)
def test_outline_says_of_groups_what_they_say_themselves(name: str) -> None:
    assert import_module(f"hallo_cli.cli.{name}").app.info.help == GROUPS[name]


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
        "finally: print(time.process_time(), file=sys.stderr)"
    )
    # Processor time, not the clock: other work on the machine must not fail the test.
    fastest = min(
        float(
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr
        )
        for _ in range(3)
    )
    assert (
        fastest < 0.5
    )  # 0.25 s on an idle laptop-class core; importing numpy alone would add 0.1 s, torch 2 s


def test_help_lists_every_command() -> None:
    shown = hallo("--help").stdout
    assert all(name in shown for name in (*COMMANDS, *GROUPS))


def test_unknown_command_ends_with_status_2() -> None:
    result = hallo("rendr")
    assert result.returncode == 2
    assert "rendr" in result.stderr


def test_commands_and_values_are_completed() -> None:
    words = {"COMP_WORDS": "hallo render --framing ", "COMP_CWORD": "3", "_HALLO_COMPLETE": "complete_bash"}
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['hallo']; from hallo_cli.cli.app import main; main()",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **words},
    )
    assert "head-and-shoulders" in result.stdout


def test_typer_sees_the_whole_application() -> None:
    from hallo_cli.cli.app import register

    assert (
        "--lip-weight" in CliRunner().invoke(register(), ["render", "--help"], env={"COLUMNS": "200"}).stdout
    )
