"""Help is short, has an example, and is readable at 80 columns."""

import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
import typer

from hallo_cli.cli.app import register

ROOT: Any = typer.main.get_command(register())


def names(group: Any, *above: str) -> Iterator[tuple[str, ...]]:
    """The words of every command below a group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from names(command, *above, name)
        else:
            yield (*above, name)


COMMANDS = list(names(ROOT))


def shown(*arguments: str, columns: int = 80) -> str:
    """What a command prints on a terminal of this width."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
        patch.setenv("COLUMNS", str(columns))
        ROOT.main(arguments, prog_name="hallo", standalone_mode=False)
    return printed.getvalue()


def options(text: str) -> set[str]:
    """The flags that have a line of their own."""
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", text, re.MULTILINE))


@pytest.mark.parametrize("command", [("render",), ("batch", "run")])
def test_help_shows_about_a_dozen_everyday_options(command: tuple[str, ...]) -> None:
    text = shown(*command, "--help")
    everyday = options(text) - {"--help", "--help-all"}
    assert 10 <= len(everyday) <= 14
    assert {"--bundle", "--steps", "--dry-run"} <= everyday
    n_more = len(options(shown(*command, "--help-all")) - options(text))
    assert text.splitlines()[-1] == f"{n_more} more options: hallo {' '.join(command)} --help-all"


@pytest.mark.parametrize("command", [("render",), ("batch", "run")])
def test_help_all_shows_every_option(command: tuple[str, ...]) -> None:
    found = ROOT
    for name in command:
        found = found.commands[name]
    expected = {min(parameter.opts, key=len) for parameter in found.params if parameter.opts[0][0] == "-"}
    assert len(expected) > 30
    assert {flag for flag in expected if flag not in shown(*command, "--help-all")} == set()


def test_demo_has_at_most_six_options() -> None:
    assert len(options(shown("demo", "--help"))) <= 6


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example(command: tuple[str, ...]) -> None:
    example = shown(*command, "--help").partition("\n  Example:\n      hallo ")[2]
    words = example.split()
    assert words[: len(command)] == list(command) or ("hallo", *command)[:2] == ("hallo", "batch")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("columns", [80, 120])
def test_help_has_no_column_narrower_than_40_characters(command: tuple[str, ...], columns: int) -> None:
    all_options = "--help-all" in options(shown(*command, "--help"))
    lines = shown(*command, "--help-all" if all_options else "--help", columns=columns).splitlines()
    starts = [len(line) - len(line.lstrip()) for line in lines]
    assert max(map(len, lines)) <= columns
    assert max(starts) <= columns - 40


def test_arguments_and_limits_are_shown_in_words() -> None:
    assert "Usage: hallo check [OPTIONS] PORTRAIT AUDIO\n" in shown("check", "--help")
    assert "[default: 3; 1 to 1000]" in shown("bench", "--help", columns=120)
    assert "[default: 200; 0 or more]" in shown("batch", "report", "--help")
    assert "--dtype float16|bfloat16|float32" in shown("models", "convert", "--help")


def test_verify_shows_settings_only_with_all_options() -> None:
    assert options(shown("verify", "--help")) == {"--trust", "--again", "--json", "--help-all", "--help"}
    assert "--seed" in options(shown("verify", "--help-all"))


def test_summaries_are_not_cut() -> None:
    assert "..." not in shown("--help").partition("Commands:")[2]
    for group in ("batch", "models", "presets", "train"):
        assert "..." not in shown(group, "--help").partition("Commands:")[2]
