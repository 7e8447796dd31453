"""The help of every command: everyday options, an example, and all options with --help-all.

An option that belongs to a panel is shown with --help-all only. The text is plain, in two columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand

TYPES = {
    r"<int( range)?>": "N",
    r"<float( range)?>": "X",
    r"<path>": "PATH",
    r"<str>": "TEXT",
    r"<([\w|]+)>": r"\1",  # a choice
}
RANGES = {r"([\d.]+)<=x<=([\d.]+)": r"\1 to \2", r"x>=([\d.]+)": r"\1 or more"}
_EXAMPLE = "\n\nExample:\n"
_SHOWS_ALL = "hallo-help-all"


class HelpfulCommand(TyperCommand):
    """A command whose help has panels."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The arguments in capitals; those in brackets may be left out."""
        return [_capitals(piece.strip("{}")) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and everyday options; all panels where --help-all was given."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            is_argument = parameter.param_type_name == "argument"
            panel = "Arguments" if is_argument else getattr(parameter, "rich_help_panel", None) or "Options"
            if record := parameter.get_help_record(ctx):
                name = _capitals(record[0]) if is_argument else _replaced(record[0], TYPES)
                panels.setdefault(panel, []).append((name, _replaced(record[1], RANGES)))
        shown = panels if _SHOWS_ALL in ctx.meta else panels.keys() & {"Arguments", "Options"}
        for panel in sorted(panels, key=["Arguments", "Options"].__contains__, reverse=True):
            if panel in shown:
                with formatter.section(typer.style(panel, bold=True)):
                    formatter.write_dl(panels[panel])
        if n_hidden := sum(len(rows) for panel, rows in panels.items() if panel not in shown):
            formatter.write_paragraph()
            formatter.write(f"{n_hidden} more options: {ctx.command_path} --help-all\n")


def keep_example(text: str | None) -> str | None:
    """The help text with its example marked, so that its lines are not wrapped."""
    return text and text.replace(_EXAMPLE, f"\n\n\b{_EXAMPLE[1:]}")


def show_all(ctx: typer.Context, value: bool) -> None:
    """What --help-all does."""
    if value:
        ctx.meta[_SHOWS_ALL] = True
        typer.echo(ctx.get_help())
        raise typer.Exit


def _capitals(argument: str) -> str:
    """An argument without its type, in capitals unless it has a spelling of its own."""
    name = argument.partition(" <")[0]
    name = name.upper() if name.islower() else name
    return name.replace("...]...", "]...").replace("......", "...")


def _replaced(text: str, patterns: Mapping[str, str]) -> str:
    for pattern, word in patterns.items():
        text = re.sub(pattern, word, text)
    return text
