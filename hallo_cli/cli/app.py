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
from hallo_cli.errors import HalloError

# module under hallo_cli.cli -> the attribute that is a Typer application or a command function
GROUPS: dict[str, str] = {"models": "models", "presets": "presets"}
COMMANDS: dict[str, str] = {"eval": "eval"}

# Newer versions of typer carry their own copy of click's exceptions: take the one that typer raises.
WrongUsage: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="hallo",
    help="One portrait and one speech recording in, a video of that person speaking out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"hallo {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", help="Show the version.", callback=_show_version, is_eager=True
    ),
) -> None:
    """One portrait and one speech recording in, a video of that person speaking out."""


def register() -> typer.Typer:
    """Add every command to the application."""
    for module, name in GROUPS.items():
        app.add_typer(import_module(f"hallo_cli.cli.{module}").app, name=name)
    for module, name in COMMANDS.items():
        command = import_module(f"hallo_cli.cli.{module}").command
        app.command(name)(command)
    return app


def main() -> NoReturn:
    """Run the command line; the only place that turns exceptions into exit statuses."""
    try:
        status = register()(standalone_mode=False)
    except HalloError as error:
        typer.echo(f"hallo: {error}", err=True)
        status = error.exit_status
    except typer.Exit as error:
        status = error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("hallo: interrupted", err=True)
        status = 130
    except WrongUsage as error:
        error.show()
        status = error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except Exception:  # noqa: BLE001 - the one boundary: what arrives here is a bug of ours
        status = 3
        typer.echo(f"hallo: this is a bug; the details are in {_write_bug_report()}", err=True)
    sys.exit(status if isinstance(status, int) else 0)


def _write_bug_report() -> Path:
    handle, name = tempfile.mkstemp(prefix="hallo-bug-", suffix=".log", text=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        logger = logging.getLogger("hallo_cli")
        logger.addHandler(handler)
        logger.exception("hallo %s %s", __version__, sys.argv)
        logger.removeHandler(handler)
    return Path(name)
