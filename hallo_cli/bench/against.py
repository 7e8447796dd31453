"""What faster settings lose: each set of settings against the many-step result with the same seed.

The loss is measured on the example, clip by clip, in the frames before they are encoded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.bench.clips import Film, film
from hallo_cli.bench.example import RECORDING, Rig
from hallo_cli.domain import Bytes
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.evaluation.measure import VideoMeter
from hallo_cli.evaluation.truth import TruthMeter
from hallo_cli.media.audio import SAMPLE_RATE, load
from hallo_cli.settings.schema import RenderSettings

REFERENCE_STEPS = 40
SAMPLERS: tuple[dict[str, Any], ...] = tuple(
    {"solver": solver, "steps": steps}
    for solver, counts in {
        "ddim": (20, 10, 8, 4, 2, 1),
        "dpm++": (20, 10, 8, 4),
        "unipc": (20, 10, 8, 4),
    }.items()
    for steps in counts
)
DEEP: tuple[dict[str, Any], ...] = tuple({"deep_every": every} for every in (2, 3, 5))
GUIDED: tuple[dict[str, Any], ...] = (
    {"guidance_stop": 0.6},
    {"guidance_start": 0.2, "guidance_stop": 0.8},
)
APPROXIMATED: tuple[dict[str, Any], ...] = (  # samplers that the approximations are tried with
    {"solver": "ddim", "steps": 20},
    {"solver": "unipc", "steps": 10},
    {"solver": "unipc", "steps": 8},
)


@dataclass(frozen=True)
class Loss:
    """One set of settings."""

    name: str
    settings: RenderSettings  # settled
    frame_s: float  # seconds a frame, overlapping, encoding included
    figures: VideoFigures  # psnr, ssim, landmark_distance, truth_opening: against the reference
    is_on_front: bool = False  # nothing else is both faster and nearer


def candidates(settings: RenderSettings) -> dict[str, RenderSettings]:
    """What is tried, by name, around settled settings; guidance's approximations only where it is on."""
    tried = list(SAMPLERS)
    for sampler in APPROXIMATED:
        for change in (*DEEP, *(GUIDED if settings.guidance != 1 else ())):
            tried.append({**sampler, **change})
    return {_name(change): dataclasses.replace(settings, **change) for change in tried}


def measure_losses(
    rig: Rig, settings: RenderSettings, variants: Mapping[str, RenderSettings], *, n_clips: int
) -> Iterator[Loss]:
    """The reference first (DDIM, many steps), then each variant as it is done."""
    settled = rig.studio.settle(settings)
    exact = dataclasses.replace(settled, solver="ddim", steps=REFERENCE_STEPS)
    film(rig, dataclasses.replace(exact, steps=1), 1)  # warms up
    judge = _Judge(rig, settled, film(rig, exact, n_clips))
    yield judge.loss(f"reference: ddim {REFERENCE_STEPS} steps", exact, judge.reference)
    for name, variant in variants.items():
        chosen = rig.studio.settle(variant)
        yield judge.loss(name, chosen, film(rig, chosen, n_clips))


def with_front(losses: Sequence[Loss]) -> list[Loss]:
    """The same, those marked than which nothing is both faster and nearer to the reference (by PSNR)."""

    def is_beaten(one: Loss) -> bool:
        return any(
            other.frame_s <= one.frame_s and _psnr(other) >= _psnr(one) and other is not one
            for other in losses
        )

    return [dataclasses.replace(one, is_on_front=not is_beaten(one)) for one in losses]


class _Judge:
    """Compares films with one reference."""

    def __init__(self, rig: Rig, settings: RenderSettings, reference: Film) -> None:
        self.reference = reference
        self._portrait: Bytes = rig.portrait(settings).pixels
        self._analyser, self._identity = FaceAnalyser(threads=1), rig.identity
        self._frames = np.concatenate(reference.clips)
        self._faces = [self._find(frame) for frame in self._frames]
        n_samples = round(len(self._frames) / settings.fps * SAMPLE_RATE)
        self._sound = None if rig.is_random else load(RECORDING)[:n_samples]

    def loss(self, name: str, settings: RenderSettings, made: Film) -> Loss:
        """The loss of one film."""
        meter = VideoMeter(self._analyser, reference=self._portrait, identity=self._identity)
        truth = TruthMeter()
        for frame, true_frame, true_face in zip(
            np.concatenate(made.clips), self._frames, self._faces, strict=True
        ):
            meter.add(frame)
            truth.add(frame, meter.face, true_frame, true_face)
        joins = tuple(np.cumsum([len(frames) for frames in made.clips])[:-1].tolist())
        figures = truth.added_to(meter.figures(self._sound, settings.fps, joins=joins))
        return Loss(name, settings, made.frame_s, figures)

    def _find(self, frame: Bytes) -> Face | None:
        return next(iter(self._analyser.detect(frame)), None)


def _psnr(loss: Loss) -> float:
    assert loss.figures.psnr is not None
    return loss.figures.psnr


def _name(change: Mapping[str, Any]) -> str:
    rest = [f"{key} {value}" for key, value in change.items() if key not in {"solver", "steps"}]
    return ", ".join([f"{change['solver']} {change['steps']} steps", *rest])
