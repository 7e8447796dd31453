"""`hallo docs` shows the guides, and every command in README and guides is one that the program takes."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer

from hallo_cli.cli import docs
from hallo_cli.cli.app import register
from hallo_cli.errors import SettingsError
from hallo_cli.settings.preset_files import known_keys
from hallo_cli.settings.resolve import Sources, resolve

README = Path(__file__).parent.parent.parent / "README.md"
SCRIPTS = README.parent / ".ci"
PAGES = [README, *sorted(docs.FOLDER.glob("*.md"))]
ROOT: Any = typer.main.get_command(register())


def run(*arguments: str) -> str:
    with redirect_stdout(StringIO()) as printed:
        ROOT.main(["docs", *arguments], prog_name="hallo", standalone_mode=False)
    return printed.getvalue()


def test_topics_are_listed_with_their_purpose() -> None:
    lines = run().splitlines()
    assert [line.split()[0] for line in lines] == docs.list_topics()
    assert {"batch", "clusters", "weights", "training", "python", "architecture"} <= set(docs.list_topics())
    assert [line for line in lines if len(line.split()) < 3 or len(line) > 100] == []  # "# Topic: purpose"


@pytest.mark.parametrize("options", [[], ["--raw"]])
def test_pipes_get_the_guide_as_markdown(options: list[str]) -> None:
    assert run("batch", *options) == (docs.FOLDER / "batch.md").read_text(encoding="utf-8")


def test_terminals_get_the_guide_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    docs.command("batch", is_raw=False)
    assert "## " not in sys.stdout.getvalue()
    assert "Where things are" in sys.stdout.getvalue()


@pytest.mark.parametrize("topic", docs.list_topics())
def test_every_guide_can_be_laid_out(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    docs._show(docs.read_guide(topic))
    assert docs.read_guide(topic).splitlines()[0].removeprefix("# ") in capsys.readouterr().out


@pytest.mark.parametrize("topic", ["bacth", "../../README", "x"])
def test_unknown_topic_is_refused_with_what_there_is(topic: str) -> None:
    with pytest.raises(SettingsError, match=r"unknown topic.*batch"):
        docs.command(topic)


def test_readme_is_short() -> None:
    assert len(README.read_bytes()) <= 9 * 1024


def test_readme_links_to_every_guide_and_to_no_missing_file() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8"))
    files = {link for link in links if "://" not in link}
    assert {file for file in files if not (README.parent / file).is_file()} == set()
    assert {f"hallo_cli/docs/{topic}.md" for topic in docs.list_topics()} - files == set()


def code_lines(page: Path) -> Iterator[str]:
    """Every line of a page's code blocks, those that end in a backslash joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    is_fenced = False
    for line in text.splitlines():
        is_fenced ^= line.startswith("```")
        if is_fenced or line.startswith("    "):
            yield line.strip()


def commands_of(line: str) -> Iterator[list[str]]:
    """The arguments of each `hallo` that a line of shell or of a Kubernetes job calls."""
    if line.startswith("command: ["):
        yield json.loads(line.removeprefix("command: "))[1:]
        return
    words = words_of(line)
    for index, word in enumerate(words):
        if word.rpartition("/")[2] == "hallo" or words[index - 1 : index + 1] == ["-m", "hallo_cli"]:
            yield list(
                takewhile(lambda word: word[:1] not in tuple(";&|<>") and word != ":::", words[index + 1 :])
            )


def words_of(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # a single quote: not a line of shell
        return []


def script_lines(script: Path) -> list[str]:
    return script.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()


LINES = [(page.stem, line) for page in PAGES for line in code_lines(page)]
LINES += [(script.name, line) for script in sorted(SCRIPTS.glob("*")) for line in script_lines(script)]
CALLS = [
    pytest.param(arguments, id=f"{place}: {' '.join(arguments)}")
    for place, line in LINES
    for arguments in commands_of(line)
    if arguments
]


def every_command(command: Any) -> Iterator[Any]:
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from every_command(below)


def check_settings(**values: Any) -> None:
    """In place of a command: whether the settings that were typed are valid."""
    if not known_keys() <= values.keys():
        return  # a command that takes other options
    flags = {key: values[key] for key in known_keys() if values[key] is not None}
    resolve(Sources(flags, {}, None, values.get("preset")))


def test_the_guides_have_commands() -> None:
    assert len(CALLS) > 60


@pytest.mark.parametrize("arguments", CALLS)
def test_every_command_of_the_guides_is_one_that_hallo_takes(arguments: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for command in every_command(ROOT):
            if not hasattr(command, "commands"):
                patch.setattr(command, "callback", check_settings)
        ROOT.main(arguments, prog_name="hallo", standalone_mode=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_flag_in_the_text_exists(page: Path) -> None:
    everything = every_command(ROOT)
    known = {flag for command in everything for p in command.params for flag in (*p.opts, *p.secondary_opts)}
    named = set(re.findall(r"`(--[a-z][a-z-]+)", text_of(page)))
    assert named - known - {"--help"} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_in_the_text_exists(page: Path) -> None:
    for words in re.findall(r"`hallo ([a-z][^`]*)`", text_of(page)):
        first, *rest = words.split()
        assert first in ROOT.commands, words
        below = {} if first == "batch" else getattr(ROOT.commands[first], "commands", {})
        assert not (below and rest) or rest[0] in below, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_a_guide_names_exists(page: Path) -> None:
    root = README.parent
    text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"))
    named = set(re.findall(r"(?<![\w/.])((?:hallo_cli|tests)/[\w/.]*\w)", text))
    if page.stem == "architecture":  # its tables leave the package's name out
        tables = re.findall(r"`((?:\w+/)+\w+\.\w+)`", text_of(page))
        named |= {f"hallo_cli/{path}" for path in tables if not path.startswith("tests/")}
        assert len(named) > 8
    assert {path for path in named if not (root / path).exists()} == set()


def text_of(page: Path) -> str:
    """A page without its code blocks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("    "))
