"""`hallo batch`: renders the rows of a manifest and reports on every one of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

from hallo_cli.batch.ledger import Record
from hallo_cli.batch.ledger_sync import merge
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.running import find_running
from hallo_cli.batch.status import Known, read_known
from hallo_cli.cli import batch_view
from hallo_cli.cli.batch_build import build_batch, judge_by, promoted_options, repeat_rejected, rows_of
from hallo_cli.cli.batch_hooks import Hooks
from hallo_cli.cli.batch_options import (
    STDIN,
    BatchOptions,
    Spending,
    Telling,
    absolute,
    base_of,
    read_options,
    require_source,
)
from hallo_cli.cli.batch_run import run
from hallo_cli.cli.console import answer, say
from hallo_cli.cli.options import AS_JSON, Application, argument, option
from hallo_cli.cli.progress import Shown, clock, failures_as_json
from hallo_cli.errors import HalloError, InputError, ManifestError, SettingsError
from hallo_cli.settings.resolve import Sources

if TYPE_CHECKING:
    from hallo_cli.batch.report import Asked


class RunByDefault(TyperGroup):
    """`hallo batch MANIFEST` means `hallo batch run MANIFEST`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert `run` if the first word is not a command."""
        names = {*self.commands, "-h", "--help"}
        return super().parse_args(ctx, args if not args or args[0] in names else ["run", *args])


app = Application(
    cls=RunByDefault,
    help="""Render many portraits and recordings.

Example:
    hallo batch week12.csv

