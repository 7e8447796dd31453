"""What decisions about finished videos lead to: rows with another seed, or a batch of the better picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.cli.batch_build import output_dir_of, rows_of
from hallo_cli.cli.batch_options import BatchOptions
from hallo_cli.cli.console import say
from hallo_cli.errors import InputError

if TYPE_CHECKING:
    from hallo_cli.batch.decisions import Judged
    from hallo_cli.batch.paths import Paths
    from hallo_cli.batch.planner import Repeat
    from hallo_cli.settings.resolve import Sources

MAX_NAMED = 20  # rows in a message


def judge_by(decisions: Path, paths: Paths) -> Judged:
    """The rows that a file of decisions is about. Tell of marks that hold no more. Raises InputError."""
    from hallo_cli.batch.decisions import apply_decisions, read_decisions
    from hallo_cli.batch.status import require_ledgers
    from hallo_cli.printable import printable

    judged = apply_decisions(read_decisions(decisions), require_ledgers(paths))
    for name in judged.stale[:MAX_NAMED]:
        say(f"{printable(name)}: the marked video is gone or was rendered again since; look at the row again")
    if len(judged.stale) > MAX_NAMED:
        say(f"and {len(judged.stale) - MAX_NAMED} more")
    return judged


def repeat_rejected(decisions: Path, paths: Paths) -> Repeat:
    """What renders the rejected rows again, each with its next seed. Raises InputError if there are none."""
    from hallo_cli.batch.planner import Repeat

    rejected = judge_by(decisions, paths).rejected
    if not rejected:
        raise InputError(f"{decisions} rejects no video that still exists: there is nothing to render again.")
    seeds = {name: record.seed for name, record in rejected.items() if record.seed is not None}
    return Repeat(ids=frozenset(rejected), seeds=seeds)


def promoted_options(
    options: BatchOptions, judged: Judged, given: Sources, *, base: Path, output_dir: str
) -> BatchOptions:
    """Write the manifest of the approved rows; the options of its batch.

    What the given preset and flags set wins over the first batch's flags, config file, presets and cells.
    Raises SettingsError, ManifestError, OutputError.
    """
    from hallo_cli.batch.promote import promoted_lines, write_promoted
    from hallo_cli.settings.preset_files import read_preset

    named = read_preset(given.preset).values if given.preset else {}
    wanted = {**named, **given.flags}
    lines = promoted_lines(
        rows_of(options), judged.approved, output_dir=output_dir_of(options), replaced=wanted.keys()
    )
    manifest = base.with_name(f"{base.name}.jsonl")
    n_rows = write_promoted(manifest, lines, dropped=judged.rejected)
    say(f"{manifest}: {n_rows} approved {'row' if n_rows == 1 else 'rows'}")
    return dataclasses.replace(
        options,
        manifest=str(manifest),
        portraits="",
        audios="",
        base=str(base),
        output_dir=output_dir,
        flags={**options.flags, **wanted},
        preset=given.preset or options.preset,
        config=str(given.config.absolute()) if given.config else options.config,
    )
