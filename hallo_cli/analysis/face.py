"""Finds faces and measures them: box, 478 landmarks, head angles.

The two networks are those of MediaPipe's face landmarker (detector, landmarks of a rotated crop), run through
onnxruntime. Takes arrays, never files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import atan2, ceil, degrees
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from hallo_cli.analysis.detector import Detection, FaceDetector
from hallo_cli.domain import Bytes, Float

ASSETS = Path(__file__).parent.parent / "assets" / "face"
Matrix = npt.NDArray[np.float64]
CROP_SIZE = 256
CROP_SCALE = 1.5
MIN_PRESENCE = 0.5
CLEAR_PRESENCE = 0.97
MOST_TURNED = 12  # detections in all four turns that are measured
VIEW_SCALE = 3.0  # side of the square in which a face is looked at upright and turned / its own
# Margin (logits) by which the detector must prefer the turned face. Measured on 13 pictures, leaning by 0
# and 25 degrees to both sides: upright faces had 2.5 to 3.8, the same ones turned -3.2 to 1.7.
TURNED_MARGIN = 0.5
THOROUGH_LOOKS = 2  # the whole picture, padded, and the largest tiles

# Landmark indices (the numbering of MediaPipe's face mesh).
SILHOUETTE = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 146, 91, 181, 84, 17, 314, 405, 321, 375)
RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 33, 263
MOUTH_CORNERS = (61, 291)
RIGHT_CHEEK, LEFT_CHEEK = 234, 454
FOREHEAD, CHIN = 10, 152
UPPER_INNER_LIP, LOWER_INNER_LIP = 13, 14
EYES = ((159, 145, 33, 133), (386, 374, 263, 362))  # upper lid, lower lid, outer corner, inner corner


@dataclass(frozen=True)
class Face:
    """One measured face, in pixels of the picture it was found in."""

    box: Float  # [4] x0, y0, x1, y1: the detector's, or around the landmarks where tracked
    score: float  # 0..1, how sure the landmark network is that it sees a face
    landmarks: Float  # [478, 2] x, y
    depth: Float  # [478] towards the picture, in the same unit as x and y

    @property
    def size(self) -> float:
        """The longer side of the box around the face oval, in pixels."""
        return float(np.ptp(self.landmarks[list(SILHOUETTE)], axis=0).max())

    @property
    def yaw(self) -> float:
        """How far the head is turned, in degrees; 0 is frontal, positive to the picture's right."""
        width = self.landmarks[LEFT_CHEEK] - self.landmarks[RIGHT_CHEEK]
        return degrees(
            atan2(self.depth[LEFT_CHEEK] - self.depth[RIGHT_CHEEK], float(np.hypot(width[0], width[1])))
        )

    @property
    def pitch(self) -> float:
        """How far the head is nodded, in degrees; positive looks down."""
        height = self.landmarks[CHIN] - self.landmarks[FOREHEAD]
        return degrees(atan2(self.depth[CHIN] - self.depth[FOREHEAD], float(np.hypot(height[0], height[1]))))

    @property
    def roll(self) -> float:
        """How far the head is tilted, in degrees; positive clockwise as seen in the picture."""
        line = self.landmarks[LEFT_EYE_CORNER] - self.landmarks[RIGHT_EYE_CORNER]
        return degrees(atan2(line[1], line[0]))

    @property
    def mouth_opening(self) -> float:
        """Gap between the inner lips over the height of the face oval."""
        gap = np.linalg.norm(self.landmarks[LOWER_INNER_LIP] - self.landmarks[UPPER_INNER_LIP])
        return float(gap / np.linalg.norm(self.landmarks[CHIN] - self.landmarks[FOREHEAD]))

    @property
    def eye_opening(self) -> float:
        """Gap between the lids over the eye's width, mean of both eyes."""
        points = self.landmarks[np.array(EYES)]
        gap, width = (np.linalg.norm(points[:, i] - points[:, i + 1], axis=1) for i in (0, 2))
        return float((gap / np.maximum(width, 1e-6)).mean())


