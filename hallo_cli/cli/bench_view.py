"""What `hallo bench` shows: rows for JSON and lines for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from hallo_cli.bench.against import Loss
    from hallo_cli.bench.clips import Overlap
    from hallo_cli.bench.example import Rig
    from hallo_cli.bench.layers import LayerCase, LayerFigures
    from hallo_cli.bench.scaling import PointFailure, PointFigures
    from hallo_cli.bench.stages import Figures

LOSS_KEYS = (
    *("psnr", "ssim", "gmsd", "landmark_distance", "truth_opening"),
    *("sync_at_zero", "identity", "upper_face_ssim"),
)
CHANGED_KEYS = (
    "solver",
    "steps",
    "guidance",
    "guidance_start",
    "guidance_stop",
    "deep_every",
)


def machine(device: torch.device) -> dict[str, Any]:
    """What was measured on."""
    import platform

    import torch

    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def loaded(rig: Rig) -> dict[str, Any]:
    """What was measured."""
    return {
        "weights": rig.studio.bundle.manifest.name,
        "dtype": str(rig.animator.dtype).removeprefix("torch."),
        "is_compiled": rig.animator.execution.is_compiled,
    }


def row(name: str, figures: Figures, first: Figures, peak: float) -> dict[str, Any]:
    """One set of settings; `peak` is the device's TFLOP/s in matrix products."""
    settings = figures.settings
    pairs = sorted(mine / theirs for mine, theirs in zip(figures.frame_s, first.frame_s, strict=True))
    return {
        "name": name,
        "size": settings.size,
        **{key: getattr(settings, key) for key in CHANGED_KEYS},
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
        "compile_s": figures.compile_s,
        "time_against_first": {"median": pairs[len(pairs) // 2], "lowest": pairs[0], "highest": pairs[-1]},
    }


def stages(machine: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The stages of each set of settings."""
    yield (
        f"{machine['weights']} on {machine['device']} ({machine['threads']} threads), {machine['dtype']}, "
        f"torch {machine['torch']}, {'compiled' if machine['is_compiled'] else 'not compiled'}"
    )
    yield f"matrix products reach {machine['matmul_peak_tflops']:.2f} TFLOP/s"
    for one in rows:
        yield from ("", _headline(one), f"{'stage':<14}{'median':>11}{'lowest':>11}{'highest':>11}")
        spreads = {**one["stages"], "one step": one["step"], "film, a frame": one["frame"]}
        yield from (f"{name:<14}{_columns(spread)}" for name, spread in spreads.items())
        yield (
            f"{one['frames_per_s']:.2f} frames/s, {one['seconds_per_second']:.2f} s a second of video; "
            f"denoising at {one['tflops']:.2f} TFLOP/s, {one['share_of_peak']:.0%} of matrix products' speed"
        )
        if one["compile_s"] is not None:
            yield f"compiling took {one['compile_s']:.1f} s at most"
        if one is not rows[0]:
            ratio = one["time_against_first"]
            yield (
                f"takes {ratio['median']:.2f} times as long as the first "
                f"({ratio['lowest']:.2f} to {ratio['highest']:.2f}, pair by pair)"
            )
        if one["peak_device_bytes"]:
            yield f"device memory peaks at {one['peak_device_bytes'] / 1e9:.2f} GB"
    if machine["peak_host_bytes"]:
        yield from ("", f"host memory peaked at {machine['peak_host_bytes'] / 1e9:.2f} GB")


def film(n_frames: int, seconds: float, overlap: Overlap) -> Iterator[str]:
    """How much of a film ran side by side."""
    hidden = overlap.shared_s / overlap.behind_s if overlap.behind_s else 0.0
    yield from ("", f"film: {n_frames} frames in {seconds:.2f} s, {n_frames / seconds:.2f} frames/s")
    yield (
        f"denoising {overlap.denoising_s:.2f} s; decoding and encoding {overlap.behind_s:.2f} s, "
        f"{hidden:.0%} of it while the next clip was denoised"
    )


def loss_row(loss: Loss) -> dict[str, Any]:
    """One set of settings and what it loses."""
    figures = loss.figures.to_dict()
    return {
        "name": loss.name,
        "is_on_front": loss.is_on_front,
        "frames_per_s": 1 / loss.frame_s,
        **{key: getattr(loss.settings, key) for key in CHANGED_KEYS},
        **{key: figures[key] for key in LOSS_KEYS},
    }


def pareto(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Speed and loss; a star: nothing is both faster and nearer."""
    losses = f"{'PSNR':>7}{'SSIM':>7}{'GMSD':>8}{'lips':>7}{'opening':>9}{'sync':>7}"
    yield from ("", f"{'':<2}{'settings':<44}{'frames/s':>9}{losses}")
    for one in sorted(rows, key=lambda r: r["frames_per_s"]):
        star = "* " if one["is_on_front"] else "  "
        numbers = f"{one['frames_per_s']:>9.2f}{one['psnr']:>7.1f}{one['ssim']:>7.3f}{one['gmsd']:>8.4f}"
        lips = _number(one["landmark_distance"], 7) + _number(one["truth_opening"], 9)
        yield f"{star}{one['name']:<44}{numbers}{lips}{_number(one['sync_at_zero'], 7)}"
    yield "against the reference: PSNR in dB, SSIM, GMSD (perceptual, 0: equal), lip landmarks' distance"
    yield "(% of the face), mouth opening's correlation; sync: mouth opening against the speech itself;"
    yield "*: nothing is both faster and nearer by PSNR"


def point_row(measured: PointFigures | PointFailure) -> dict[str, Any]:
    """One point of a curve, or why it is missing."""
    from hallo_cli.bench.scaling import PointFailure

    point = measured.point
    named = {
        "curve": point.curve,
        "label": point.label,
        "size": point.settings.size,
        "clip_frames": point.clip_frames,
        "rows": point.n_rows,
    }
    if isinstance(measured, PointFailure):
        return {**named, "failed": measured.reason}
    return {
        **named,
        "frames_per_s": 1 / measured.frame_s,
        "frame_s": measured.frame_s,
        "host_bytes": measured.host_bytes,
        "device_bytes": measured.device_bytes,
    }


def scaling_head() -> Iterator[str]:
    """The head of the table of curves."""
    yield from ("", f"{'curve':<12}{'':<34}{'a frame':>10}{'frames/s':>10}{'host':>9}{'device':>9}")


def scaling_line(one: dict[str, Any]) -> str:
    """One point."""
    name = f"{one['curve']:<12}{one['label']:<34}"
    if "failed" in one:
        return f"{name} failed: {one['failed']}"
    peaks = (one["host_bytes"], one["device_bytes"])
    sizes = "".join(f"{peak / 1e9:>6.2f} GB" if peak else f"{'':>9}" for peak in peaks)
    return f"{name}{one['frame_s'] * 1e3:>7.1f} ms{one['frames_per_s']:>10.2f}{sizes}"


def layers_head(case: LayerCase) -> Iterator[str]:
    """What the layers were run on."""
    dtype = str(case.dtype).removeprefix("torch.")
    yield from ("", f"layers at {case.size} px, {case.n_frames} frames, guidance pair, {dtype}")
    yield f"{'layer':<20}{'channels':>9}{'nothing saved':>15}{'here':>12}{'ratio':>8}{'difference':>12}"


def layer_line(layer: LayerFigures) -> str:
    """One layer."""
    times = f"{layer.plain_s * 1e3:>12.1f} ms{layer.fast_s * 1e3:>9.1f} ms{layer.ratio:>7.2f}x"
    return f"{layer.name:<20}{layer.channels or '':>9}{times}{layer.difference:>12.1e}"


def _headline(one: dict[str, Any]) -> str:
    return (
        f"{one['name']}: {one['size']} px, {one['steps']} {one['solver']} steps, "
        f"guidance {one['guidance']:g}, clips of {one['clip_frames']} frames"
    )


def _columns(spread: dict[str, float]) -> str:
    return "".join(f"{spread[key] * 1e3:>8.1f} ms" for key in ("median_s", "lowest_s", "highest_s"))


def _number(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:>{width}.3f}"
