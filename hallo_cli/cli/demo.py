"""`hallo demo`: renders the bundled example, so that a newcomer sees the program work."""

from __future__ import annotations

from pathlib import Path

from hallo_cli.api import Renderer
from hallo_cli.cli.console import say
from hallo_cli.cli.options import option
from hallo_cli.cli.progress import Shown
from hallo_cli.cli.render import render
from hallo_cli.errors import InputError, SettingsError
from hallo_cli.jobs.record import read_record, sidecar_path
from hallo_cli.settings.resolve import Sources, resolve

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
PORTRAIT = EXAMPLES / "portrait_astronaut.png"
SPEECH = EXAMPLES / "sense_and_sensibility_01_austen_64kb-0870.wav"
DURATION_S = 5.0


def command(
    output: Path = option(Path("demo.mp4"), "The video.", "-o", "--output", metavar="OUT.mp4"),
    duration: float = option(DURATION_S, "How much of the speech to render, in seconds.", metavar="SECONDS"),
    bundle: str | None = option(None, "The weights.  [default: embedded]", metavar="NAME|DIR"),
    device: str | None = option(None, "auto, cpu, cuda, cuda:1 or mps.  [default: auto]", metavar="NAME"),
    is_quiet: bool = option(False, "Print only errors and the result.", "-q", "--quiet"),
) -> None:
    """Render the bundled example into demo.mp4.

    Example:
        hallo demo

    An earlier demo is replaced. To set more, render files of your own: hallo render.
    """
    from hallo_cli.jobs.runner import RunOptions

    shown = Shown(is_quiet=is_quiet)
    shown.start_log()
    _require_replaceable(output)
    typed = {"duration": duration, "bundle": bundle, "device": device}
    flags = {key: value for key, value in typed.items() if value is not None}
    renderer = Renderer.of(resolve(Sources(flags)))
    settings = renderer.resolved.render
    if not is_quiet:
        say(
            f"Rendering {settings.duration_s:g} s of the example ({PORTRAIT.name}, {SPEECH.name}) with the "
            f"{settings.bundle} weights."
        )
    render(renderer, renderer.job(PORTRAIT, SPEECH, output), RunOptions(overwrite=True), shown)
    if not is_quiet:
        say("Now render your own: hallo render PORTRAIT AUDIO. To look first: hallo check PORTRAIT AUDIO.")


def _require_replaceable(output: Path) -> None:
    """Raise SettingsError if a file that no render wrote has the name of the output or its record."""
    record = sidecar_path(output)
    if not output.exists() and not record.exists():
        return
    try:
        read_record(record)
    except (InputError, SettingsError) as error:
        raise SettingsError(
            f"{output} or {record} exists, and no render made it: choose another name with -o."
        ) from error
