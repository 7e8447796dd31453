"""Measures a video frame by frame in constant memory: it keeps a few numbers a frame, never the frames."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from skimage.metrics import structural_similarity

from hallo_cli.analysis.face import SILHOUETTE, Face, FaceAnalyser
from hallo_cli.domain import Bytes, Float
from hallo_cli.errors import PortraitError
from hallo_cli.evaluation import geometry
from hallo_cli.evaluation.curves import MAX_JOINS, Curves, relative, sampled
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.evaluation.joins import seam_jump
from hallo_cli.evaluation.sync import LEAST_S, SILENCE_DB, correlate, silence_motion, speech_envelope

if TYPE_CHECKING:
    from hallo_cli.analysis.identity import IdentityNetwork

SSIM_EVERY = 5  # frames between two expensive comparisons
LEAST_MOTION = 0.002  # of the face's height; the landmarks' noise in a still picture is a fifth of it
BLACK_LEVEL = 6.0
SHUT_EYES = 0.6  # of the eyes' usual opening; looking down takes longer than a blink
MAX_BLINK_S = 0.5
FROZEN_FRAMES = 13  # half a second without any change, while somebody speaks


@dataclass
class _Series:
    """One number a frame (NaN: not measured)."""

    opening: list[float] = field(default_factory=list)
    eyes: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)  # to the frame before, whole picture, grey levels
    mouth_change: list[float] = field(default_factory=list)
    still_change: list[float] = field(default_factory=list)  # outside the face
    sharpness: list[float] = field(default_factory=list)
    brightness: list[float] = field(default_factory=list)
    colour: list[Float] = field(default_factory=list)  # mean RGB of the face
    identity: list[float] = field(default_factory=list)
    upper_ssim: list[float] = field(default_factory=list)
    background_ssim: list[float] = field(default_factory=list)
    background_change: list[float] = field(default_factory=list)


class VideoMeter:
    """Call `add` with every frame in order, then `figures`.

    `reference` is the portrait at the frames' size; without it the first frame serves. With an identity
    network that sees the reference's face the identity is the cosine of embeddings, else the aligned upper
    face's SSIM.
    """

    def __init__(
        self,
        analyser: FaceAnalyser,
        *,
        reference: Bytes | None = None,
        identity: IdentityNetwork | None = None,
    ) -> None:
        self._analyser = analyser
        self._identity = identity
        self._series = _Series()
        self._reference = reference
        self._reference_embedding: Float | None = None
        self._landmarks: Float | None = None  # of the reference
        self._upper: geometry.Mask | None = None
        self._background: geometry.Mask | None = None
        self._before: Bytes | None = None
        self.face: Face | None = None  # in the frame looked at last
        self._size: tuple[int, ...] | None = None  # of that frame

    def add(self, frame: Bytes) -> None:
        """Measure one frame, [height, width, 3] RGB."""
        self.measure(frame, self.find(frame))

    def find(self, frame: Bytes) -> Face | None:
        """The face in the next frame, tracked from the previous one: the first half of `add`."""
        is_next = self.face is not None and self._size == frame.shape
        tracked = self._analyser.track(frame, self.face) if self.face is not None and is_next else None
        self.face, self._size = tracked or next(iter(self._analyser.detect(frame)), None), frame.shape
        return self.face

    def measure(self, frame: Bytes, face: Face | None) -> None:
        """The second half of `add`: it does not wait for the faces of later frames."""
        if self._reference is None:
            self._reference = frame
        if self._landmarks is None:
            self._prepare(self._reference)
        found = None if face is None else face.landmarks
        series = self._series
        series.opening.append(np.nan if face is None else face.mouth_opening)
        series.eyes.append(np.nan if face is None else face.eye_opening)
        series.brightness.append(float(frame.mean()))
        self._measure_changes(frame, found)
        self._measure_face(frame, found)
        if (len(series.opening) - 1) % SSIM_EVERY == 0:
            self._measure_likeness(frame, face)
        self._before = frame

    def figures(self, waveform: Float | None, fps: float, *, joins: tuple[int, ...] = ()) -> VideoFigures:
        """All that was measured; `joins` are the first frames of clips and segments."""
        series = self._series
        identity = _known(series.identity)
        figures = VideoFigures(
            n_frames=len(series.opening),
            face_share=float(np.isfinite(self.opening).mean()) if series.opening else 0.0,
            opening_range=_range(self.opening),
            blinks=count_blinks(np.array(series.eyes, np.float32), fps),
            identity=_mean(identity),
            identity_kind="aligned upper face" if self._reference_embedding is None else "face embedding",
            upper_face_ssim=_mean(_known(series.upper_ssim)),
            background_ssim=_mean(_known(series.background_ssim)),
            background_change=_mean(_known(series.background_change)),
            flicker=_mean(_known(series.still_change)),
            sharpness=self._relative_sharpness(),
            drift_colour=_drift(np.array(series.colour).mean(1)) if series.colour else None,
            drift_sharpness=_drift(_known(series.sharpness)),
            drift_identity=_drift(identity),
            black_frames=int(np.sum(np.array(series.brightness) < BLACK_LEVEL)),
            notes=tuple(self._notes()),
        )
        return self._with_joins(self._with_speech(figures, waveform, fps), joins)

    def curves(self, waveform: Float | None, fps: float, *, joins: tuple[int, ...] = ()) -> Curves:
        """The same over time, to be plotted."""
        series, n_frames = self._series, len(self._series.opening)
        level = speech_envelope(waveform, n_frames, fps) if waveform is not None and n_frames else np.zeros(0)
        colour = np.array(series.colour, np.float32).reshape(-1, 3).mean(1)
        return Curves(
            seconds=n_frames / fps,
            opening=sampled(self.opening),
            level=sampled(np.asarray(level, np.float32)),
            motion=sampled(np.array(series.change, np.float32)),
            colour=sampled(relative(colour)),
            sharpness=sampled(relative(np.array(series.sharpness, np.float32))),
            likeness=sampled(relative(np.array(series.identity, np.float32))),
            joins=tuple(round(join / n_frames, 5) for join in joins if join < n_frames)[:MAX_JOINS],
        )

    @property
    def opening(self) -> Float:
        """Mouth opening of every frame so far, as a share of the face's height."""
        return np.array(self._series.opening, np.float32)

    def _with_speech(self, figures: VideoFigures, waveform: Float | None, fps: float) -> VideoFigures:
        """Add the figures of the lips."""
        opening = self.opening
        moves = bool(np.isfinite(opening).any() and np.nanstd(opening) > LEAST_MOTION)
        notes = [] if moves else ["the mouth hardly moves: neither sync nor motion in silence was measured"]
        if waveform is None:
            notes.insert(0, "no sound: lips and speech were not compared")
            return replace(figures, notes=(*notes, *figures.notes))
        envelope = speech_envelope(waveform, len(opening), fps)
        sync = correlate(opening, envelope) if moves else None
        silence = silence_motion(np.abs(np.diff(opening, prepend=np.nan)), envelope, fps)
        pixels = silence_motion(np.array(self._series.mouth_change, np.float32), envelope, fps)
        if silence.n_frames < LEAST_S * fps:
            notes.append("less than a second of silence: motion in it was not measured")
        return replace(
            figures,
            sync_correlation=sync.correlation if sync else None,
            sync_lag=sync.lag if sync else None,
            sync_at_zero=sync.at_zero if sync else None,
            sync_confidence=sync.confidence if sync else None,
            silence_motion=silence.motion if moves else None,  # else the landmarks' trembling by itself
            silence_change=pixels.motion if moves else None,
            silence_frames=silence.n_frames,
            frozen_frames=_frozen(np.array(self._series.change), envelope),
            notes=(*notes, *figures.notes),
        )

    def _with_joins(self, figures: VideoFigures, joins: tuple[int, ...]) -> VideoFigures:
        found = seam_jump(np.array(self._series.change, np.float32), joins)
        return replace(figures, **vars(found)) if found else figures

    def _prepare(self, reference: Bytes) -> None:
        faces = self._analyser.detect(reference)
        if faces:
            self._landmarks = faces[0].landmarks
            self._upper = geometry.upper_face(self._landmarks, reference.shape[:2])
            self._background = geometry.background(reference, self._landmarks)
            self._reference_embedding = self._embedding(reference, faces[0])

    def _embedding(self, picture: Bytes, face: Face) -> Float | None:
        """None if there is no network, or where it does not see this face."""
        if self._identity is None:
            return None
        try:
            return self._identity.embed(picture, face)
        except PortraitError:
            return None

    def _measure_changes(self, frame: Bytes, found: Float | None) -> None:
        series = self._series
        if self._before is None or self._before.shape != frame.shape:
            for values in (series.change, series.mouth_change, series.still_change):
                values.append(np.nan)
            return
        change = np.abs(frame.astype(np.int16) - self._before).mean(2)
        series.change.append(float(change.mean()))
        mouth = None if found is None else geometry.mouth(found, frame.shape[:2])
        series.mouth_change.append(_mean_in(change, mouth))
        series.still_change.append(_mean_in(change, self._background))

    def _measure_face(self, frame: Bytes, found: Float | None) -> None:
        if found is None:
            self._series.sharpness.append(np.nan)
            self._series.colour.append(frame.reshape(-1, 3).mean(0).astype(np.float32))
            return
        face = geometry.polygon(found[list(SILHOUETTE)], frame.shape[:2])
        self._series.sharpness.append(_sharpness(frame, face))
        self._series.colour.append(frame[face].mean(0).astype(np.float32))

    def _measure_likeness(self, frame: Bytes, face: Face | None) -> None:
        reference, outside = self._reference, self._background
        if face is None or self._landmarks is None or reference is None:
            return
        upper_ssim = self._upper_face_ssim(frame, face.landmarks)
        self._series.upper_ssim.append(upper_ssim)
        likeness = upper_ssim
        if self._reference_embedding is not None:
            embedding = self._embedding(frame, face)
            likeness = np.nan if embedding is None else _cosine(embedding, self._reference_embedding)
        self._series.identity.append(likeness)
        if frame.shape == reference.shape:
            self._series.background_ssim.append(_mean_in(_ssim(frame, reference), outside))
            change = np.abs(frame.astype(np.int16) - reference).mean(2)
            self._series.background_change.append(_mean_in(change, outside))

    def _upper_face_ssim(self, frame: Bytes, found: Float) -> float:
        """The better result of the frame unaligned and aligned: landmarks are noisier than a still head."""
        assert self._reference is not None
        assert self._landmarks is not None
        height, width = self._reference.shape[:2]
        aligned = geometry.align(frame, found, self._landmarks, (height, width))
        candidates = [aligned] if frame.shape != self._reference.shape else [aligned, frame]
        return max(_mean_in(_ssim(candidate, self._reference), self._upper) for candidate in candidates)

    def _relative_sharpness(self) -> float | None:
        if self._landmarks is None or self._reference is None:
            return None
        oval = self._landmarks[list(SILHOUETTE)]
        own = _sharpness(self._reference, geometry.polygon(oval, self._reference.shape[:2]))
        mean = _mean(_known(self._series.sharpness))
        return None if mean is None or own < 1e-6 else mean / own

    def _notes(self) -> list[str]:
        """Notes about the comparison with the reference."""
        if self._landmarks is None:
            return ["no face in the reference picture: nothing was compared with it"]
        if self._identity is None:
            return []
        if self._reference_embedding is None:
            return ["the identity network finds no face in the portrait: identity was measured without it"]
        compared = self._series.identity
        n_unseen = int(np.isnan(compared).sum())
        if n_unseen == 0:
            return []
        return [
            f"the identity network finds no face in {n_unseen} of the {len(compared)} frames it was given"
        ]


