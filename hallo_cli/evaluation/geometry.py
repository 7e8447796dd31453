"""Regions and distances on the 478 face landmarks, in the pixels of the picture they were found in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from hallo_cli.analysis.face import LIPS, SILHOUETTE
from hallo_cli.domain import Bytes, Float

if TYPE_CHECKING:
    from collections.abc import Sequence

Mask = npt.NDArray[np.bool_]

EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
_CUT_SIDE = 256  # pixels of the longer side while person and background are told apart
_CUT_EDGE = 9  # of these pixels around the person that count as hers
_LEAST_BACKGROUND = 0.02  # of the picture
STEADY = (33, 133, 263, 362, 168, 6, 197, 195, 4, 127, 356)  # eye corners, nose, temples


def polygon(points: Float, size: Sequence[int], *, scale: float = 1.0) -> Mask:
    """The filled polygon of `points` [n, 2], scaled about its centre, on a picture of (height, width)."""
    centre = points.mean(0)
    canvas = np.zeros(tuple(size), np.uint8)
    hull = cv2.convexHull(((points - centre) * scale + centre).round().astype(np.int32))
    cv2.fillPoly(canvas, [hull], 1)
    return canvas.astype(bool)


def background(picture: Bytes, landmarks: Float) -> Mask | None:
    """What is neither head nor shoulders, found by GrabCut from the face's place; None if hardly anything is.

    Source: Rother, Kolmogorov and Blake, "GrabCut", 2004.
    """
    scale = _CUT_SIDE / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    face = landmarks[list(SILHOUETTE)] * np.float32(scale)
    guess = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
    guess[polygon(face, guess.shape, scale=1.7) | polygon(_shoulders(face, len(small)), guess.shape)] = (
        cv2.GC_PR_FGD
    )
    guess[polygon(face, guess.shape)] = cv2.GC_FGD
    if not (guess == cv2.GC_PR_BGD).any():
        return None
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(small, guess, (0, 0, 0, 0), *models, 6, cv2.GC_INIT_WITH_MASK)
    person = np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    grown = cv2.dilate(person, np.ones((_CUT_EDGE, _CUT_EDGE)))
    size = picture.shape[1], picture.shape[0]
    outside = cv2.resize(1 - grown, size, interpolation=cv2.INTER_NEAREST).astype(bool)
    return outside if outside.mean() >= _LEAST_BACKGROUND else None


def _shoulders(face: Float, bottom: int) -> Float:
    (left, _), (right, chin) = face.min(0), face.max(0)
    width = right - left
    corners = [(left + 0.2 * width, chin), (right - 0.2 * width, chin)]
    corners += [(right + 0.7 * width, bottom), (left - 0.7 * width, bottom)]
    return np.array(corners, np.float32)


def upper_face(landmarks: Float, size: Sequence[int]) -> Mask:
    """The face's oval above the tip of the nose, without the eyes, which blink."""
    rows = np.arange(size[0])[:, None] < landmarks[4, 1]
    mask: Mask = np.asarray(polygon(landmarks[list(SILHOUETTE)], size) & rows, np.bool_)
    for eye in EYES:
        mask &= ~polygon(landmarks[list(eye)], size, scale=1.9)
    return mask


def mouth(landmarks: Float, size: Sequence[int]) -> Mask:
    """The mouth with its surroundings."""
    return polygon(landmarks[list(LIPS)], size, scale=1.6)


def align(frame: Bytes, landmarks: Float, reference: Float, size: tuple[int, int]) -> Bytes:
    """The frame moved, turned and scaled so that its steady landmarks lie on the reference's.

    `size` is (height, width) of the result. A frame that fits to half a pixel is returned as it is.
    """
    points, target = landmarks[list(STEADY)], reference[list(STEADY)]
    if frame.shape[:2] == size and np.abs(points - target).max() < 0.5:
        return frame
    matrix, _ = cv2.estimateAffinePartial2D(points, target, method=cv2.LMEDS)
    if matrix is None:
        return frame
    moved = cv2.warpAffine(frame, matrix, size[::-1], flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def lay_over(picture: Bytes, landmarks: Float, frame: Bytes, target: Float) -> Bytes:
    """The picture in the geometry of a video's frame, by landmarks and then by the pixels themselves.

    Landmarks alone are a pixel or so off, which structural similarity punishes far from the face.
    """
    matrix, _ = cv2.estimateAffinePartial2D(landmarks[list(STEADY)], target[list(STEADY)], method=cv2.LMEDS)
    if matrix is None:
        return align(picture, landmarks, target, (frame.shape[0], frame.shape[1]))
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 1:  # shrink without aliasing first
        shrunk = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        ratio = np.array([shrunk.shape[1] / picture.shape[1], shrunk.shape[0] / picture.shape[0]])
        picture, matrix = np.asarray(shrunk, np.uint8), np.column_stack([matrix[:, :2] / ratio, matrix[:, 2]])
    refined = _refined(picture, frame, np.asarray(matrix, np.float64))
    size = frame.shape[1], frame.shape[0]
    laid = cv2.warpAffine(picture, refined, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(laid, np.uint8)


def _refined(picture: Bytes, frame: Bytes, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The matrix [2, 3] from picture to frame that fits the grey values best, near the given one."""
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (frame, picture)]
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)
    backwards = cv2.invertAffineTransform(matrix).astype(np.float32)
    try:
        _, found = cv2.findTransformECC(grey[0], grey[1], backwards, cv2.MOTION_AFFINE, criteria, None, 5)  # type: ignore[call-overload]
    except cv2.error:  # no convergence: keep the landmarks' fit
        return matrix
    return np.asarray(cv2.invertAffineTransform(found), np.float64)
