"""The `hallo` command: registers the commands and turns errors into exit statuses.

Command modules import typer and settings at most; torch and friends are imported when a command runs.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import typer

from hallo_cli import __version__
from hallo_cli.cli import console
from hallo_cli.cli.console import answer, say
from hallo_cli.cli.options import Application
from hallo_cli.errors import BUG_STATUS, HalloError, PrintableFormatter, SettingsError, printable

# Modules under hallo_cli.cli and what they do, so that `hallo --help` need not import them.
COMMANDS: dict[str, str] = {  # each has a function `command`
    "render": "Render a video in which the portrait speaks the recording.",
    "demo": "Render the bundled example into demo.mp4.",
    "check": "Predict what a render would use, make and cost.",
    "verify": "Check who signed a video and whether it is unchanged.",
    "doctor": "Find what is missing on this machine and how to fix it.",
    "bench": "Measure how fast this machine renders.",
    "eval": "Measure the quality of rendered videos.",
    "docs": "Show a guide: batch, weights, training and more.",
}
GROUPS: dict[str, str] = {  # each has a Typer application `app`
    "batch": "Render many portraits and recordings.",
    "consent": "Manage the list of portraits and voices that may be used.",
    "models": "List, show, fetch, check and convert weights.",
    "presets": "List and show presets: named sets of settings.",
    "train": "Train the networks.",
}

HELP = """Turn one portrait and one speech recording into a video of that person speaking.

Example:
    hallo demo
    hallo render portrait.jpg speech.wav -o out.mp4
"""

# Newer versions of typer carry their own copy of click's exceptions: take the one that typer raises.
WrongUsage: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _show_version(value: bool) -> None:
    if value:
        answer(f"hallo {__version__}")
        raise typer.Exit


def options(
    version: bool = typer.Option(
        False, "--version", help="Show the version.", callback=_show_version, is_eager=True
    ),
) -> None:
    """The options of `hallo` itself."""


def register(*only: str) -> typer.Typer:
    """A new application with the commands that are named, or with all; it imports their modules."""
    app = _empty()
    for name in COMMANDS.keys() & only if only else COMMANDS:
        app.command(name)(import_module(f"hallo_cli.cli.{name}").command)
    for name in GROUPS.keys() & only if only else GROUPS:
        app.add_typer(import_module(f"hallo_cli.cli.{name}").app, name=name)
    return app


def outline() -> typer.Typer:
    """A new application with only the names and summaries of the commands, so that help is quick."""
    app = _empty()
    for name, summary in {**COMMANDS, **GROUPS}.items():
        app.command(name, help=summary)(lambda: None)
    return app


def _empty() -> typer.Typer:
    app = Application(name="hallo", help=HELP)
    app.callback()(options)
    return app


def _application() -> typer.Typer:
    """The application with as much of it imported as this call needs."""
    named = sys.argv[1] if len(sys.argv) > 1 else ""
    if named in {**COMMANDS, **GROUPS}:
        return register(named)
    is_completing = any(name.endswith("_COMPLETE") for name in os.environ)
    return register() if is_completing else outline()


def main() -> NoReturn:
    """Run the command line; the only place that turns exceptions into exit statuses."""
    console.prepare()
    if problem := objection():
        say(f"hallo: {problem}")
        sys.exit(SettingsError.exit_status)
    try:
        status = _application()(standalone_mode=False)
    except HalloError as error:
        say(f"hallo: {error}")
        status = error.exit_status
    except typer.Exit as error:
        status = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        say("hallo: interrupted")
        status = 130
    except WrongUsage as error:
        if error.message != _help_of(error):  # as it is for a group without a command
            error.message = printable(error.message)
        error.show()
        status = error.exit_code
    except Exception:  # noqa: BLE001 - the one boundary: any error that arrives here is our bug
        status = BUG_STATUS
        say(f"hallo: this is a bug; the details are in {_write_bug_report()}")
    sys.exit(status if isinstance(status, int) else 0)


def objection(platform: str = sys.platform, machine: str | None = None) -> str:
    """Why this program does not run on a system, and what to do; empty if it runs there."""
    machine = (os.uname().machine if hasattr(os, "uname") else "") if machine is None else machine
    if platform == "darwin" and machine == "x86_64":
        return (
            "there is no torch 2.6 or newer for Intel Macs, which this program needs. On Apple silicon, use "
            "a Python that is built for it; else use Linux."
        )
    if platform in ("linux", "darwin"):
        return ""
    return f"this program runs on Linux and macOS, not on {platform}. On Windows, use WSL 2."


def _help_of(error: Any) -> str | None:
    """The help of the command that was used wrongly."""
    context = getattr(error, "ctx", None)
    return context.get_help() if context else None


def _write_bug_report() -> Path:
    handle, name = tempfile.mkstemp(prefix="hallo-bug-", suffix=".log", text=True)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(PrintableFormatter())
        logger = logging.getLogger("hallo_cli")
        logger.addHandler(handler)
        logger.exception("hallo %s %s", __version__, sys.argv)
        logger.removeHandler(handler)
    return Path(name)
