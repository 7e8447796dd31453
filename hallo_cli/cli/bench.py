"""`hallo bench`: how fast this machine renders, and what faster settings gain and lose, as lines or JSON."""

from __future__ import annotations

import dataclasses
import json
import platform
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallo_cli.cli.console import answer
from hallo_cli.cli.options import AS_JSON, option
from hallo_cli.errors import SettingsError
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.settings.resolve import Sources, resolve
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.writing import write_whole

if TYPE_CHECKING:
    from hallo_cli.bench.example import Example
    from hallo_cli.bench.stages import Figures

SCHEMA = 3
LOSS_KEYS = ("psnr", "ssim", "gmsd", "landmark_distance", "truth_opening")
CHANGED_KEYS = ("solver", "steps", "guidance", "guidance_start", "guidance_stop", "deep_every", "compile")


def command(
    against: list[str] | None = option(
        None, "A preset to compare with the settings, on the same weights. Repeatable.", metavar="PRESET"
    ),
    random_weights: bool = option(
        False, "Time networks of the official size with random weights: no download."
    ),
    repeats: int = option(3, "Counted repetitions.", min=1, max=1000),
    warmups: int = option(1, "Warm-up repetitions, not counted.", min=0, max=100),
    clips: int = option(3, "Clips rendered in a row.", min=1, max=100),
    report: Path | None = option(
        None, "Also write the results to FILE.json, and as a page to FILE.html.", metavar="FILE.json"
    ),
    as_json: bool = AS_JSON,
    *,
    given: Sources,
) -> None:
    """Measure how fast this machine renders.

    Example:
        hallo bench --bundle official --against fast

    It times every stage on the bundled example. The settings are those of hallo render. With --against,
    another preset is timed in turns with them and its frames are compared. The speeds are kept
    on this machine; hallo check predicts with them.
    """
    from hallo_cli.bench.example import open_example
    from hallo_cli.bench.stages import bench, keep_speeds
    from hallo_cli.evaluation.plots import write_page

    if report is not None and report.suffix.lower() == ".html":
        raise SettingsError(f"--report {report} is the page's name: give FILE.json, the page lies beside it.")
    resolved = resolve(given)
    names = ["settings", *(against or [])]
    variants = [resolved.render, *(_preset(name, resolved.render) for name in against or [])]
    config = NetworkConfig.official() if random_weights else None
    example = open_example(resolved.render, resolved.runtime, config)
    figures = bench(example, variants, repeats=repeats, warmups=warmups, n_clips=clips)
    if not example.is_random:
        keep_speeds(example, figures)
    measured = _result(example, dict(zip(names, figures, strict=True)))
    if report:
        write_whole(report, (json.dumps(measured, indent=1) + "\n").encode())
        write_page(report.with_suffix(".html"), "How fast it renders", _page(measured))
    for line in [json.dumps(measured)] if as_json else _lines(measured):
        answer(line)


def _preset(name: str, own: RenderSettings) -> RenderSettings:
    """A preset's settings, on the weights and in the dtype of the run."""
    other = resolve(Sources(preset=name)).render
    return dataclasses.replace(other, bundle=own.bundle, dtype=own.dtype, size=own.size)


