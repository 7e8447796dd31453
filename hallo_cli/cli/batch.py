"""`hallo batch`: thousands of pairs, nothing lost, every row accounted for."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import time
import types
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hallo_cli.cli import batch_view
from hallo_cli.cli.batch_options import (
    BatchOptions,
    base_of,
    build_batch,
    read_options,
    require_source,
)
from hallo_cli.cli.options import Given, takes_settings
from hallo_cli.cli.progress import Style, clock
from hallo_cli.errors import Interrupted, ManifestError

if TYPE_CHECKING:
    from hallo_cli.jobs.batch.batch import Batch, OpenBatch
    from hallo_cli.jobs.batch.events import BatchPlanned, Event
    from hallo_cli.jobs.batch.ledger import Record
    from hallo_cli.jobs.batch.paths import Paths

SCHEMA = 1


class RunByDefault(TyperGroup):
    """`hallo batch MANIFEST` means `hallo batch run MANIFEST`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `run` before what is no command."""
        names = {*self.commands, "-h", "--help"}
        return super().parse_args(ctx, args if not args or args[0] in names else ["run", *args])


app = typer.Typer(
    cls=RunByDefault,
    no_args_is_help=True,
    help="Render many portraits and recordings; resumes by itself. `hallo batch MANIFEST` means `run`.",
)
Named = Annotated[
    Path, typer.Argument(help="The manifest, its ledger, or their common name.", metavar="MANIFEST")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


class Pairing(StrEnum):
    """How two folders are paired."""

    cross = "cross"
    zip = "zip"
    stem = "stem"


class EngineKind(StrEnum):
    """Where workers run."""

    local = "local"
    ray = "ray"


@dataclasses.dataclass(frozen=True)
class Shown:
    """What people and programs see of a run."""

    style: Style = Style.auto
    as_json: bool = False
    as_porcelain: bool = False
    is_quiet: bool = False
    gpu_hour_price: float = 0.0


@app.command("run")
@takes_settings
def run_command(
    manifest: Annotated[
        str | None,
        typer.Argument(
            help="CSV with a header, or JSON Lines: portrait and audio; id, output, preset, any setting. "
            "`-` reads standard input.",
            show_default=False,
        ),
    ] = None,
    portraits: Annotated[
        Path | None, typer.Option(help="A folder of pictures, instead of a manifest.", show_default=False)
    ] = None,
    audios: Annotated[
        Path | None, typer.Option(help="A folder of recordings to go with it.", show_default=False)
    ] = None,
    pair: Annotated[Pairing, typer.Option(help="Each with each, in order, or by name.")] = Pairing.cross,
    root: Annotated[
        Path | None,
        typer.Option(help="Where relative inputs lie (default: the manifest's folder).", show_default=False),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where videos go (default: NAME.videos).", show_default=False)
    ] = None,
    name_template: Annotated[
        str, typer.Option(help="Names of videos: {id} {portrait} {audio} {row} {preset} {seed}.")
    ] = "{id}.mp4",
    name: Annotated[
        Path | None,
        typer.Option(
            help="What ledger, videos and logs are called: NAME.results.jsonl and so on (default: the "
            "manifest without its suffix; else ./batch).",
            show_default=False,
        ),
    ] = None,
    confine: Annotated[
        bool, typer.Option("--confine", help="Refuse rows that reach outside --root or --output-dir.")
    ] = False,
    jobs: Annotated[int, typer.Option("-j", "--jobs", help="Workers on each device.", min=1, max=256)] = 1,
    devices: Annotated[
        str, typer.Option(help="cuda:0,cuda:1, or auto for all GPUs, or cpu (default: --device).")
    ] = "",
    retries: Annotated[
        int, typer.Option(help="How often a row is tried again after a failure.", min=0, max=100)
    ] = 2,
    retry_on_fail: Annotated[
        int, typer.Option(help="Other seeds to try where the quality gate says fail.", min=0, max=100)
    ] = 0,
    no_quality: Annotated[
        bool, typer.Option("--no-quality", help="Measure nothing but the frame count.")
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first row that fails or is refused.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace outputs that are not from this batch.")
    ] = False,
    parallel_segments: Annotated[
        bool,
        typer.Option(
            "--parallel-segments",
            help="Render recordings longer than --segment in parts on several workers, blended where they "
            "join: sooner done, less continuous.",
        ),
    ] = False,
    max_gpu_hours: Annotated[
        float, typer.Option(help="Do not start what is predicted to need more; 0: no limit.", min=0)
    ] = 0.0,
    gpu_hour_price: Annotated[
        float, typer.Option(help="What an hour of a worker costs, for the plan.", min=0)
    ] = 0.0,
    shard: Annotated[
        str,
        typer.Option(
            help="Render part I/N, 1/N to N/N; auto in a Slurm array, auto/N in an indexed Kubernetes job."
        ),
    ] = "1/1",
    engine: Annotated[
        EngineKind, typer.Option(help="Processes here, or actors of a Ray cluster (needs the ray extra).")
    ] = EngineKind.local,
    address: Annotated[
        str, typer.Option(help="The Ray cluster; empty: the one that is running here, else a new one.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row, print the plan, and stop.")
    ] = False,
    as_json: JsonOption = False,
    as_porcelain: Annotated[
        bool,
        typer.Option(
            "--porcelain",
            help="One tab-separated line a row on standard output: " + " ".join(batch_view.PORCELAIN) + ".",
        ),
    ] = False,
    progress: Annotated[Style, typer.Option(help="How progress is shown on standard error.")] = Style.auto,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but the last line.")] = False,
    *,
    given: Given,
) -> None:
    """Render every row of a manifest.

    What is done is written to NAME.results.jsonl at once; the same command goes on from there after any
    crash, renders rows that failed or changed, and leaves the others alone. The first Ctrl-C finishes the
    clips in hand, the second stops at once.

    Ends with 0 all rows done, 1 some failed, 2 wrong usage or settings, 3 a bug, 4 unusable manifest,
    5 weights missing, 130 or 143 interrupted.
    """
    require_source(manifest or "", portraits, audios)
    options = BatchOptions(
        manifest=str(Path(manifest).absolute()) if manifest and manifest != "-" else manifest or "",
        portraits=str(portraits.absolute()) if portraits else "",
        audios=str(audios.absolute()) if audios else "",
        pairing=pair.value,
        base=str(_base(manifest, name)),
        root=str((root or _root(manifest)).absolute()),
        output_dir=str(output_dir.absolute()) if output_dir else "",
        name_template=name_template,
        is_confined=confine,
        devices=devices,
        jobs=jobs,
        retries=retries,
        other_seeds=retry_on_fail,
        is_fail_fast=fail_fast,
        has_gate=not no_quality,
        may_overwrite=overwrite,
        has_parallel_parts=parallel_segments,
        max_gpu_hours=max_gpu_hours,
        shard=shard,
        engine=engine.value,
        address=address,
        flags=_from_anywhere(given.flags),
        preset=given.preset or "",
        config=str(given.config.absolute()) if given.config else "",
    )
    style = Style.none if as_json else progress
    shown = Shown(style, as_json or progress is Style.json, as_porcelain, quiet, gpu_hour_price)
    run(build_batch(options), shown, is_dry=dry_run)


@app.command("retry")
def retry_command(
    named: Named,
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Rows to render again (default: all that went wrong).", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    progress: Annotated[Style, typer.Option(help="How progress is shown on standard error.")] = Style.auto,
) -> None:
    """Render rows again: those that failed, are in quarantine, or were refused by the quality gate.

    The options are those of the last run. Rows that are named are rendered again whatever became of them.
    """
    from hallo_cli.jobs.batch.ledger import last_run
    from hallo_cli.jobs.batch.planner import Repeat

    paths = _paths(named)
    head = last_run(_ledger(paths))
    if head is None:
        raise ManifestError(f"{paths.merged} names no run; run the batch itself.")
    options = dataclasses.replace(read_options(dict(head.options)), shard="1/1")
    if options.manifest == "-":
        raise ManifestError("this batch came from standard input; give it the same rows again instead.")
    repeat = Repeat(("error", "invalid", "quarantined", "fail"), frozenset(ids or ()))
    run(build_batch(options, repeat=repeat), Shown(Style.none if as_json else progress, as_json))


@app.command("status")
def status_command(named: Named, as_json: JsonOption = False) -> None:
    """Say how far a batch is, whether or not it is running."""
    paths = _paths(named)
    records = _last_records(paths)
    counts = Counter(record.status for record in records)
    expected = _expected_rows(paths)
    pending = max(0, expected - len(records))
    if as_json:
        typer.echo(json.dumps({"schema": SCHEMA, "rows": expected, "pending": pending, "statuses": counts}))
        return
    compute_s = sum(record.compute_s for record in records)
    typer.echo(f"{expected} rows: " + ", ".join(f"{n} {status}" for status, n in counts.most_common()))
    typer.echo(f"{pending} pending; {clock(compute_s)} of compute so far")
    for record in records:
        if not record.is_rendered or record.status == "fail":
            typer.echo(batch_view.describe_record(record))


@app.command("report")
def report_command(
    named: Named,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The page (default: NAME.report.html).", show_default=False),
    ] = None,
    previews: Annotated[int, typer.Option(help="Rows that get a picture and a preview.", min=0)] = 200,
) -> None:
    """Write one HTML page that holds everything, and a CSV of the same rows beside it."""
    from hallo_cli.jobs.batch.report import ReportOptions, write_page, write_table

    paths = _paths(named)
    records = sorted(_last_records(paths), key=lambda record: record.row)
    page = output or paths.report
    options = ReportOptions(paths.base.name, paths.merged.parent, previews)
    write_page(page, records, options)
    write_table(page.with_suffix(".csv"), records)
    typer.echo(str(page))
    typer.echo(str(page.with_suffix(".csv")))


@app.command("merge")
def merge_command(named: Named) -> None:
    """Bring the ledgers of all shards together in NAME.results.jsonl."""
    from hallo_cli.jobs.batch.merge import merge

    paths = _paths(named)
    typer.echo(f"{paths.merged}: {merge(paths)} rows added", err=True)
    typer.echo(str(paths.merged))


def run(batch: Batch, shown: Shown, *, is_dry: bool = False) -> None:
    """Check, then render; the last line says what became of the rows."""
    from hallo_cli.jobs.batch.batch import opened

    began = time.monotonic()
    tally = batch_view.Tally()
    with (
        opened(batch) as open_batch,
        _obeying_signals(open_batch),
        batch_view.showing(shown.style, tally, is_quiet=shown.is_quiet) as show,
    ):
        for _ in open_batch.check():
            pass
        if is_dry:
            _tell_plan(open_batch, shown)
            return
        try:
            for event in open_batch.run():
                show(event)
                _tell_program(event, shown)
        finally:
            place = batch.paths.results
            _tell_end(tally, time.monotonic() - began, place)
    if tally.failed or tally.left_out:
        raise typer.Exit(1)


def _tell_program(event: Event, shown: Shown) -> None:
    from hallo_cli.jobs.batch import events

    if shown.as_json:
        typer.echo(events.to_json(event))
    if shown.as_porcelain and isinstance(event, events.RowEnded):
        typer.echo(batch_view.porcelain(event.record))


def _tell_plan(open_batch: OpenBatch, shown: Shown) -> None:
    plan = open_batch.summary()
    if shown.as_json:
        from hallo_cli.jobs.batch.events import to_json

        typer.echo(to_json(plan))
    for bad, kind in open_batch.bad_rows():
        typer.echo(f"row {bad.number} ({bad.id}): {kind}: {bad.message}", err=True)
    for line in plan_lines(plan, shown.gpu_hour_price):
        typer.echo(line, err=shown.as_json)
    if plan.invalid:
        raise typer.Exit(1)


def plan_lines(plan: BatchPlanned, gpu_hour_price: float) -> Iterator[str]:
    """A plan for people."""
    hours = plan.compute_s / 3600
    yield batch_view.describe_plan(plan)
    yield f"about {clock(plan.compute_s)} of compute ({hours:.2f} hours of one worker)"
    if gpu_hour_price:
        yield f"about {hours * gpu_hour_price:.2f} at {gpu_hour_price:g} an hour"
    yield f"about {plan.disk_bytes / 1e9:.2f} GB of video"


def _tell_end(tally: batch_view.Tally, seconds: float, results: Path) -> None:
    if not tally.rows:
        return  # the batch did not begin; the error says why
    failed = tally.failed + tally.left_out
    where = f"; {failed} failed: see {results}, or `hallo batch report`" if failed else ""
    done = tally.rendered + tally.skipped
    typer.echo(f"{done} of {tally.rows} rows done in {clock(seconds)}{where}", err=True)


@contextlib.contextmanager
def _obeying_signals(open_batch: OpenBatch) -> Iterator[None]:
    """The first signal finishes the clips in hand, the second stops at once."""
    seen: list[int] = []

    def handle(number: int, frame: types.FrameType | None) -> None:
        if seen:
            raise Interrupted("stopped at once; finished clips are kept.", exit_status=128 + number)
        seen.append(number)
        open_batch.stop(128 + number)
        typer.echo("finishing the clips in hand; once more stops at once", err=True)

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _from_anywhere(flags: dict[str, object]) -> dict[str, object]:
    """The flags with a bundle's folder made absolute, so that `retry` works from any folder."""
    bundle = flags.get("bundle")
    if isinstance(bundle, str) and Path(bundle).is_dir():
        return {**flags, "bundle": str(Path(bundle).absolute())}
    return flags


