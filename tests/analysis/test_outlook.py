import cv2
import numpy as np
import pytest

from hallo_cli.analysis.face import MOUTH_CORNERS, SILHOUETTE, Face, FaceAnalyser
from hallo_cli.analysis.outlook import BARE_MOUTH, Light, grade, light_of, mouth_relief, reasons
from hallo_cli.domain import Bytes

EVEN = Light(level=120.0, unevenness=1.1)


def face_of(width: float, *, tilt: float = 0.0) -> Face:
    """A flat frontal face: an oval of that width around (100, 100), turned by `tilt` degrees."""
    landmarks = np.full((478, 2), 100.0, np.float32)
    angles = np.linspace(0, 2 * np.pi, len(SILHOUETTE), endpoint=False)
    landmarks[list(SILHOUETTE)] += width / 2 * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    turn = np.radians(tilt)
    landmarks[[33, 263]] = 100 + 20 * np.array([[-np.cos(turn), -np.sin(turn)], [np.cos(turn), np.sin(turn)]])
    return Face(np.array([0, 0, 200, 200], np.float32), 1.0, landmarks, np.zeros(478, np.float32))


def test_large_sharp_frontal_face_is_good() -> None:
    found = reasons(face_of(200), sharpness=200, light=EVEN, mouth_relief=5.0, size=256)
    assert (grade(found), found) == ("good", ())


@pytest.mark.parametrize(
    ("width", "sharpness", "light", "tilt", "said", "expected"),
    [
        (150, 200, EVEN, 0, "small", "fair"),
        (80, 200, EVEN, 0, "small", "poor"),
        (200, 45, EVEN, 0, "rather soft", "fair"),
        (200, 10, EVEN, 0, "blurred", "poor"),
        (200, 200, Light(30, 1), 0, "dark", "poor"),
        (200, 200, Light(120, 1, flatness=0.7), 0, "flat colours", "poor"),
        (200, 200, Light(55, 1), 0, "dark", "fair"),
        (200, 200, Light(240, 1), 0, "too bright", "fair"),
        (200, 200, Light(120, 3), 0, "from one side", "fair"),
        (200, 200, EVEN, 25, "tilted 25 degrees", "fair"),
    ],
)
def test_each_fault_is_named_and_graded(
    width: float, sharpness: float, light: Light, tilt: float, said: str, expected: str
) -> None:
    found = reasons(face_of(width, tilt=tilt), sharpness=sharpness, light=light, mouth_relief=5.0, size=256)
    assert [said in reason.text for reason in found] == [True]
    assert grade(found) == expected


@pytest.mark.parametrize(("gap", "is_told"), [(12, False), (30, True)])
def test_wide_open_mouth_is_told_and_a_smile_is_not(gap: float, is_told: bool) -> None:
    face = face_of(200)
    face.landmarks[13], face.landmarks[14] = (100, 120), (100, 120 + gap)
    found = reasons(face, sharpness=200, light=EVEN, mouth_relief=5.0, size=256)
    assert any("mouth is wide open" in reason.text for reason in found) is is_told


def test_light_is_measured_on_the_face_only() -> None:
    picture: Bytes = np.zeros((200, 200, 3), np.uint8)
    picture[40:160, 40:160] = 100
    light = light_of(picture, face_of(100))
    assert light.level == pytest.approx(100, abs=1)
    assert light.unevenness == pytest.approx(1, abs=0.02)


def test_flat_drawing_is_told_from_a_photograph_and_a_soft_gradient(
    analyser: FaceAnalyser, astronaut: Bytes
) -> None:
    picture: Bytes = np.full((200, 200, 3), 180, np.uint8)
    picture[90:100, 80:120] = 20
    assert light_of(picture, face_of(100)).flatness > 0.8
    shading = 128 + 100 * np.sin(np.arange(200) / 12)
    shaded = np.broadcast_to(shading[:, None, None], (200, 200, 3)).astype(np.uint8)
    assert light_of(shaded, face_of(100)).flatness < 0.5
    (face,) = analyser.detect(astronaut)
    assert light_of(astronaut, face).flatness < 0.05


def test_light_from_one_side_is_seen() -> None:
    picture: Bytes = np.full((200, 200, 3), 50, np.uint8)
    picture[:, 100:] = 200
    assert light_of(picture, face_of(100)).unevenness > 3


def test_face_at_the_pictures_edge_has_light_too() -> None:
    picture: Bytes = np.full((120, 120, 3), 90, np.uint8)
    assert light_of(picture, face_of(100)).level == pytest.approx(90, abs=1)


def hidden_mouth(picture: Bytes, face: Face, cover: str) -> Bytes:
    """The picture with a mask, a microphone or the fingers of a hand before its mouth."""
    found = picture.copy()
    corners = face.landmarks[list(MOUTH_CORNERS)]
    middle, width = corners.mean(axis=0), float(np.ptp(corners[:, 0]))
    if cover == "microphone":
        cv2.circle(found, tuple(middle.astype(int)), int(0.6 * width), (40, 40, 42), -1, cv2.LINE_AA)
    elif cover == "mask":
        top = (middle - np.array([1.2, 0.7]) * width).astype(int)
        bottom = (middle + np.array([1.2, 1.1]) * width).astype(int)
        cv2.rectangle(found, top.tolist(), bottom.tolist(), (150, 190, 215), -1)
    else:
        for finger in range(-2, 3):
            start = (middle + np.array([-1.6, 0.33 * finger]) * width).astype(int)
            end = (middle + np.array([1.4, 0.33 * finger + 0.2]) * width).astype(int)
            skin = (205 + 4 * finger, 160, 130)
            cv2.line(found, start.tolist(), end.tolist(), skin, int(0.36 * width), cv2.LINE_AA)
    return found


@pytest.mark.parametrize("cover", ["mask", "microphone", "hand"])
def test_something_before_the_mouth_is_noticed(analyser: FaceAnalyser, astronaut: Bytes, cover: str) -> None:
    (face,) = analyser.detect(astronaut)
    assert mouth_relief(astronaut, face) > 1.4 * BARE_MOUTH
    covered = hidden_mouth(astronaut, face, cover)
    relief = mouth_relief(covered, face)
    assert relief < 0.7 * BARE_MOUTH
    found = reasons(face, sharpness=200, light=EVEN, mouth_relief=relief, size=64)
    assert (grade(found), ["cover the mouth" in reason.text for reason in found]) == ("poor", [True])
