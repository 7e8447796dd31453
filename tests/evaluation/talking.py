"""A picture that speaks with known mouth openings, and the recording to it, for testing the meter."""

from pathlib import Path

import cv2
import numpy as np

import hallo_cli
from hallo_cli.analysis.face import CHIN, Face, FaceAnalyser
from hallo_cli.domain import Bytes, Float
from hallo_cli.errors import PortraitError
from hallo_cli.evaluation.geometry import EYES
from hallo_cli.media.image import read_image

PORTRAIT = Path(hallo_cli.__file__).parent / "assets" / "examples" / "portrait_astronaut.png"
FPS = 25.0


def portrait_crop(size: int = 224) -> Bytes:
    picture = read_image(PORTRAIT)
    points = FaceAnalyser().detect(picture)[0].landmarks
    centre, half = points.mean(0), np.ptp(points, axis=0).max() * 0.8
    left, top = (centre - half).astype(int)
    crop = picture[top : top + int(2 * half), left : left + int(2 * half)]
    return np.asarray(cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def open_mouth(picture: Bytes, landmarks: Float, opening: float) -> Bytes:
    """Everything from the lips to the chin moved down, the gap filled dark; opening in 0..1."""
    height, width = picture.shape[:2]
    lip, chin = landmarks[14], landmarks[CHIN]
    half = np.linalg.norm(landmarks[61] - landmarks[291]) * 0.5
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    drop = opening * 0.45 * (chin[1] - lip[1]) * np.clip(1 - ((columns - lip[0]) / half) ** 2, 0, 1)
    fade = np.clip((chin[1] + 0.5 * half - rows) / (chin[1] + 0.5 * half - lip[1]), 0, 1)
    moved = cv2.remap(picture, columns, (rows - drop * fade).astype(np.float32), cv2.INTER_LINEAR)
    result = np.where((rows < lip[1])[..., None], picture, moved)
    gap = (rows >= lip[1]) & (rows < lip[1] + drop) & (drop > 0.5)
    result[gap] = (40, 15, 15)
    return np.asarray(result, np.uint8)


def shut_eyes(picture: Bytes, landmarks: Float) -> Bytes:
    """The lids drawn over the eyes, with a line of lashes at the bottom."""
    result = picture.copy()
    for eye in EYES:
        points = landmarks[list(eye)]
        centre = points.mean(0)
        hull = cv2.convexHull(((points - centre) * (1.1, 1.7) + centre).round().astype(np.int32))
        above = picture[int(points[:, 1].min()) - 6, int(centre[0])]
        cv2.fillPoly(result, [hull], above.tolist())
        lower = landmarks[list(eye)][9:].round().astype(np.int32)
        cv2.polylines(result, [lower], False, (60, 35, 30), 2)
    return cv2.GaussianBlur(result, (0, 0), 0.7)


def speech_like(openings: Float, *, seed: int = 0) -> Float:
    """Noise whose level follows the openings, 16 kHz; silent where they are 0."""
    noise = np.random.default_rng(seed).standard_normal(len(openings) * 640)
    level = np.interp(np.arange(len(noise)) / 640, np.arange(len(openings)) + 0.5, openings)
    return (0.2 * noise * level).astype(np.float32)


def openings(n_frames: int, *, seed: int = 1) -> Float:
    """A syllable-like series in 0..1."""
    noise = np.random.default_rng(seed).standard_normal(n_frames + 8)
    smooth = np.convolve(noise, np.hanning(5), "same")[4:-4]
    return np.clip(0.45 + 0.35 * smooth, 0.02, 1).astype(np.float32)


class ColourNetwork:
    """Stands in for an identity network: the colour around the nose, of a face that is not too dark."""

    def embed(self, picture: Bytes, face: Face) -> Float:
        x, y = face.landmarks[4].astype(int)
        colour = picture[y - 5 : y + 5, x - 5 : x + 5].reshape(-1, 3).mean(0).astype(np.float32)
        if colour.sum() < 150:
            raise PortraitError("too dark")
        return colour
