"""`hallo presets`: shows the named sets of settings and the origin of each value of a run."""

from __future__ import annotations

import dataclasses
import json

from hallo_cli.cli.console import answer
from hallo_cli.cli.options import AS_JSON, Application, argument, explain, option, starting_with
from hallo_cli.settings.preset_files import list_presets, read_preset
from hallo_cli.settings.resolve import Sources, resolve

SCHEMA = 1
app = Application(
    help="""List and show presets: named sets of settings.

Example:
    hallo presets list
"""
)


@app.command("list")
def list_command(as_json: bool = AS_JSON) -> None:
    """List the presets and their purposes.

    Example:
        hallo presets list
    """
    presets = [read_preset(name) for name in list_presets()]
    if as_json:
        rows = [{"name": preset.name, "about": preset.about} for preset in presets]
        answer(json.dumps({"schema": SCHEMA, "presets": rows}))
        return
    for preset in presets:
        answer(f"{preset.name:<10} {preset.about.splitlines()[0]}")


@app.command("show")
def show_command(
    name: str | None = argument(
        None,
        "A preset.  [default: the program's defaults]",
        metavar="NAME",
        autocompletion=starting_with(list_presets),
    ),
    explained: bool = option(False, "Describe each setting.", "--explain"),
    as_json: bool = AS_JSON,
    *,
    given: Sources,
) -> None:
    """Show every setting of a render and the origin of its value.

    Example:
        hallo presets show still --explain

    It takes the settings of hallo render as flags, HALLO_* variables and --config. The output is a TOML file
    for --config.
    """
    resolved = resolve(dataclasses.replace(given, preset=name or given.preset))
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
