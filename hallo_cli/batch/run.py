"""A batch from its manifest to its ledger: reads, locks, plans, runs."""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.batch.batch_events import Event, RowEnded
from hallo_cli.batch.budget import Allowance, Budget
from hallo_cli.batch.findings import Checks, copy_findings
from hallo_cli.batch.ledger import Ledger, Record, Run, read_records, stored_path
from hallo_cli.batch.ledger_sync import bring_in_step
from hallo_cli.batch.manifest_file import read_manifest, read_rows
from hallo_cli.batch.mirror import FarLedger, Mirror, take_over
from hallo_cli.batch.pairs import pair_folders
from hallo_cli.batch.planner import Planner, Predict, Repeat
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.running import Pulse
from hallo_cli.batch.scheduler import Policy, Scheduler, now
from hallo_cli.batch.tally import Tally
from hallo_cli.errors import Interrupted
from hallo_cli.store.locks import locked
from hallo_cli.store.writing import make_own_folder, refuse_link

if TYPE_CHECKING:
    from hallo_cli.batch.paths import Paths
    from hallo_cli.batch.places import Layout
    from hallo_cli.batch.renderer_spec import RendererSpec
    from hallo_cli.batch.rows import BadRow, Row
    from hallo_cli.batch.worker_pool import Pool
    from hallo_cli.settings.schema import RenderSettings

FINDINGS = "checks.sqlite"
_PATIENCE_S = 1.0  # for a process that only checks if the batch is running


@dataclass(frozen=True)
class Source:
    """Where rows come from: a manifest, standard input, or two folders."""

    manifest: Path | None = None
    is_stdin: bool = False
    portraits: Path | None = None
    audios: Path | None = None
    pairing: str = "cross"
    may_be_alone: bool = False  # files without a partner are no reason to fail

    def rows(self, layout: Layout) -> Iterator[Row | BadRow]:
        """The rows, in order. Raises ManifestError."""
        if self.manifest is not None:
            return read_manifest(self.manifest, layout)
        if self.is_stdin:
            return read_rows(sys.stdin.buffer, layout)
        assert self.portraits is not None
        assert self.audios is not None
        return pair_folders(self.portraits, self.audios, self.pairing, layout, may_be_alone=self.may_be_alone)


@dataclass(frozen=True)
class Batch:
    """The parameters of a run."""

    source: Source
    layout: Layout
    paths: Paths
    resolve: Callable[[str | None], RenderSettings]  # a row's preset -> settings; remembers
    renderer: RendererSpec
    predict: Predict
    make_pool: Callable[[RendererSpec], Pool]
    policy: Policy = field(default_factory=Policy)
    repeat: Repeat = field(default_factory=Repeat)
    budget: Budget = field(default_factory=Budget)
    only: tuple[str, ...] = ()  # patterns of the ids of the rows to render; none: all
    may_overwrite: bool = False
    mirror: Mirror | None = None  # where finished videos and the ledger go, too
    has_parallel_parts: bool = False
    check_processes: int = 1
    n_workers: int = 1
    options: dict[str, object] = field(
        default_factory=dict
    )  # for the ledger, so that `retry` can repeat the run


