"""`hallo docs`: shows the guides that come with the package."""

from __future__ import annotations

import sys
from pathlib import Path

from hallo_cli.cli.console import answer
from hallo_cli.cli.options import argument, option, starting_with
from hallo_cli.errors import SettingsError, did_you_mean

FOLDER = Path(__file__).parent.parent / "docs"
MAX_WIDTH = 100  # characters; longer lines are hard to read


def list_topics() -> list[str]:
    """The names of all guides."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def command(
    topic: str | None = argument(
        None, "A guide.  [default: list them]", metavar="TOPIC", autocompletion=starting_with(list_topics)
    ),
    is_raw: bool = option(False, "Print Markdown, as a pipe always gets.", "--raw"),
) -> None:
    """Show a guide: batch, weights, training and more.

    Example:
        hallo docs batch
    """
    if topic is None:
        for name in list_topics():
            title = read_guide(name).partition("\n")[0]  # as in "# Batch: many portraits, many recordings"
            answer(f"{name:<14}{title.partition(': ')[2]}")
        return
    text = read_guide(topic)
    if is_raw or not sys.stdout.isatty():
        for line in text.splitlines():
            answer(line)
    else:
        _show(text)


def read_guide(topic: str) -> str:
    """The Markdown of a guide. Raises SettingsError if there is no such guide."""
    topics = list_topics()
    if topic not in topics:
        raise SettingsError(f"unknown topic {topic!r}. {did_you_mean(topic, topics, 'Topics')}")
    return (FOLDER / f"{topic}.md").read_text(encoding="utf-8")


def _show(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(text), width=min(console.width, MAX_WIDTH))
