"""Compares a video with the true one of the same speech, frame by frame, in constant memory."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from hallo_cli.analysis.face import CHIN, FOREHEAD, LIPS, Face
from hallo_cli.domain import Bytes, Float
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.evaluation.sync import correlate

GMSD_STABILISER = 170.0  # for greys of 0 to 255


class TruthMeter:
    """Feed it pairs of frames with their faces, then add the means to the figures.

    A true frame of another size is resized to the measured one.
    """

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = defaultdict(list)  # by the name of the figure
        self._opening: list[float] = []
        self._true_opening: list[float] = []

    def add(self, frame: Bytes, face: Face | None, true_frame: Bytes, true_face: Face | None) -> None:
        """Compare one pair of frames, [height, width, 3] RGB each."""
        height, width = frame.shape[:2]
        fitted = true_frame
        if true_frame.shape != frame.shape:
            fitted = np.asarray(
                cv2.resize(true_frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8
            )
        psnr = 100.0  # of equal frames; it would be infinite
        if not np.array_equal(frame, fitted):
            psnr = float(peak_signal_noise_ratio(fitted, frame))  # type: ignore[no-untyped-call]
        ssim = structural_similarity(fitted, frame, channel_axis=2)  # type: ignore[no-untyped-call]
        self._found["psnr"].append(psnr)
        self._found["ssim"].append(float(ssim))
        self._found["gmsd"].append(gradient_deviation(fitted, frame))
        self._opening.append(np.nan if face is None else face.mouth_opening)
        self._true_opening.append(np.nan if true_face is None else true_face.mouth_opening)
        if face is not None and true_face is not None:
            self._found["landmark_distance"].append(lip_distance(face.landmarks, true_face.landmarks))

    def added_to(self, figures: VideoFigures) -> VideoFigures:
        """The figures, with the means of all pairs filled in."""
        opening = correlate(np.array(self._opening, np.float32), np.array(self._true_opening, np.float32))
        if opening:
            figures = replace(figures, truth_opening=opening.correlation, truth_lag=opening.lag)
        means: dict[str, Any] = {name: float(np.mean(values)) for name, values in self._found.items()}
        return replace(figures, **means)


def lip_distance(landmarks: Float, true_landmarks: Float) -> float:
    """Mean distance of the lip landmarks, each mouth centred and in per cent of its face's height."""
    shapes = []
    for points in (landmarks, true_landmarks):
        lips = points[list(LIPS)]
        shapes.append((lips - lips.mean(0)) / np.linalg.norm(points[FOREHEAD] - points[CHIN]))
    return float(np.linalg.norm(shapes[0] - shapes[1], axis=1).mean() * 100)


def gradient_deviation(true_frame: Bytes, frame: Bytes) -> float:
    """The perceptual difference of two pictures [height, width, 3]: 0 if equal, 0.1 and more if degraded.

    Gradient magnitude similarity deviation (Xue et al. 2014, arXiv 1308.3052, equations 4 to 6): a perceptual
    distance that needs no network's weights.
    """
    true_edges, edges = (_gradient_magnitude(picture) for picture in (true_frame, frame))
    similarity = (2 * true_edges * edges + GMSD_STABILISER) / (true_edges**2 + edges**2 + GMSD_STABILISER)
    return float(similarity.std())


def _gradient_magnitude(picture: Bytes) -> Float:
    """Prewitt's gradient of the luminance at half the resolution, which stands for the viewing distance."""
    luminance = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    height, width = luminance.shape
    half = cv2.resize(luminance, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    across = np.tile(np.array([1, 0, -1], np.float32) / 3, (3, 1))
    steps = [cv2.filter2D(half, -1, kernel) for kernel in (across, np.ascontiguousarray(across.T))]
    return np.asarray(np.hypot(*steps), np.float32)