`hallo batch MANIFEST` is short for `hallo batch run MANIFEST`; hallo batch run --help shows its options. The
guide is hallo docs batch.
""",
)
NAMED = argument(..., "The manifest or the name of the batch.", metavar="MANIFEST")


@app.command("run")
def run_command(
    options: BatchOptions, shown: Shown, telling: Telling, spending: Spending, hooks: Hooks, given: Sources
) -> None:
    """Render every row of a manifest.

    Example:
        hallo batch week12.csv --dry-run
        hallo batch week12.csv

    The same command resumes the batch after any crash. It skips rows that are done and renders rows that
    changed or failed. Quarantined and refused rows wait for hallo batch retry. The first Ctrl-C stops after
    the current clips, the second stops at once. The last line counts the rows by state, also with --quiet.

    Exit status: 0 all rows done, 1 some failed, 2 wrong usage or settings, 3 a bug, 4 unusable manifest,
    5 weights missing, 75 the budget was spent and rows are left, 130 or 143 interrupted.
    """
    with failures_as_json(shown.as_json):
        require_source(options)
        batch = build_batch(options.with_settings(given), spending)
        run(batch, shown, hooks, telling, gpu_hour_price=spending.gpu_hour_price)


@app.command("retry")
def retry_command(
    named: Path = NAMED,
    ids: list[str] | None = argument(None, "Rows to render again.  [default: all that failed]"),
    decisions: Path | None = option(
        None,
        "Render the rows that this file rejects again, each with another seed. The page of hallo "
        "batch report saves it.",
        metavar="FILE",
    ),
    *,
    shown: Shown,
    spending: Spending,
    hooks: Hooks,
) -> None:
    """Render failed, quarantined and refused rows again.

    Example:
        hallo batch retry week12.csv anna-01
        hallo batch retry week12.csv --decisions marks.json

    The options of the last run apply. Rows that you name are rendered again even if they are done.
    """
    from hallo_cli.batch.planner import Repeat

    shown.start_log()
    with failures_as_json(shown.as_json):
        if ids and decisions:
            raise SettingsError("give either rows or --decisions, not both.")
        repeat = Repeat(("error", "invalid", "quarantined", "fail"), frozenset(ids or ()))
        if decisions:
            repeat = repeat_rejected(decisions, _paths(named))
        batch = build_batch(_last_options(named), spending, repeat=repeat)
        run(batch, shown, hooks)


@app.command("promote")
def promote_command(
    named: Path = NAMED,
    decisions: Path = option(
        ..., "The file of marks that the page of hallo batch report saved.", metavar="FILE"
    ),
    base: Path | None = option(None, "The new batch.  [default: NAME.PRESET]", "--name", metavar="NAME"),
    output_dir: str = option("", "The folder for its videos.  [default: NAME.PRESET.videos]", metavar="DIR"),
    *,
    shown: Shown,
    spending: Spending,
    hooks: Hooks,
    given: Sources,
) -> None:
    """Render approved rows with another preset, as a new batch.

    Example:
        hallo batch promote week12.csv --decisions marks.json --preset official

    The new batch is NAME.PRESET: its manifest, videos and ledger lie beside the first one's, whose videos
    stay. Each row keeps the seed of its approved video. What the preset and the flags set wins over the
    first batch's settings and cells. A later file of decisions adds rows, and takes rejected ones out.
    """
    shown.start_log()
    with failures_as_json(shown.as_json):
        paths = _paths(named)
        options = _last_options(named)
        if not given.preset and base is None:
            raise SettingsError("give the --preset to render with, or a --name for the new batch.")
        judged = judge_by(decisions, paths)
        if not judged.approved:
            raise InputError(f"{decisions} approves no video that still exists.")
        base = (base or paths.base.with_name(f"{paths.base.name}.{given.preset}")).absolute()
        if base == paths.base:
            raise SettingsError(f"--name {base.name} is the first batch itself; choose another name.")
        options = promoted_options(options, judged, given, base=base, output_dir=absolute(output_dir))
        run(build_batch(options, spending), shown, hooks)


@app.command("status")
def status_command(named: Path = NAMED, as_json: bool = AS_JSON) -> None:
    """Show the progress of a batch, running or not.

    Example:
        hallo batch status week12.csv
    """
    Shown().start_log()
    paths = _paths(named)
    known, running = read_known(paths), find_running(paths)
    if as_json:
        answer(json.dumps(batch_view.status_values(known, running)))
        return
    answer(f"{known.counts}; {clock(known.compute_s)} of compute so far")
    for line in batch_view.running_lines(running):
        answer(line)
    for record in known.failures:
        answer(batch_view.describe_record(record))


@app.command("report")
def report_command(
    named: Path = NAMED,
    output: Path | None = option(
        None, "The page.  [default: NAME.report.html]", "-o", "--output", metavar="FILE"
    ),
    previews: int = option(200, "How many rows get a preview.", metavar="N", min=0),
) -> None:
    """Write an HTML page and a CSV about a batch.

    Example:
        hallo batch report week12.csv

    On the page, approve or reject each video and save the marks as a file. hallo batch retry --decisions
    FILE renders the rejected rows again. hallo batch promote --decisions FILE renders the approved ones with
    another preset.
    """
    from hallo_cli.batch.report import ReportOptions, table_beside, write_page, write_table

    Shown().start_log()
    paths = _paths(named)
    known = read_known(paths)
    page = output or paths.report
    table = table_beside(page)
    records, asked, typed = _asked(known, paths)
    folder = paths.merged.parent
    options = ReportOptions(
        paths.base.name, folder, known.counts, previews, asked, typed, curves=paths.curves
    )
    write_page(page, records, options)
    write_table(table, records, asked)
    answer(str(page))
    answer(str(table))


@app.command("merge")
def merge_command(named: Path = NAMED) -> None:
    """Merge the ledgers of all shards into NAME.results.jsonl.

    Example:
        hallo batch merge week12.csv
    """
    Shown().start_log()
    paths = _paths(named)
    say(f"{paths.merged}: {merge(paths)} rows added")
    answer(str(paths.merged))


def _asked(known: Known, paths: Paths) -> tuple[list[Record], dict[str, Asked], str]:
    """All rows, what they ask for, and the settings of all; without a manifest, what the ledger knows."""
    from hallo_cli.batch.report import read_asked

    try:
        options = read_options(dict(known.head.options)) if known.head else BatchOptions()
        if options.manifest == STDIN or not known.head:
            return known.in_order, {}, ""
        given = {"preset": options.preset, "config": options.config, **options.flags}
        typed = " ".join(f"{key}={value}" for key, value in given.items() if value not in ("", None))
        return *read_asked(rows_of(options), known.in_order, paths.merged), typed
    except HalloError as error:
        say(f"the page shows only rows that have a result: {error}")
        return known.in_order, {}, ""


def _last_options(named: Path) -> BatchOptions:
    """The options of a batch's last run, for all its rows. Raises ManifestError, JobError."""
    paths = _paths(named)
    head = read_known(paths).head
    if head is None:
        raise ManifestError(f"{paths.merged} holds no run; use hallo batch run.")
    options = dataclasses.replace(read_options(dict(head.options)), shard="1/1")
    if options.manifest == STDIN:
        raise ManifestError("this batch came from standard input; give hallo batch run the same rows again.")
    return options


def _paths(named: Path) -> Paths:
    return Paths(base_of(named))
