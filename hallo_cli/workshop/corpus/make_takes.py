"""Takes of the synthetic corpus: one person's reference picture, frames, sound and ground truth."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from scipy.io import wavfile

from hallo_cli.analysis.face import LIPS, SILHOUETTE, FaceAnalyser
from hallo_cli.domain import SAMPLE_RATE, Bytes, Float
from hallo_cli.training.takes import Array, Take, TakeInfo, packed_flow
from hallo_cli.workshop.corpus.appearance import Look, Warp
from hallo_cli.workshop.corpus.drawing import SIZE as RAW_SIZE
from hallo_cli.workshop.corpus.drawing import Actor, Picture
from hallo_cli.workshop.corpus.eyes import stretch_lids
from hallo_cli.workshop.corpus.filters import averaged, levels, looked_up
from hallo_cli.workshop.corpus.motion import BACKDROP, reference_points
from hallo_cli.workshop.corpus.performance import Performance, rehearse
from hallo_cli.workshop.corpus.phones import FPS

FRAME_SIZE = 512
CROP_SCALE = 1.5  # side of the crop over the longer side of the face oval's box
CROP_SHIFT = -0.01  # of the side, downwards
MOTION_SIZE = 128  # flow, visibility and materials each way
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class TakeSpec:
    """Which take: the same spec gives the same take, wherever and whenever it is made."""

    seed: int
    index: int
    n_frames: int = 14
    held_out: bool = False  # voices that the corpus never uses; marked as validation

    @property
    def key(self) -> str:
        """The take's name in its shard."""
        return f"synth-{self.seed}-{self.index:06d}"


@dataclass(frozen=True)
class _View:
    """How a take's square looks into the raw pictures: through a warp, cut out in units of their side."""

    warp: Warp
    left: float = 0.0
    top: float = 0.0
    side: float = 1.0

    def inside(self, points: Float) -> Float:
        """Points of the warped picture (0..1) in pixels of the take's frames."""
        origin = np.array([self.left, self.top], np.float32)
        return (points - origin) / np.float32(self.side) * FRAME_SIZE

    def shown_at(self, points: Float) -> Float:
        """Points of the raw picture, in its pixels, in pixels of the take's frames."""
        return self.inside(self.warp.target_of(points / np.float32(RAW_SIZE)))

    def sources(self, size: int) -> Float:
        """Where `size` x `size` pixels come from: points of the raw picture in its pixels [size, size, 2]."""
        ticks = (np.arange(size, dtype=np.float32) + 0.5) / size * self.side
        grid = np.stack(np.meshgrid(ticks + self.left, ticks + self.top), axis=-1).astype(np.float32)
        return self.warp.source_of(grid) * np.float32(RAW_SIZE)


def make_take(spec: TakeSpec) -> Take | None:
    """Render a take; None if the landmark network sees no face in the reference picture."""
    rng = np.random.default_rng([spec.seed, spec.index, 2])
    actor = Actor(rng)
    warp = Warp.draw(rng)
    performance = rehearse(rng, n_frames=spec.n_frames, held_out=spec.held_out)
    look = Look(rng, FRAME_SIZE)
    actor.expose(brightness=rng.uniform(0.36, 0.62))
    reference = actor.draw(performance.reference)
    found = _find_face(reference, warp)
    if found is None:
        return None
    view, landmarks = found
    sources, motion_sources = view.sources(FRAME_SIZE), view.sources(MOTION_SIZE)
    frames: list[bytes] = []
    shots: list[dict[str, Array]] = []
    for moment in performance.moments:  # one raw picture in memory at a time
        picture = actor.draw(moment)
        frames.append(_jpeg(look(_sampled(picture, sources))))
        shots.append(_shot(picture, reference, view, motion_sources))
    info = TakeInfo(
        n_frames=spec.n_frames,
        fps=float(FPS),
        size=FRAME_SIZE,
        source=f"synthetic, voice {performance.utterance.voice}",
        face_box=_box(landmarks[list(SILHOUETTE)]),
        lip_box=_box(np.concatenate([*(shot["lips"] for shot in shots), landmarks[list(LIPS)]])),
        split="validation" if spec.held_out else "train",
        reference="own",
        audio_lead_s=performance.lead_frames / FPS,
    )
    return Take(
        key=spec.key,
        info=info,
        frames=tuple(frames),
        wav=_wav(performance.sound()),
        landmarks=landmarks.astype(np.float32),
        reference=_jpeg(look(_sampled(reference, sources))),
        truth=_truth(performance, shots),
    )


