"""Builds the batch that the options of `hallo batch` describe."""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.cli.batch_options import STDIN, BatchOptions
from hallo_cli.cli.batch_spending import Spending
from hallo_cli.cli.options import Given

if TYPE_CHECKING:
    from hallo_cli.batch.paths import Paths
    from hallo_cli.batch.planner import Repeat
    from hallo_cli.batch.renderer import RendererSpec
    from hallo_cli.batch.rows import Layout
    from hallo_cli.batch.run import Batch, Source
    from hallo_cli.batch.task import Pool
    from hallo_cli.jobs.engine import Engine
    from hallo_cli.settings.quality import QualityLimits
    from hallo_cli.settings.schema import RenderSettings, RuntimeSettings


def build_batch(
    options: BatchOptions, spending: Spending = Spending(), *, repeat: Repeat | None = None
) -> Batch:
    """The batch. Raises SettingsError."""
    from hallo_cli.batch import run as batch
    from hallo_cli.batch.planner import Repeat, RowSettings
    from hallo_cli.batch.scheduler import Policy

    given = options.given
    resolved = given.resolve()
    devices = worker_devices(options, resolved.runtime.device)
    spec = _renderer(options, given, resolved.render, _per_worker(resolved.runtime, devices))
    return batch.Batch(
        source=_source(options),
        layout=_layout(options),
        paths=_paths(options),
        settings=RowSettings(_resolver(given)),
        renderer=spec,
        predict=predict,
        make_pool=functools.partial(make_pool, options, devices),
        policy=Policy(options.retries, options.other_seeds, options.is_fail_fast),
        repeat=repeat or Repeat(),
        budget=spending.budget(options.max_gpu_hours),
        only=tuple(spending.only or ()),
        may_overwrite=options.may_overwrite,
        has_parallel_parts=options.has_parallel_parts,
        check_processes=batch.default_check_processes(),
        n_workers=len(devices),
        options=dataclasses.asdict(options),
    )


def worker_devices(options: BatchOptions, device: str) -> list[str]:
    """One device for each worker."""
    named = [name.strip() for name in options.devices.split(",") if name.strip()] or [device]
    if named == ["auto"] and options.engine == "local":
        import torch

        from hallo_cli.inference.speed import resolve_device

        count = torch.cuda.device_count()
        named = [f"cuda:{index}" for index in range(count)] or [str(resolve_device("auto"))]
    return [name for name in named for _ in range(options.jobs)]


def make_pool(options: BatchOptions, devices: list[str], spec: RendererSpec) -> Pool:
    """The workers that the options ask for."""
    if options.engine == "ray":
        from hallo_cli.batch.ray_pool import RayPool

        return RayPool(spec, devices, address=options.address)
    from hallo_cli.batch.local_pool import LocalPool

    return LocalPool(spec, devices, _paths(options).folder / "logs")


def make_engine(bundle: str, runtime: RuntimeSettings) -> Engine:
    """The real engine; a function of a module, so that worker processes find it."""
    from hallo_cli.jobs.bundle_engine import Studio

    return Studio.open(bundle, runtime)


def predict(engine: Engine, settings: RenderSettings, frames: int) -> float:
    """Seconds that a row takes, from what this machine has shown before."""
    from hallo_cli.jobs.bundle_engine import Studio

    assert isinstance(engine, Studio)
    return _seconds_per_frame(engine.load_of(settings)) * frames


@functools.lru_cache(maxsize=256)
def _seconds_per_frame(load: object) -> float:
    from hallo_cli.jobs.forecast import Load, estimate

    assert isinstance(load, Load)
    return estimate(load).seconds_per_frame


def _source(options: BatchOptions) -> Source:
    from hallo_cli.batch.run import Source

    if options.manifest == STDIN:
        return Source(is_stdin=True)
    if options.manifest:
        return Source(Path(options.manifest))
    return Source(
        portraits=Path(options.portraits),
        audios=Path(options.audios),
        pairing=options.pairing,
        may_be_alone=options.may_be_alone,
    )


def _layout(options: BatchOptions) -> Layout:
    from hallo_cli.batch.rows import Layout

    output_dir = Path(options.output_dir) if options.output_dir else _paths(options).videos
    own = frozenset(options.own_columns or ())
    return Layout(Path(options.root), output_dir, options.name_template, options.is_confined, own)


def _paths(options: BatchOptions) -> Paths:
    from hallo_cli.batch.paths import Paths, read_shard

    return Paths(Path(options.base), read_shard(options.shard))


def _resolver(given: Given) -> functools._lru_cache_wrapper[RenderSettings]:
    @functools.cache
    def resolve(preset: str | None) -> RenderSettings:
        return Given(given.flags, preset or given.preset, given.config).resolve().render

    return resolve


def _per_worker(runtime: RuntimeSettings, devices: list[str]) -> RuntimeSettings:
    """Settings are settled for the workers' device; workers that share the processor share its cores."""
    if not devices[0].startswith("gpu:"):
        runtime = dataclasses.replace(runtime, device=devices[0])
    if runtime.threads or len(devices) < 2:
        return runtime
    return dataclasses.replace(runtime, threads=max(1, (os.cpu_count() or 1) // len(devices)))


def _renderer(
    options: BatchOptions, given: Given, first: RenderSettings, runtime: RuntimeSettings
) -> RendererSpec:
    from hallo_cli.batch.renderer import RendererSpec, measure_figures
    from hallo_cli.jobs.marking import Marking

    Marking.of(runtime).require()  # once, and not in every row
    return RendererSpec(
        make_engine=make_engine,
        runtime=runtime,
        measure=measure_figures if options.has_gate else None,
        limits=_limits(given),
        first=first,
    )


def _limits(given: Given) -> dict[str, QualityLimits]:
    """The quality gate's limits for rows of each preset, and for rows that name none."""
    from hallo_cli.settings.presets import list_presets, read_quality
    from hallo_cli.settings.quality import read_limits

    tables = {name: read_quality(name, given.config) for name in list_presets()}
    tables[""] = read_quality(given.preset, given.config)
    return {name: read_limits(table, where="[quality]") for name, table in tables.items()}