class OpenBatch:
    """A batch that is planned and locked: no other process can run it."""

    def __init__(self, planner: Planner, unsent: list[str]) -> None:
        """`unsent`: lines of the ledger that the far folder lacks."""
        self.planner = planner
        self.queue = planner.queue
        self.tally = Tally()
        self._batch = planner.batch
        self._unsent = unsent
        self._scheduler: Scheduler | None = None
        self._stop_status: int | None = None

    def check(self) -> Iterator[int]:
        """Check all inputs; yields how many files were checked so far. Raises Interrupted."""
        for n_found in self.planner.plan():
            if self._stop_status is not None:
                raise Interrupted("stopped before the first row was rendered.", exit_status=self._stop_status)
            yield n_found

    def stop(self, exit_status: int) -> None:
        """Finish the current clips and end; safe in a signal handler."""
        self._stop_status = exit_status
        if self._scheduler:
            self._scheduler.stop(exit_status)

    def run(self) -> Iterator[Event]:
        """Render what is ready. Raises HalloError if the batch cannot go on, Interrupted when stopped."""
        pulse = Pulse(self._batch.paths.folder, self.tally)
        try:
            for event in self._run():
                self.tally.add(event)
                pulse.beat()
                yield event
        finally:
            pulse.end()

    def _run(self) -> Iterator[Event]:
        batch = self._batch
        plan = self.planner.summary()
        ledgers = batch.paths.ledgers()
        with self._ledger() as ledger:
            ledger.append(Run({**batch.options, "rows": plan.rows + plan.elsewhere}, now()))
            bring_in_step(ledger, self.queue, ledgers, now=now())
            yield plan
            yield from self.queue.warnings()
            yield from self._write_invalid(ledger)
            if plan.ready and not (plan.invalid and batch.policy.is_fail_fast):
                yield from self._render(ledger)

    def _ledger(self) -> Ledger:
        path, mirror = self._batch.paths.results, self._batch.mirror
        return FarLedger(path, mirror, self._unsent) if mirror else Ledger(path)

    def _write_invalid(self, ledger: Ledger) -> Iterator[Event]:
        for bad, kind in self.queue.bad_rows():
            output = stored_path(Path(bad.output), ledger.path) if bad.output else ""
            record = Record(bad.id, bad.number, "invalid", output, error=kind, message=bad.message)
            record = dataclasses.replace(record, finished=now(), own=bad.own)
            ledger.append(record)
            yield RowEnded(record)

    def _render(self, ledger: Ledger) -> Iterator[Event]:
        batch = self._batch
        spec = dataclasses.replace(batch.renderer, own_folders=_own_folders(batch), mirror=batch.mirror)
        pool = batch.make_pool(spec)
        try:
            self._scheduler = Scheduler(
                self.queue, pool, ledger, batch.policy, Allowance(batch.budget), batch.paths.folder
            )
            if self._stop_status is not None:
                self._scheduler.stop(self._stop_status)
            yield from self._scheduler.run()
        finally:
            pool.close()


@contextmanager
def opened(batch: Batch, *, is_dry: bool = False) -> Iterator[OpenBatch]:
    """Read manifest and ledgers, under the batch's lock. Raises ManifestError, JobError, OutputError.

    A dry run needs no lock and writes nothing.
    """
    for own in _own_folders(batch):
        refuse_link(own)
    with ExitStack() as stack:
        queue = stack.enter_context(Queue())
        queue.add_rows(batch.source.rows(batch.layout))
        folder = stack.enter_context(_dry_folder(batch.paths) if is_dry else _locked_folder(batch.paths))
        queue.keep_share(batch.paths.shard.index - 1, batch.paths.shard.count)
        queue.keep_chosen(batch.only)
        parts = batch.mirror.pull(folder / "far") if batch.mirror else []
        unsent = [] if is_dry or not batch.mirror else take_over(parts, batch.paths)
        for number, ledger in enumerate([*(parts if is_dry else ()), *batch.paths.ledgers()]):
            place = batch.paths.base.parent if ledger in parts else ledger.parent
            queue.history.remember(read_records(ledger), place.absolute(), ledger=number)
        checks = stack.enter_context(Checks(folder / FINDINGS))
        yield OpenBatch(Planner(batch, queue, checks), unsent)


def _own_folders(batch: Batch) -> tuple[Path, ...]:
    """Folders of videos that the batch makes itself; --output-dir may lead elsewhere."""
    parts, videos = batch.paths.parts, batch.paths.videos
    return (parts, videos) if batch.layout.output_dir == videos else (parts,)


@contextmanager
def _locked_folder(paths: Paths) -> Iterator[Path]:
    make_own_folder(paths.folder)
    with locked(paths.folder / "lock", what="this batch", patience_s=_PATIENCE_S):
        yield paths.folder


@contextmanager
def _dry_folder(paths: Paths) -> Iterator[Path]:
    """A temporary folder with the findings of earlier runs."""
    with tempfile.TemporaryDirectory(prefix="hallo-") as name:
        copy_findings(paths.folder / FINDINGS, Path(name) / FINDINGS)
        yield Path(name)


def default_check_processes() -> int:
    """One process a core, up to a limit: each loads the face networks."""
    return max(1, min(8, os.cpu_count() or 1))