def _find_face(reference: Picture, warp: Warp) -> tuple[_View, Float] | None:
    """The square as a portrait's analysis would choose it, and the 478 landmarks in its pixels."""
    half = RAW_SIZE // 2
    faces = _analyser().detect(levels(_sampled(reference, _View(warp).sources(half))))
    if not faces:
        return None
    face = max(faces, key=lambda found: found.size)
    points = face.landmarks / np.float32(half)
    low, high = points[list(SILHOUETTE)].min(axis=0), points[list(SILHOUETTE)].max(axis=0)
    side = CROP_SCALE * float((high - low).max())
    centre = (low + high) / 2 + (0, CROP_SHIFT * side)
    view = _View(warp, float(centre[0]) - side / 2, float(centre[1]) - side / 2, side)
    return view, view.inside(points)


def _sampled(picture: Picture, sources: Float) -> Float:
    # the rasteriser draws hard edges: each pixel is first averaged with its neighbours
    smooth = averaged(np.clip(picture.pixels, 0, 1), 2)
    return looked_up(smooth, sources - 1)


def _shot(picture: Picture, reference: Picture, view: _View, sources: Float) -> dict[str, Array]:
    """What is true of one frame; maps are of the pixels that come from `sources` [128, 128, 2]."""
    places, seen = reference_points(picture.shown, reference.shown, sources)
    stretch_lids(picture.shown, reference.shown, sources, places, seen)
    materials = picture.shown.materials_at(sources)
    flow = view.shown_at(places) - _centres()
    flow[(materials == BACKDROP) | ~seen] = 0
    return {
        "opening": np.array(picture.opening, np.float32),
        "mouth_width": np.array(picture.mouth_width, np.float32),
        "lips": view.shown_at(picture.lips).astype(np.float32),  # [points, 2] the lips' vertices in pixels
        "materials": materials,
        "flow": packed_flow(flow),  # backward, to the reference
        "seen": seen,  # whether the reference shows it
    }


def _truth(performance: Performance, shots: list[dict[str, Array]]) -> dict[str, Array]:
    """What is true of the frames, an array each: what `_shot` names, and what was planned."""
    first, moments = performance.first_frame, performance.moments
    gaze = np.array([moment.gaze for moment in moments], np.float32)
    return {
        "visemes": np.stack([moment.visemes for moment in moments]).astype(np.float32),
        "phones": performance.utterance.phones[first : first + len(moments)],
        "blink": performance.blinks,
        **{name: np.stack([shot[name] for shot in shots]) for name in shots[0]},
        "turn": np.array([moment.turn for moment in moments], np.float32),
        "gaze": gaze - np.array(performance.reference.gaze, np.float32),
        "brow": np.array([moment.brow for moment in moments], np.float32),
    }


@cache
def _centres() -> Float:
    """Of the motion maps' pixels, in pixels of the crop [128, 128, 2]."""
    ticks = (np.arange(MOTION_SIZE, dtype=np.float32) + 0.5) * (FRAME_SIZE / MOTION_SIZE)
    return np.stack(np.meshgrid(ticks, ticks), axis=-1)


def _box(points: Float) -> tuple[float, float, float, float]:
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _jpeg(pixels: Bytes) -> bytes:
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes()


def _wav(samples: Float) -> bytes:
    buffer = io.BytesIO()
    wavfile.write(buffer, SAMPLE_RATE, (np.clip(samples, -1, 1) * 32767).astype("<i2"))
    return buffer.getvalue()


@cache
def _analyser() -> FaceAnalyser:
    return FaceAnalyser(threads=1)
