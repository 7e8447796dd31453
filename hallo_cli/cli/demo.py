"""`hallo demo`: renders the example that comes with the program, so that a newcomer sees it work."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from hallo_cli.api import Renderer
from hallo_cli.cli.console import say
from hallo_cli.cli.options import Given, takes_settings
from hallo_cli.cli.progress import Shown, failures_as_json
from hallo_cli.errors import InputError, SettingsError

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
PORTRAIT = EXAMPLES / "portrait_astronaut.png"
SPEECH = EXAMPLES / "sense_and_sensibility_01_austen_64kb-0870.wav"
DURATION_S = 5.0


@takes_settings
def command(
    output: Annotated[Path, typer.Option("-o", "--output", help="The video.", metavar="OUT.mp4")] = Path(
        "demo.mp4"
    ),
    *,
    shown: Shown,
    given: Given,
) -> None:
    """Render the bundled example portrait and five seconds of the bundled speech into ./demo.mp4.

    Takes the settings of hallo render; replaces what an earlier demo left.
    """
    shown.start_log()
    with failures_as_json(shown.as_json):
        _render(output, given, shown)


def _render(output: Path, given: Given, shown: Shown) -> None:
    from hallo_cli.cli.render import render
    from hallo_cli.jobs.runner import RunOptions

    _require_replaceable(output)
    resolved = given.resolve()
    if resolved.origins["duration"] == "default":
        short = dataclasses.replace(resolved.render, duration_s=DURATION_S)
        resolved = dataclasses.replace(resolved, render=short)
    settings = resolved.render
    length = f"{settings.duration_s or 0:g} s"
    if not shown.is_quiet:
        say(
            f"Rendering {PORTRAIT.name} saying {length} of {SPEECH.name}, which both come with hallo, "
            f"with the {settings.bundle} weights."
        )
    renderer = Renderer.of(resolved)
    render(renderer, renderer.job(PORTRAIT, SPEECH, output), RunOptions(overwrite=True), shown)
    if not shown.is_quiet:
        say("Now your own: hallo render PORTRAIT AUDIO (hallo check says beforehand what you would get).")


def _require_replaceable(output: Path) -> None:
    """Raise SettingsError where something lies under the names that is not what a render left."""
    from hallo_cli.jobs.record import read_record, sidecar_path

    record = sidecar_path(output)
    if not output.exists() and not record.exists():
        return
    try:
        read_record(record)
    except (InputError, SettingsError) as error:
        raise SettingsError(
            f"{output} or {record} is there already, and no demo made it: choose another name with -o."
        ) from error
