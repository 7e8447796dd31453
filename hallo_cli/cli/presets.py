"""`hallo presets`: what the named sets of settings hold, and where each value of a run comes from."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hallo_cli.cli.console import answer
from hallo_cli.cli.options import Given, explain, starting_with, takes_settings
from hallo_cli.settings.presets import list_presets, read_preset

SCHEMA = 1
app = typer.Typer(help="List and show the named sets of settings.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


@app.command("list")
def list_command(as_json: JsonOption = False) -> None:
    """List the presets with what they are for."""
    presets = [read_preset(name) for name in list_presets()]
    if as_json:
        rows = [{"name": preset.name, "about": preset.about} for preset in presets]
        answer(json.dumps({"schema": SCHEMA, "presets": rows}))
        return
    for preset in presets:
        answer(f"{preset.name:<10} {preset.about.splitlines()[0]}")


@app.command("show")
@takes_settings
def show_command(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The preset; without one, the defaults.",
            show_default=False,
            autocompletion=starting_with(list_presets),
        ),
    ] = None,
    explained: Annotated[bool, typer.Option("--explain", help="Say what each setting does.")] = False,
    as_json: JsonOption = False,
    *,
    given: Given,
) -> None:
    """Show every setting that a render would use, and where each value comes from.

    Takes the same flags, HALLO_* variables and --config as `hallo render`. The output is TOML: save it,
    change it, and give it back with --config.
    """
    resolved = Given(given.flags, name or given.preset, given.config).resolve()
    values = resolved.values()
    if as_json:
        rows = {key: {"value": value, "origin": resolved.origins[key]} for key, value in values.items()}
        answer(json.dumps({"schema": SCHEMA, "settings": rows}))
        return
    width = max(len(f"{key} = {json.dumps(value)}") for key, value in values.items())
    for key, value in values.items():
        if explained:
            answer("")
            answer(f"# {explain(key)}")
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        answer(f"{line:<{width}}  # {resolved.origins[key]}")
