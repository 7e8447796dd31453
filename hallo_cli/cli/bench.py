"""`hallo bench`: how fast this machine renders, stage by stage."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hallo_cli.cli.options import Given, takes_settings
from hallo_cli.settings.resolve import Resolved

if TYPE_CHECKING:
    from hallo_cli.jobs.bench import Figures
    from hallo_cli.jobs.bench_rig import Rig

SCHEMA = 1


class Kind(StrEnum):
    """Networks that can be timed without their weights."""

    official = "official"
    embedded = "embedded"
    golden = "golden"


@takes_settings
def command(
    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A preset to time in turns with the settings, on the same weights; may be repeated.",
            metavar="PRESET",
            show_default=False,
        ),
    ] = None,
    random_weights: Annotated[
        Kind | None,
        typer.Option(help="Time these networks with random weights instead of a bundle.", show_default=False),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Clips that are counted.")] = 3,
    warmups: Annotated[int, typer.Option(min=0, max=100, help="Clips before, not counted.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    *,
    given: Given,
) -> None:
    """Time the pipeline on the shipped example: every stage, a denoising step, a frame.

    Takes the settings of hallo render. What is measured with a bundle's own weights is kept on this machine
    and used by hallo check.
    """
    resolved = given.resolve()
    from hallo_cli.jobs.bench import bench, matmul_peak
    from hallo_cli.jobs.bench_rig import bundle_rig, random_rig

    rig = (
        random_rig(random_weights.value, resolved.render, resolved.runtime)
        if random_weights
        else bundle_rig(resolved.render, resolved.runtime)
    )
    names = ["settings", *(against or [])]
    variants = [resolved.render, *(_preset(name, resolved) for name in against or [])]
    figures = bench(rig, variants, repeats=repeats, warmups=warmups)
    peak = matmul_peak(rig.animator.execution.device, rig.animator.dtype)
    if not rig.is_random:
        for row in figures:
            rig.studio.note_speed(row.settings, row.frame.median_s)
    rows = [_row(name, row, figures[0], peak) for name, row in zip(names, figures, strict=True)]
    machine = {**_machine(rig), "matmul_peak_tflops": peak}
    if as_json:
        typer.echo(json.dumps({"schema": SCHEMA, **machine, "runs": rows}))
        return
    for line in _table(machine, rows):
        typer.echo(line)


def _preset(name: str, resolved: Resolved) -> Any:
    """A preset's settings, on the weights and in the dtype of the run."""
    other = Given({}, name, None).resolve().render
    return dataclasses.replace(other, bundle=resolved.render.bundle, dtype=resolved.render.dtype)


def _machine(rig: Rig) -> dict[str, Any]:
    import platform

    import torch

    execution = rig.animator.execution
    is_cuda = execution.device.type == "cuda"
    return {
        "weights": rig.studio.bundle.manifest.name,
        "device": torch.cuda.get_device_name(execution.device) if is_cuda else execution.device.type,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "dtype": str(rig.animator.dtype).removeprefix("torch."),
        "is_compiled": execution.is_compiled,
        "peak_host_bytes": _peak_host_bytes(),
    }


def _peak_host_bytes() -> int | None:
    """Of this process so far; None where the system does not tell."""
    import sys

    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _row(name: str, figures: Figures, first: Figures, peak: float) -> dict[str, Any]:
    settings = figures.settings
    pairs = sorted(mine / theirs for mine, theirs in zip(figures.frame_s, first.frame_s, strict=True))
    return {
        "name": name,
        "size": settings.size,
        "steps": settings.steps,
        "solver": settings.solver,
        "guidance": settings.guidance,
        "guidance_stop": settings.guidance_stop,
        "clip_frames": figures.n_frames,
        "stages": {stage: dataclasses.asdict(spread) for stage, spread in figures.stages.items()},
        "step": dataclasses.asdict(figures.step),
        "frame": dataclasses.asdict(figures.frame),
        "frames_per_s": 1 / figures.frame.median_s,
        "seconds_per_second": settings.fps * figures.frame.median_s,
        "clip_tflop": figures.clip_tflop,
        "tflops": figures.tflops,
        "share_of_peak": figures.tflops / peak,
        "peak_device_bytes": figures.peak_device_bytes,
        "time_against_first": {"median": pairs[len(pairs) // 2], "lowest": pairs[0], "highest": pairs[-1]},
    }


def _table(machine: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"{machine['weights']} on {machine['device']} ({machine['threads']} threads), {machine['dtype']}, "
        f"torch {machine['torch']}, {'compiled' if machine['is_compiled'] else 'not compiled'}",
        f"matrix products reach {machine['matmul_peak_tflops']:.2f} TFLOP/s",
    ]
    for row in rows:
        lines += ["", _headline(row), f"{'stage':<12}{'median':>11}{'lowest':>11}{'highest':>11}"]
        spreads = {**row["stages"], "one step": row["step"], "one frame": row["frame"]}
        lines += [f"{name:<12}{_columns(spread)}" for name, spread in spreads.items()]
        lines.append(
            f"{row['frames_per_s']:.2f} frames/s, {row['seconds_per_second']:.2f} s a second of video; "
            f"denoising at {row['tflops']:.2f} TFLOP/s, {row['share_of_peak']:.0%} of matrix products' speed"
        )
        if row is not rows[0]:
            ratio = row["time_against_first"]
            lines.append(
                f"takes {ratio['median']:.2f} times as long as the first "
                f"({ratio['lowest']:.2f} to {ratio['highest']:.2f}, pair by pair)"
            )
        if row["peak_device_bytes"]:
            lines.append(f"device memory peaks at {row['peak_device_bytes'] / 1e9:.2f} GB")
    if machine["peak_host_bytes"]:
        lines += ["", f"host memory peaked at {machine['peak_host_bytes'] / 1e9:.2f} GB"]
    return lines


def _headline(row: dict[str, Any]) -> str:
    return (
        f"{row['name']}: {row['size']} px, {row['steps']} {row['solver']} steps, "
        f"guidance {row['guidance']:g}, clips of {row['clip_frames']} frames"
    )


def _columns(spread: dict[str, float]) -> str:
    return "".join(f"{spread[key] * 1e3:>8.1f} ms" for key in ("median_s", "lowest_s", "highest_s"))