# Faces (None: no face) of one picture by the detection's box and key points.
_Measured = dict[tuple[bytes, bytes], Face | None]


class FaceAnalyser:
    """Holds the face networks; about 20 ms a face on two CPU cores."""

    def __init__(self, *, threads: int = 1, directory: Path = ASSETS) -> None:
        self._detector = FaceDetector(_session(directory / "face_detector.onnx", threads))
        self._landmarks = _session(directory / "face_landmarks.onnx", threads)

    @property
    def providers(self) -> list[str]:
        """The onnxruntime provider that the networks run on."""
        return list(self._landmarks.get_providers())

    def set_upright(self, rgb: Bytes) -> tuple[int, Bytes, list[Face]]:
        """Turn a picture [height, width, 3] until its largest face stands upright.

        Returns the counter-clockwise quarter turns (0 without a face), the turned picture, and its faces as
        a thorough `detect` finds them.
        """
        measured: _Measured = {}
        turns = self._quarter_turns(rgb, measured)
        if turns:
            rgb, measured = np.ascontiguousarray(np.rot90(rgb, turns)), {}
        return turns, rgb, self._detect(rgb, measured, thorough=True)

    def detect(self, rgb: Bytes, *, thorough: bool = False) -> list[Face]:
        """Return the faces of a [height, width, 3] uint8 RGB picture, largest first; empty where none is.

        Searches finer (padded, tiles) only until it finds a face; thorough: one more pass for smaller ones.
        """
        return self._detect(rgb, {}, thorough=thorough)

    def _detect(self, rgb: Bytes, measured: _Measured, *, thorough: bool) -> list[Face]:
        faces: list[Face] = []
        for look, found in enumerate(self._detector.searches(rgb)):
            self._add(faces, rgb, found, look, measured)
            if faces and (look >= THOROUGH_LOOKS or not thorough):
                break
        return sorted(faces, key=lambda f: -_area(f.box))

    def surest(self, rgb: Bytes) -> Face | None:
        """Return the face with the highest detection score, as MediaPipe's landmarker does, or None."""
        for look, found in enumerate(self._detector.searches(rgb)):
            for detection in found:
                face = self._measure(rgb, detection.box, _crop_of_detection(detection))
                if face and (look == 0 or face.score > CLEAR_PRESENCE):
                    return face
        return None

    def _quarter_turns(self, rgb: Bytes, measured: _Measured) -> int:
        for look, found in enumerate(self._detector.searches(rgb, turns=(0, 1, 2, 3))):
            faces: list[Face] = []
            self._add(faces, rgb, found[:MOST_TURNED], look, measured)
            if faces:
                return self._turns_of(rgb, max(faces, key=lambda face: face.size))
        return 0

    def _add(
        self, faces: list[Face], rgb: Bytes, found: Iterable[Detection], look: int, measured: _Measured
    ) -> None:
        """Add the detections that are faces, where there is none yet; `measured` holds and gets results."""
        for detection in found:
            if not any(_same_place(detection.box, face.box) for face in faces):
                place = detection.box.tobytes(), detection.keypoints.tobytes()
                if place not in measured:
                    measured[place] = self._measure(rgb, detection.box, _crop_of_detection(detection))
                face = measured[place]
                # Finer passes find more false positives.
                faces += [face] if face and (look == 0 or face.score > CLEAR_PRESENCE) else []

    def _turns_of(self, rgb: Bytes, face: Face) -> int:
        low, high = face.landmarks.min(axis=0), face.landmarks.max(axis=0)
        side = VIEW_SCALE * float((high - low).max())
        logits = self._detector.uprightness(rgb, (low + high) / 2, side)
        best = int(np.argmax(logits))
        return best if logits[best] > logits[0] + TURNED_MARGIN else 0

    def track(self, rgb: Bytes, previous: Face) -> Face | None:
        """Measure the face of the next video frame where the previous one was; None if it is lost.

        Skips the detector and moves less from frame to frame than `detect`.
        """
        return self._measure(rgb, None, _crop_of_landmarks(previous.landmarks))

    def _measure(self, rgb: Bytes, box: Float | None, crop: _RotatedCrop) -> Face | None:
        view, to_picture, scale = _cut(rgb, crop)
        rows, presence, _ = self._landmarks.run(None, {"x": view[None]})
        score = float(1 / (1 + np.exp(-np.clip(presence.item(), -80, 80))))
        if score < MIN_PRESENCE:
            return None
        points = rows.reshape(478, 3).astype(np.float32)
        landmarks = (points[:, :2] @ to_picture[:, :2].T + to_picture[:, 2]).astype(np.float32)
        if box is None:
            box = np.concatenate([landmarks.min(axis=0), landmarks.max(axis=0)])
        return Face(box.astype(np.float32), score, landmarks, points[:, 2] * scale)