def _result(example: Example, figures: Mapping[str, Figures]) -> dict[str, Any]:
    """Machine, weights, and one run for each set of settings. The others are compared with the first."""
    from hallo_cli.bench.against import differences

    first, *others = (one.repetitions[-1].frames for one in figures.values())
    runs = [_run(name, one, next(iter(figures.values()))) for name, one in figures.items()]
    for run, figures_of_run in zip(runs[1:], differences(first, others) if others else (), strict=True):
        difference = figures_of_run.to_dict()
        run["difference"] = {key: difference[key] for key in LOSS_KEYS}
    return {"schema": SCHEMA, **_machine(example), "runs": runs}


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The result for people."""
    yield (
        f"{result['weights']} on {result['device']} ({result['threads']} threads), {result['dtype']}, "
        f"torch {result['torch']}"
    )
    for run in result["runs"]:
        yield from ("", _headline(run), f"{'stage':<14}{'median':>11}{'lowest':>11}{'highest':>11}")
        spreads = {**run["stages"], "one step": run["step"], "one frame": run["frame"]}
        yield from (f"{name:<14}{_columns(spread)}" for name, spread in spreads.items())
        yield f"{run['frames_per_s']:.2f} frames/s, {run['seconds_per_second']:.2f} s a second of video"
        if run["peak_device_bytes"]:
            yield f"device memory peaks at {run['peak_device_bytes'] / 1e9:.2f} GB"
        if "difference" in run:
            yield from _against(run)


def _page(result: Mapping[str, Any]) -> Iterator[str]:
    """The result as the parts of a page."""
    from hallo_cli.evaluation.plots import bars, table, text

    yield table((key, result[key]) for key in ("weights", "device", "processor", "threads", "dtype", "torch"))
    speeds = {run["name"]: run["frames_per_s"] for run in result["runs"]}
    yield bars("Frames a second", speeds, "frames/s")
    for run in result["runs"]:
        yield f"<h2>{text(_headline(run))}</h2>\n"
        spreads = {**run["stages"], "one step": run["step"], "one frame": run["frame"]}
        medians = {name: spread["median_s"] * 1e3 for name, spread in spreads.items()}
        yield bars("Time of each stage", medians, "ms")
        yield table((name, _words(spread)) for name, spread in spreads.items())
        if "difference" in run:
            yield "".join(f"<p>{text(line)}</p>\n" for line in _against(run))


def _machine(example: Example) -> dict[str, Any]:
    import torch

    device = example.animator.execution.device
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "weights": example.engine.bundle.manifest.name,
        "dtype": str(example.animator.dtype).removeprefix("torch."),
    }


def _run(name: str, figures: Figures, first: Figures) -> dict[str, Any]:
    from hallo_cli.bench.stages import STAGES

    settings, frame = figures.settings, figures.spread("frame")
    pairs = zip(figures.repetitions, first.repetitions, strict=True)
    ratios = [mine.times["frame"][0] / theirs.times["frame"][0] for mine, theirs in pairs]
    return {
        "name": name,
        "size": settings.size,
        **{key: getattr(settings, key) for key in CHANGED_KEYS},
        "stages": {stage: figures.spread(stage) for stage in STAGES},
        "step": figures.spread("step"),
        "frame": frame,
        "frames_per_s": 1 / frame["median_s"],
        "seconds_per_second": settings.fps * frame["median_s"],
        "peak_device_bytes": max(one.peak_device_bytes or 0 for one in figures.repetitions) or None,
        "time_against_first": {
            "median": statistics.median(ratios),
            "lowest": min(ratios),
            "highest": max(ratios),
        },
    }


def _against(run: Mapping[str, Any]) -> Iterator[str]:
    ratio, lost = run["time_against_first"], run["difference"]
    yield (
        f"takes {ratio['median']:.2f} times as long as the first "
        f"({ratio['lowest']:.2f} to {ratio['highest']:.2f}, pair by pair)"
    )
    lips, opening = (_number(lost[key]) for key in ("landmark_distance", "truth_opening"))
    yield (
        f"against the first's frames: PSNR {lost['psnr']:.1f} dB, SSIM {lost['ssim']:.3f}, "
        f"GMSD {lost['gmsd']:.4f} (0: equal), lip distance {lips} % of the face, mouth correlation {opening}"
    )


def _headline(run: Mapping[str, Any]) -> str:
    compiled = ", compiled" if run["compile"] == "on" else ""
    return (
        f"{run['name']}: {run['size']} px, {run['steps']} {run['solver']} steps, "
        f"guidance {run['guidance']:g}{compiled}"
    )


def _columns(spread: Mapping[str, float]) -> str:
    return "".join(f"{spread[key] * 1e3:>8.1f} ms" for key in ("median_s", "lowest_s", "highest_s"))


def _words(spread: Mapping[str, float]) -> str:
    median, lowest, highest = (f"{spread[key] * 1e3:,.1f}" for key in ("median_s", "lowest_s", "highest_s"))
    return f"{median} ms ({lowest} to {highest})"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