def count_blinks(eyes: Float, fps: float) -> int | None:
    """How often the eyes' opening [frames] falls below 0.6 of its median for half a second at most."""
    known = _known(eyes)
    if not len(known):
        return None
    is_shut = np.concatenate([[False], eyes < SHUT_EYES * np.median(known), [False]])
    first, behind = np.flatnonzero(np.diff(is_shut.astype(np.int8))).reshape(-1, 2).T
    return int(np.sum(behind - first <= MAX_BLINK_S * fps))


def _frozen(change: Float, envelope: Float) -> int:
    still = (change < 1e-3) & (envelope[: len(change)] > SILENCE_DB)
    runs = np.split(still, np.flatnonzero(np.diff(still)) + 1)
    return sum(len(run) for run in runs if len(run) and run[0] and len(run) >= FROZEN_FRAMES)


def _drift(values: Float) -> float | None:
    """Change from the first tenth to the last, as a share of the first."""
    tenth = len(values) // 10
    if tenth < 3:
        return None
    first, last = float(np.mean(values[:tenth])), float(np.mean(values[-tenth:]))
    return abs(last - first) / max(abs(first), 1e-6)


def _sharpness(frame: Bytes, mask: geometry.Mask) -> float:
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    gradient = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    return _mean_in(gradient, mask)


def _ssim(frame: Bytes, reference: Bytes) -> Float:
    _, pixels = structural_similarity(  # type: ignore[no-untyped-call]
        frame, reference, channel_axis=2, data_range=255, full=True
    )
    return np.asarray(pixels.mean(2), np.float32)


def _cosine(a: Float, b: Float) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9))


def _mean_in(values: Float, mask: geometry.Mask | None) -> float:
    return float(values[mask].mean()) if mask is not None and mask.any() else float("nan")


def _known(values: Float | list[float]) -> Float:
    array = np.asarray(values, np.float32)
    return array[np.isfinite(array)]


def _mean(values: Float) -> float | None:
    return float(values.mean()) if len(values) else None


def _range(opening: Float) -> float | None:
    known = _known(opening)
    return float(np.subtract(*np.percentile(known, [95, 5]))) if len(known) > 11 else None