@dataclass(frozen=True)
class _RotatedCrop:
    """A square of the picture for a network."""

    centre: tuple[float, float]
    side: float
    angle: float  # of its upper edge, in radians


def _session(file: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that wait in a loop for such small networks' next layer take thrice the processor time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def _crop_of_detection(found: Detection) -> _RotatedCrop:
    return _crop(found.box, found.keypoints[0], found.keypoints[1])


def _crop_of_landmarks(landmarks: Float) -> _RotatedCrop:
    box = np.concatenate([landmarks.min(axis=0), landmarks.max(axis=0)])
    return _crop(box, landmarks[RIGHT_EYE_CORNER], landmarks[LEFT_EYE_CORNER])


def _crop(box: Float, right_eye: Float, left_eye: Float) -> _RotatedCrop:
    line = left_eye - right_eye
    side = CROP_SCALE * float(max(box[2] - box[0], box[3] - box[1]))
    centre = (float(box[0] + box[2]) / 2, float(box[1] + box[3]) / 2)
    return _RotatedCrop(centre, side, atan2(line[1], line[0]))


def _cut(rgb: Bytes, crop: _RotatedCrop) -> tuple[Float, Float, float]:
    """Return the view [256, 256, 3] in 0..1, the map [2, 3] from it to the picture, and pixels per pixel."""
    scale = crop.side / CROP_SIZE
    cos, sin = np.cos(crop.angle) * scale, np.sin(crop.angle) * scale
    linear = np.array([[cos, -sin], [sin, cos]])
    offset = crop.centre - linear @ np.full(2, CROP_SIZE / 2)
    to_picture = np.column_stack([linear, offset])
    # Pixel centres lie at halves; warpAffine counts them as whole numbers.
    sampling = np.column_stack([linear, offset + linear @ [0.5, 0.5] - 0.5])
    source, sampling = _shrunk(rgb, sampling, scale)
    view = cv2.warpAffine(
        source,
        sampling,
        (CROP_SIZE, CROP_SIZE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return view.astype(np.float32) / np.float32(255), to_picture.astype(np.float32), scale


def _shrunk(rgb: Bytes, sampling: Matrix, scale: float) -> tuple[Bytes, Matrix]:
    """Shrink a picture that would be sampled too coarsely, so that it does not alias."""
    if scale < 2:
        return rgb, sampling
    height, width = rgb.shape[:2]
    size = (ceil(width / scale), ceil(height / scale))
    ratio = np.array([size[0] / width, size[1] / height])
    shrunk = sampling * ratio[:, None]
    shrunk[:, 2] = (sampling[:, 2] + 0.5) * ratio - 0.5
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8), shrunk


def _same_place(a: Float, b: Float) -> bool:
    """Say whether the centre of either box lies in the other."""
    return _holds(a, (b[:2] + b[2:]) / 2) or _holds(b, (a[:2] + a[2:]) / 2)


def _holds(box: Float, point: Float | Matrix) -> bool:
    return bool((box[:2] <= point).all() and (point <= box[2:]).all())


def _area(box: Float) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