def _base(manifest: str | None, name: Path | None) -> Path:
    if name is not None:
        return name.absolute()
    return Path("batch").absolute() if manifest in (None, "-") else base_of(Path(manifest))


def _root(manifest: str | None) -> Path:
    return Path() if manifest in (None, "-") else Path(manifest).parent


def _paths(named: Path) -> Paths:
    from hallo_cli.jobs.batch.paths import Paths

    return Paths(base_of(named))


def _ledger(paths: Paths) -> Path:
    """The ledger to read options from: the whole batch's, else a shard's. Raises ManifestError."""
    ledgers = paths.ledgers()
    if not ledgers:
        raise ManifestError(f"there is no {paths.merged}: has this batch been run?")
    return ledgers[0]


def _last_records(paths: Paths) -> list[Record]:
    """The last record of each row."""
    from hallo_cli.jobs.batch.ledger import read_records

    _ledger(paths)
    return list({record.id: record for path in paths.ledgers() for record in read_records(path)}.values())


def _expected_rows(paths: Paths) -> int:
    """Rows of the last run of each ledger; of the whole batch where one was run or merged."""
    from hallo_cli.jobs.batch.ledger import last_run

    heads = [last_run(path) for path in paths.ledgers()]
    counts = [int(str(head.options.get("rows", 0))) for head in heads if head]
    return max(counts[0], sum(counts[1:])) if paths.merged.exists() and counts else sum(counts)
