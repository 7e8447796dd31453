"""Builds the batch that the options of `hallo batch` or decisions about its videos describe."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.batch.building import (
    make_spec,
    per_worker,
    place_of,
    predict,
    preset_resolver,
)
from hallo_cli.batch.decisions import Judged, apply_decisions, read_decisions
from hallo_cli.batch.paths import Paths, read_shard
from hallo_cli.batch.places import Layout
from hallo_cli.batch.promote import promoted_lines, write_promoted
from hallo_cli.batch.renderer_spec import RendererSpec
from hallo_cli.batch.rows import BadRow, Row
from hallo_cli.batch.scheduler import Policy
from hallo_cli.batch.status import require_ledgers
from hallo_cli.batch.worker_pool import Pool
from hallo_cli.cli.batch_options import STDIN, BatchOptions, Spending
from hallo_cli.cli.console import say
from hallo_cli.errors import InputError, ManifestError, printable
from hallo_cli.inference.device import all_devices
from hallo_cli.media.addresses import bare_address, is_address
from hallo_cli.media.far import near_path
from hallo_cli.settings.preset_files import read_preset
from hallo_cli.settings.resolve import Sources, resolve

if TYPE_CHECKING:
    from hallo_cli.batch.planner import Repeat
    from hallo_cli.batch.run import Batch, Source

MAX_NAMED = 20  # rows in a message


def build_batch(
    options: BatchOptions, spending: Spending = Spending(), *, repeat: Repeat | None = None
) -> Batch:
    """The batch. Raises SettingsError."""
    from hallo_cli.batch import run as batch
    from hallo_cli.batch.planner import Repeat

    given = options.given
    resolved = resolve(given)
    devices = worker_devices(options, resolved.runtime.device)
    curves = _paths(options).curves if options.has_gate else None
    spec = make_spec(given, resolved.render, per_worker(resolved.runtime, devices), curves=curves)
    return batch.Batch(
        source=_source(options),
        layout=_layout(options, resolved.runtime.speak),
        paths=_paths(options),
        resolve=preset_resolver(given),
        renderer=spec,
        predict=predict,
        make_pool=functools.partial(make_pool, options, devices),
        policy=Policy(options.retries, options.other_seeds, options.is_fail_fast),
        repeat=repeat or Repeat(),
        budget=spending.budget(options.max_gpu_hours),
        only=tuple(spending.only or ()),
        may_overwrite=options.may_overwrite,
        mirror=place_of(options.output_dir, _paths(options))[1],
        has_parallel_parts=options.has_parallel_parts,
        check_processes=batch.default_check_processes(),
        n_workers=len(devices),
        options=_kept(options),
    )


def _kept(options: BatchOptions) -> dict[str, object]:
    """The options for the ledger, without the signatures of addresses."""
    flags = {key: _bare(value) for key, value in options.flags.items()}
    return {**dataclasses.asdict(options), "manifest": _bare(options.manifest), "flags": flags}


def _bare(given: object) -> object:
    return bare_address(given) if isinstance(given, str) and is_address(given) else given


def worker_devices(options: BatchOptions, device: str) -> list[str]:
    """One device for each worker."""
    named = [name.strip() for name in options.devices.split(",") if name.strip()] or [device]
    if named == ["auto"] and options.engine == "local":
        named = all_devices()
    return [name for name in named for _ in range(options.jobs)]


def make_pool(options: BatchOptions, devices: list[str], spec: RendererSpec) -> Pool:
    """The workers that the options ask for."""
    if options.engine == "ray":
        from hallo_cli.batch.ray_pool import RayPool

        return RayPool(spec, devices, address=options.address)
    from hallo_cli.batch.local_pool import LocalPool

    return LocalPool(spec, devices, _paths(options).folder / "logs")


def rows_of(options: BatchOptions) -> Iterator[Row | BadRow]:
    """The rows that the manifest or the folders have now. Raises ManifestError, SettingsError."""
    return _source(options).rows(_layout(options, resolve(options.given).runtime.speak))


def output_dir_of(options: BatchOptions) -> Path:
    """Where relative outputs of rows lie on this machine."""
    return place_of(options.output_dir, _paths(options))[0]


def judge_by(decisions: Path, paths: Paths) -> Judged:
    """The rows that a file of decisions is about. Tell of marks that hold no more. Raises InputError."""
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


def _source(options: BatchOptions) -> Source:
    from hallo_cli.batch.run import Source

    if options.manifest == STDIN:
        return Source(is_stdin=True)
    if options.manifest:
        return Source(near_path(options.manifest, ManifestError, "manifest"))
    return Source(
        portraits=Path(options.portraits),
        audios=Path(options.audios),
        pairing=options.pairing,
        may_be_alone=options.may_be_alone,
    )


def _layout(options: BatchOptions, speak: str | None) -> Layout:
    output_dir = output_dir_of(options)
    own = frozenset(options.own_columns or ())
    far_root = options.root if is_address(options.root) else ""
    root = Path.cwd() if far_root else Path(options.root)
    return Layout(root, output_dir, options.name_template, options.is_confined, own, speak, far_root)


def _paths(options: BatchOptions) -> Paths:
    return Paths(Path(options.base), read_shard(options.shard))
