"""What `hallo bench` shows: one result for JSON, and lines for people."""

from __future__ import annotations

import dataclasses
import platform
import statistics
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hallo_cli.bench.example import Example
    from hallo_cli.bench.stages import Figures

SCHEMA = 3
LOSS_KEYS = ("psnr", "ssim", "gmsd", "landmark_distance", "truth_opening")
CHANGED_KEYS = ("solver", "steps", "guidance", "guidance_start", "guidance_stop", "deep_every", "compile")


def result(example: Example, figures: Mapping[str, Figures]) -> dict[str, Any]:
    """Machine, weights, and one run for each set of settings. The others are compared with the first."""
    from hallo_cli.bench.against import Comparison

    first, *others = figures.values()
    comparison = Comparison(first.repetitions[-1].frames)
    runs = [_run(name, one, first) for name, one in figures.items()]
    for run, other in zip(runs[1:], others, strict=True):
        difference = comparison.difference(other.repetitions[-1].frames).to_dict()
        run["difference"] = {key: difference[key] for key in LOSS_KEYS}
    return {"schema": SCHEMA, **_machine(example), "runs": runs}


def lines(result: Mapping[str, Any]) -> Iterator[str]:
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


def page(result: Mapping[str, Any]) -> Iterator[str]:
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
    settings, frame = figures.settings, figures.frame
    pairs = zip(figures.repetitions, first.repetitions, strict=True)
    ratios = [mine.frame_s / theirs.frame_s for mine, theirs in pairs]
    return {
        "name": name,
        "size": settings.size,
        **{key: getattr(settings, key) for key in CHANGED_KEYS},
        "stages": {stage: dataclasses.asdict(spread) for stage, spread in figures.stages.items()},
        "step": dataclasses.asdict(figures.step),
        "frame": dataclasses.asdict(frame),
        "frames_per_s": 1 / frame.median_s,
        "seconds_per_second": settings.fps * frame.median_s,
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
