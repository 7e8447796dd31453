"""`hallo bench`: how fast this machine renders, and what faster settings lose."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hallo_cli.cli import bench_view
from hallo_cli.cli.console import answer, say
from hallo_cli.cli.options import Given, takes_settings
from hallo_cli.errors import SettingsError
from hallo_cli.settings.resolve import Resolved

if TYPE_CHECKING:
    from hallo_cli.bench.example import Rig

SCHEMA = 2


class Kind(StrEnum):
    """Networks that can be timed without their weights."""

    official = "official"
    embedded = "embedded"
    golden = "golden"


@dataclass(frozen=True)
class Subject:
    """What is timed, as options."""

    against: Annotated[
        list[str] | None,
        typer.Option(
            help="A preset to time in turns with the settings, on the same weights; may be repeated.",
            metavar="PRESET",
            show_default=False,
        ),
    ] = None
    random_weights: Annotated[
        Kind | None,
        typer.Option(
            help="Time these networks with random weights instead of a bundle (golden: tiny ones).",
            show_default=False,
        ),
    ] = None
    clip_frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames denoised together (default: the weights' own).", show_default=False),
    ] = None
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Repetitions that are counted.")] = 3
    warmups: Annotated[int, typer.Option(min=0, max=100, help="Repetitions before, not counted.")] = 1
    clips: Annotated[int, typer.Option(min=1, max=100, help="Clips of a film.")] = 3
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False

    @property
    def kind(self) -> str | None:
        """Of random weights."""
        return self.random_weights.value if self.random_weights else None


@dataclass(frozen=True)
class Modes:
    """What else than the stages can be measured, as options."""

    trace: Annotated[
        Path | None,
        typer.Option(
            help="Render a film and write what ran when, for chrome://tracing or ui.perfetto.dev.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None
    pareto: Annotated[
        bool, typer.Option("--pareto", help="Measure what faster settings lose against 40 steps.")
    ] = False
    scaling: Annotated[
        bool,
        typer.Option("--scaling", help="Measure time and memory by clip length, size, rows and fallback."),
    ] = False
    layers: Annotated[
        bool,
        typer.Option("--layers", help="Time each layer of the full-size networks against nothing saved."),
    ] = False
    report: Annotated[
        Path | None,
        typer.Option(
            help="Measure all of this and the costliest operations, into one JSON file.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None

    def chosen(self) -> list[str]:
        """The names of what is to be measured; "stages" where nothing else was asked for."""
        if self.report:
            return ["stages", "operations", "trace", "layers", "pareto", "scaling"]
        names = ("trace", "pareto", "scaling", "layers")
        return [name for name in names if getattr(self, name)] or ["stages"]


@takes_settings
def command(*, subject: Subject, modes: Modes, given: Given) -> None:
    """Measure how fast this machine renders.

    Example:
        hallo bench --bundle official --against fast

    It times every stage on the bundled example. The settings are those of hallo render. Speeds measured with
    a bundle's own weights are kept on this machine; hallo check predicts with them.
    """
    _Bench(subject, modes, given.resolve()).run()


class _Bench:
    """One run of the command; the networks are loaded when something first needs them."""

    def __init__(self, subject: Subject, modes: Modes, resolved: Resolved) -> None:
        self.subject, self.modes, self.resolved = subject, modes, resolved
        self._rig: Rig | None = None
        self._loaded: dict[str, Any] = {}  # what was, for the results

    @property
    def rig(self) -> Rig:
        from hallo_cli.bench.example import open_rig

        if self._rig is None:
            resolved, subject = self.resolved, self.subject
            self._rig = open_rig(subject.kind, resolved.render, resolved.runtime, subject.clip_frames)
            self._loaded = bench_view.loaded(self._rig)
        return self._rig

    def _unload(self) -> None:
        """Give the networks' memory back to the device."""
        import torch

        self._rig = None
        gc.collect()
        torch.cuda.empty_cache()  # does nothing where there is none

    def run(self) -> None:
        found: dict[str, Any] = {}
        for name in self.modes.chosen():
            if name == "pareto" and self.subject.kind:
                if self.modes.report:
                    continue
                raise SettingsError("--pareto needs trained weights: leave --random-weights out.")
            lines = getattr(self, f"_{name}")(found)
            for line in lines:
                if not self.subject.as_json:
                    answer(line)
            if self.modes.report:  # after each part: what is measured is kept, whatever stops the rest
                _write(self.modes.report, self._result(found))
        if self.subject.as_json:
            answer(json.dumps(self._result(found)))

    def _result(self, found: dict[str, Any]) -> dict[str, Any]:
        return {"schema": SCHEMA, **self._machine(), **found}

    def _stages(self, found: dict[str, Any]) -> Iterator[str]:
        from hallo_cli.bench.stages import bench, keep_speeds, matmul_peak

        subject, rig = self.subject, self.rig
        names = ["settings", *(subject.against or [])]
        variants = [self.resolved.render, *(self._preset(name) for name in subject.against or [])]
        figures = bench(
            rig, variants, repeats=subject.repeats, warmups=subject.warmups, n_clips=subject.clips
        )
        if not rig.is_random and subject.clip_frames is None:
            keep_speeds(rig, figures)
        peak = found["matmul_peak_tflops"] = matmul_peak(rig.animator.execution.device, rig.animator.dtype)
        rows = [bench_view.row(name, row, figures[0], peak) for name, row in zip(names, figures, strict=True)]
        found["runs"] = rows
        yield from bench_view.stages({**self._machine(), "matmul_peak_tflops": peak}, rows)

    def _operations(self, found: dict[str, Any]) -> Iterator[str]:
        from hallo_cli.bench.stages import costliest_operations

        rows = costliest_operations(self.rig, self._settled())
        found["operations"] = dict(rows)
        yield from ("", "where a step's time goes", *(f"{share:>7.1%}  {name}" for name, share in rows))

    def _trace(self, found: dict[str, Any]) -> Iterator[str]:
        from hallo_cli.bench.clips import Overlap, film
        from hallo_cli.inference.spans import recording, to_chrome

        film(self.rig, self._settled(), 1)  # warms up
        with recording() as spans:
            made = film(self.rig, self._settled(), self.subject.clips)
        overlap = Overlap.of(spans)
        if self.modes.trace:
            _write(self.modes.trace, to_chrome(spans))
        found["film"] = {
            "n_frames": made.n_frames,
            "seconds": made.seconds,
            "overlaps": self.rig.animator.execution.overlaps,
            **dataclasses.asdict(overlap),
        }
        yield from bench_view.film(made.n_frames, made.seconds, overlap)

    def _pareto(self, found: dict[str, Any]) -> Iterator[str]:
        from hallo_cli.bench.against import candidates, measure_losses, with_front

        settled = self._settled()
        variants = candidates(settled) | {name: self._preset(name) for name in self.subject.against or []}
        losses = []
        for loss in measure_losses(self.rig, settled, variants, n_clips=self.subject.clips):
            losses.append(loss)
            say(f"{loss.name}: {1 / loss.frame_s:.2f} frames/s")
        losses = with_front(losses)
        found["pareto"] = [bench_view.loss_row(loss) for loss in losses]
        yield from bench_view.pareto(found["pareto"])

    def _scaling(self, found: dict[str, Any]) -> Iterator[str]:
        from hallo_cli.bench.scaling import Point, measure_scaling, plan_points
        from hallo_cli.inference.latents import fits

        config = self.rig.animator.config
        runtime, subject = self.resolved.runtime, self.subject
        base = Point("", "", self._settled(), runtime, subject.kind, subject.clip_frames, 1, subject.clips)
        points = plan_points(
            base,
            clip_frames=config.clip_frames,
            longest=config.max_temporal - config.motion_frames,
            fits=lambda size: fits(config, size),
        )
        self._unload()  # its memory is for the points
        rows = found["scaling"] = []
        yield from bench_view.scaling_head()
        for measured in measure_scaling(points):
            rows.append(bench_view.point_row(measured))
            yield bench_view.scaling_line(rows[-1])

    def _layers(self, found: dict[str, Any]) -> Iterator[str]:
        from hallo_cli.bench.example import RANDOM_KINDS
        from hallo_cli.bench.layers import LayerCase, bench_layers, choose_dtype, totals
        from hallo_cli.inference.speed import choose_execution

        config, _ = RANDOM_KINDS[self.subject.kind or Kind.official.value]()
        execution = choose_execution(self.resolved.runtime)
        settings = self.resolved.render
        dtype = choose_dtype(settings.dtype, execution.device)
        n_frames = self.subject.clip_frames or config.clip_frames
        case = LayerCase(config, settings.size or config.image_size, n_frames, dtype)
        found["layers_case"] = {"size": case.size, "clip_frames": n_frames, "dtype": str(dtype)}
        layers = []
        yield from bench_view.layers_head(case)
        for layer in bench_layers(case, execution, repeats=self.subject.repeats):
            layers.append(layer)
            yield bench_view.layer_line(layer)
        layers.append(totals(layers))
        yield bench_view.layer_line(layers[-1])
        found["layers"] = [dataclasses.asdict(layer) for layer in layers]

    def _settled(self) -> Any:
        return self.rig.studio.settle(self.resolved.render)

    def _preset(self, name: str) -> Any:
        """A preset's settings, on the weights and in the dtype of the run."""
        own = self.resolved.render
        other = Given({}, name, None).resolve().render
        return dataclasses.replace(other, bundle=own.bundle, dtype=own.dtype, size=own.size)

    def _machine(self) -> dict[str, Any]:
        from hallo_cli.bench.scaling import peak_host_bytes
        from hallo_cli.inference.speed import resolve_device

        device = resolve_device(self.resolved.runtime.device)
        return {**bench_view.machine(device), **self._loaded, "peak_host_bytes": peak_host_bytes()}


def _write(file: Path, content: object) -> None:
    from hallo_cli.store.writing import write_whole

    write_whole(file, json.dumps(content, indent=1).encode())
