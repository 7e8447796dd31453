"""`hallo bench`: how fast this machine renders, and what faster settings gain and lose."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.cli import bench_view
from hallo_cli.cli.console import answer
from hallo_cli.cli.options import AS_JSON, option
from hallo_cli.errors import SettingsError
from hallo_cli.settings.resolve import Resolved, Sources, resolve
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.writing import write_whole

if TYPE_CHECKING:
    from hallo_cli.bench.example import Example


@dataclass(frozen=True)
class Measurement:
    """What is measured, as options."""

    against: list[str] | None = option(
        None, "A preset to compare with the settings, on the same weights. Repeatable.", metavar="PRESET"
    )
    random_weights: bool = option(
        False, "Time networks of the official size with random weights: no download."
    )
    repeats: int = option(3, "Counted repetitions.", min=1, max=1000)
    warmups: int = option(1, "Warm-up repetitions, not counted.", min=0, max=100)
    clips: int = option(3, "Clips rendered in a row.", min=1, max=100)
    report: Path | None = option(
        None, "Also write the results to FILE.json, and as a page to FILE.html.", metavar="FILE.json"
    )
    as_json: bool = AS_JSON


def command(*, measurement: Measurement, given: Sources) -> None:
    """Measure how fast this machine renders.

    Example:
        hallo bench --bundle official --against fast

    It times every stage on the bundled example. The settings are those of hallo render. With --against,
    another preset is timed in turns with them and its frames are compared. The speeds are kept
    on this machine; hallo check predicts with them.
    """
    from hallo_cli.bench.stages import Plan, bench, keep_speeds
    from hallo_cli.evaluation.plots import write_page

    require_report(measurement.report)
    resolved = resolve(given)
    names = ["settings", *(measurement.against or [])]
    variants = [resolved.render, *(_preset(name, resolved.render) for name in measurement.against or [])]
    example = _example(resolved, is_random=measurement.random_weights)
    plan = Plan(measurement.repeats, measurement.warmups, measurement.clips)
    figures = bench(example, variants, plan)
    if not example.is_random:
        keep_speeds(example, figures)
    result = bench_view.result(example, dict(zip(names, figures, strict=True)))
    if measurement.report:
        write_whole(measurement.report, (json.dumps(result, indent=1) + "\n").encode())
        write_page(measurement.report.with_suffix(".html"), "How fast it renders", bench_view.page(result))
    lines = [json.dumps(result)] if measurement.as_json else bench_view.lines(result)
    for line in lines:
        answer(line)


def require_report(report: Path | None) -> None:
    """Raise SettingsError if a report's page would have the report's own name."""
    if report is not None and report.suffix.lower() == ".html":
        raise SettingsError(f"--report {report} is the page's name: give FILE.json, the page lies beside it.")


def _example(resolved: Resolved, *, is_random: bool) -> Example:
    from hallo_cli.bench.example import open_example, random_example
    from hallo_cli.models.network_config import NetworkConfig

    if is_random:
        return random_example(resolved.render, resolved.runtime, NetworkConfig.official())
    return open_example(resolved.render, resolved.runtime)


def _preset(name: str, own: RenderSettings) -> RenderSettings:
    """A preset's settings, on the weights and in the dtype of the run."""
    other = resolve(Sources(preset=name)).render
    return dataclasses.replace(other, bundle=own.bundle, dtype=own.dtype, size=own.size)
