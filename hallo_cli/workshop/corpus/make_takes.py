"""Takes of the synthetic corpus: one person's reference picture, frames, sound and ground truth."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy.io import wavfile

from hallo_cli.analysis.face import LIPS, SILHOUETTE, FaceAnalyser
from hallo_cli.domain import Bytes, Float
from hallo_cli.training.takes import Take, TakeInfo, packed_flow
from hallo_cli.workshop.corpus.acoustics import SAMPLE_RATE
from hallo_cli.workshop.corpus.appearance import Look, Warp
from hallo_cli.workshop.corpus.drawing import SIZE as RAW_SIZE
from hallo_cli.workshop.corpus.drawing import Actor, Picture
from hallo_cli.workshop.corpus.eyes import stretch_lids
from hallo_cli.workshop.corpus.filters import averaged, looked_up
from hallo_cli.workshop.corpus.head_model import load_head_model
from hallo_cli.workshop.corpus.motion import BACKDROP, materials_at, reference_points
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
class _Crop:
    """Where the take's square lies in the warped picture, in units of that picture's side."""

    left: float
    top: float
    side: float

    def inside(self, points: Float) -> Float:
        """Points of the warped picture (0..1) in pixels of the crop."""
        origin = np.array([self.left, self.top], np.float32)
        return (points - origin) / np.float32(self.side) * FRAME_SIZE


@dataclass(frozen=True)
class _Shot:
    """What is true of one frame."""

    opening: float  # inner lips' distance / face height
    mouth_width: float  # corners' distance / face height
    lips: Float  # [points, 2] the lips' vertices in pixels of the crop
    materials: npt.NDArray[np.int8]  # [128, 128] what is seen there: head_model.SKIN, EYE, ...
    flow: npt.NDArray[np.int16]  # [128, 128, 2] backward flow to the reference, see takes.packed_flow
    seen: npt.NDArray[np.bool_]  # [128, 128] whether the reference shows it


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
    crop, landmarks = found
    sampling = _sampling_map(warp, crop, FRAME_SIZE)
    view = _View(warp, crop, _sampling_map(warp, crop, MOTION_SIZE))
    frames: list[bytes] = []
    shots: list[_Shot] = []
    for moment in performance.moments:  # one raw picture in memory at a time
        picture = actor.draw(moment)
        frames.append(_jpeg(look(_sampled(picture, sampling))))
        lips = crop.inside(warp.target_of(picture.lips / np.float32(RAW_SIZE))).astype(np.float32)
        shots.append(_Shot(picture.opening, picture.mouth_width, lips, *_motion(picture, reference, view)))
    info = TakeInfo(
        n_frames=spec.n_frames,
        fps=float(FPS),
        size=FRAME_SIZE,
        source=f"synthetic, voice {performance.utterance.voice}",
        face_box=_box(landmarks[list(SILHOUETTE)]),
        lip_box=_box(np.concatenate([*(shot.lips for shot in shots), landmarks[list(LIPS)]])),
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
        reference=_jpeg(look(_sampled(reference, sampling))),
        truth=_truth(performance, shots),
    )


def _truth(
    performance: Performance, shots: list[_Shot]
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """Per frame: visemes [n, 6], phones [n], blink [n], and what `_Shot` names."""
    first, n_frames = performance.first_frame, len(shots)
    faces = [moment.face for moment in performance.moments]
    return {
        "visemes": np.stack([face.visemes for face in faces]).astype(np.float32),
        "phones": performance.utterance.phones[first : first + n_frames],
        "blink": performance.blinks,
        "opening": np.array([shot.opening for shot in shots], np.float32),
        "mouth_width": np.array([shot.mouth_width for shot in shots], np.float32),
        "lips": np.stack([shot.lips for shot in shots]),
        "materials": np.stack([shot.materials for shot in shots]),
        "flow": np.stack([shot.flow for shot in shots]),
        "seen": np.stack([shot.seen for shot in shots]),
        "turn": np.array([moment.turn for moment in performance.moments], np.float32),
        "gaze": np.array([moment.gaze for moment in performance.moments], np.float32)
        - np.array(performance.reference.gaze, np.float32),
        "brow": np.array([moment.brow for moment in performance.moments], np.float32),
    }


def _find_face(reference: Picture, warp: Warp) -> tuple[_Crop, Float] | None:
    """The crop as a portrait's analysis would choose it, and the 478 landmarks in its pixels."""
    half = RAW_SIZE // 2
    ticks = (np.arange(half, dtype=np.float32) + 0.5) / half
    source = warp.source_of(np.stack(np.meshgrid(ticks, ticks), axis=-1))
    faces = _analyser().detect(_to_bytes(_sampled(reference, source)))
    if not faces:
        return None
    face = max(faces, key=lambda found: found.size)
    points = face.landmarks / np.float32(half)
    low, high = points[list(SILHOUETTE)].min(axis=0), points[list(SILHOUETTE)].max(axis=0)
    side = CROP_SCALE * float((high - low).max())
    centre = (low + high) / 2 + (0, CROP_SHIFT * side)
    crop = _Crop(float(centre[0]) - side / 2, float(centre[1]) - side / 2, side)
    return crop, crop.inside(points)


def _sampling_map(warp: Warp, crop: _Crop, size: int) -> Float:
    """For each pixel of the crop, where in the raw picture (0..1) it comes from [size, size, 2]."""
    ticks = (np.arange(size, dtype=np.float32) + 0.5) / size * crop.side
    grid = np.stack(np.meshgrid(ticks + crop.left, ticks + crop.top), axis=-1).astype(np.float32)
    return warp.source_of(grid)


def _sampled(picture: Picture, source: Float) -> Float:
    # the rasteriser draws hard edges: each pixel is first averaged with its neighbours
    smooth = averaged(np.clip(picture.pixels, 0, 1), 2)
    return looked_up(smooth, source * np.float32(RAW_SIZE) - 1)


@dataclass(frozen=True)
class _View:
    """How the crop looks into the raw pictures."""

    warp: Warp
    crop: _Crop
    sampling: Float  # [128, 128, 2] where the crop's pixels come from, 0..1


def _motion(
    picture: Picture, reference: Picture, view: _View
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int16], npt.NDArray[np.bool_]]:
    """Materials, packed flow in pixels of the crop and visibility, see `_Shot`."""
    at = view.sampling * np.float32(RAW_SIZE)
    places, seen = reference_points(picture.shown, reference.shown, at)
    stretch_lids(picture.shown, reference.shown, at, places, seen)
    ends = view.crop.inside(view.warp.target_of(places / np.float32(RAW_SIZE)))
    rows_columns = at.astype(np.int32).clip(0, RAW_SIZE - 1)
    materials = materials_at(picture.shown, load_head_model(), (rows_columns[..., 1], rows_columns[..., 0]))
    flow = ends - _centres()
    flow[(materials == BACKDROP) | ~seen] = 0
    return materials, packed_flow(flow), seen


@cache
def _centres() -> Float:
    """Of the motion maps' pixels, in pixels of the crop [128, 128, 2]."""
    ticks = (np.arange(MOTION_SIZE, dtype=np.float32) + 0.5) * (FRAME_SIZE / MOTION_SIZE)
    return np.stack(np.meshgrid(ticks, ticks), axis=-1)


def _box(points: Float) -> tuple[float, float, float, float]:
    low, high = points.min(axis=0), points.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _to_bytes(picture: Float) -> Bytes:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


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
