"""Builds the parts of a batch, for the command line and for programs; imports heavy modules late."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.batch.paths import Paths
from hallo_cli.batch.places import Layout
from hallo_cli.batch.renderer_spec import RendererSpec, measure_figures
from hallo_cli.errors import ManifestError
from hallo_cli.media.addresses import is_address
from hallo_cli.settings.preset_files import list_presets, read_quality
from hallo_cli.settings.quality import QualityLimits, read_limits
from hallo_cli.settings.resolve import Sources, resolve
from hallo_cli.store.writing import write_whole

if TYPE_CHECKING:
    from hallo_cli.batch.batch_events import Event
    from hallo_cli.batch.ledger import Record
    from hallo_cli.batch.mirror import Mirror
    from hallo_cli.batch.run import Batch
    from hallo_cli.batch.worker_pool import Pool
    from hallo_cli.jobs.engine import Engine
    from hallo_cli.jobs.forecast import Workload
    from hallo_cli.settings.schema import RenderSettings, RuntimeSettings


@dataclass(frozen=True)
class RowsOptions:
    """How the rows of a program are rendered."""

    name: Path  # the name of ledger, videos and logs
    output_dir: str = ""  # a folder, or a store's address; empty: NAME.videos
    workers: int = 1
    has_gate: bool = True  # measure more of a video than its frame count


def render_rows(
    rows: Iterable[Mapping[str, object]],
    options: RowsOptions,
    sources: Sources,
    on_event: Callable[[Event], None],
) -> list[Record]:
    """Render rows as a batch does; returns the record of each, in their order. Raises what a batch raises.

    The rows are kept in NAME.rows.jsonl, the results in NAME.results.jsonl: the same call resumes.
    """
    from hallo_cli.batch.run import opened
    from hallo_cli.batch.status import read_known

    batch = _batch_of_rows(rows, options, sources)
    with opened(batch) as open_batch:
        for _ in open_batch.check():
            pass
        for event in open_batch.run():
            on_event(event)
    return read_known(batch.paths).in_order


def place_of(output_dir: str, paths: Paths) -> tuple[Path, Mirror | None]:
    """The local folder for videos, and the far one if `output_dir` is an address. Raises SettingsError."""
    from hallo_cli.batch.mirror import Mirror
    from hallo_cli.media.stores import FarFolder

    if not is_address(output_dir):
        return Path(output_dir) if output_dir else paths.videos, None
    return paths.videos, Mirror(FarFolder(output_dir), paths.videos, paths.base.name)


def make_engine(bundle: str, runtime: RuntimeSettings) -> Engine:
    """The real engine; a function of a module, so that worker processes find it."""
    from hallo_cli.jobs.bundle_engine import BundleEngine

    return BundleEngine.open(bundle, runtime)


def predict(engine: Engine, settings: RenderSettings, frames: int) -> float:
    """Seconds that a row takes, from earlier measurements on this machine."""
    from hallo_cli.jobs.bundle_engine import BundleEngine

    assert isinstance(engine, BundleEngine)
    return _seconds_per_frame(engine.workload_of(settings)) * frames


@functools.lru_cache(maxsize=256)
def _seconds_per_frame(workload: Workload) -> float:
    from hallo_cli.jobs.forecast import estimate

    return estimate(workload).seconds_per_frame


def make_spec(
    sources: Sources, first: RenderSettings, runtime: RuntimeSettings, *, curves: Path | None
) -> RendererSpec:
    """What workers are made from. `first`: load its networks at once; `curves`: measure, and keep them there.

    Raises SettingsError if videos cannot be signed, or a limit of the quality gate is wrong.
    """
    from hallo_cli.jobs.marking import Marking

    Marking.of(runtime).require()  # once, and not in every row
    measure = functools.partial(measure_figures, curves_dir=curves) if curves else None
    limits = read_all_limits(sources.preset, sources.config)
    return RendererSpec(make_engine, runtime, measure, limits, first)


def make_pool(devices: list[str], logs: Path, spec: RendererSpec) -> Pool:
    """Worker processes on this machine, one for each device that is named."""
    from hallo_cli.batch.local_pool import LocalPool

    return LocalPool(spec, devices, logs)


def per_worker(runtime: RuntimeSettings, devices: list[str]) -> RuntimeSettings:
    """Resolve settings for the workers' device; workers that share a CPU share its cores."""
    if not devices[0].startswith("gpu:"):
        runtime = dataclasses.replace(runtime, device=devices[0])
    if runtime.threads or len(devices) < 2:
        return runtime
    return dataclasses.replace(runtime, threads=max(1, (os.cpu_count() or 1) // len(devices)))


def read_all_limits(preset: str | None, config: Path | None) -> dict[str, QualityLimits]:
    """The quality gate's limits for each preset and for rows that name none. Raises SettingsError."""
    tables = {name: read_quality(name, config) for name in list_presets()}
    tables[""] = read_quality(preset, config)
    return {name: read_limits(table, where="[quality]") for name, table in tables.items()}


def preset_resolver(sources: Sources) -> Callable[[str | None], RenderSettings]:
    """Gives the settings of rows by the preset that they name, and caches them.

    Raises SettingsError, and InputError if a file that the settings of all rows name cannot be fetched.
    """
    from hallo_cli.jobs.inputs import with_near_files

    @functools.cache
    def of_preset(preset: str | None) -> RenderSettings:
        given = resolve(dataclasses.replace(sources, preset=preset or sources.preset)).render
        return with_near_files(given)

    of_preset(None)  # once, and not in every row
    return of_preset


def _batch_of_rows(rows: Iterable[Mapping[str, object]], options: RowsOptions, sources: Sources) -> Batch:
    from hallo_cli.batch import run

    resolved = resolve(sources)
    devices = [resolved.runtime.device] * options.workers
    runtime = per_worker(resolved.runtime, devices)
    paths = Paths(options.name.absolute())
    videos, mirror = place_of(options.output_dir, paths)
    spec = make_spec(sources, resolved.render, runtime, curves=paths.curves if options.has_gate else None)
    return run.Batch(
        source=run.Source(_write_rows(rows, options.name)),
        layout=Layout(Path.cwd(), videos, speak=resolved.runtime.speak),
        paths=paths,
        resolve=preset_resolver(sources),
        renderer=spec,
        predict=predict,
        make_pool=functools.partial(make_pool, devices, paths.folder / "logs"),
        check_processes=run.default_check_processes(),
        n_workers=options.workers,
        mirror=mirror,
    )


def _write_rows(rows: Iterable[Mapping[str, object]], name: Path) -> Path:
    """Keep the rows as JSON Lines, which a batch reads. Raises ManifestError, OutputError."""
    file = name.with_name(f"{name.name}.rows.jsonl").absolute()
    try:
        lines = [json.dumps(dict(row), default=os.fspath) for row in rows]
    except (TypeError, ValueError) as error:
        raise ManifestError(
            f"a row cannot be stored as JSON ({error}): give portrait, audio and settings as texts and "
            "numbers."
        ) from error
    write_whole(file, "".join(f"{line}\n" for line in lines).encode())
    return file
