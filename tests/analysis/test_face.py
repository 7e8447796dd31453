"""Faces are found wherever they are in the picture, and measured the same way."""

import cv2
import numpy as np
import pytest

from hallo_cli.analysis.face import LEFT_EYE_CORNER, RIGHT_EYE_CORNER, Face, FaceAnalyser
from hallo_cli.domain import Bytes


def eye_distance(face: Face) -> float:
    return float(np.linalg.norm(face.landmarks[LEFT_EYE_CORNER] - face.landmarks[RIGHT_EYE_CORNER]))


def mean_error(a: Face, b: Face) -> float:
    """Mean landmark distance over the eye distance."""
    return float(np.linalg.norm(a.landmarks - b.landmarks, axis=1).mean()) / eye_distance(a)


def test_astronaut_has_one_smiling_face_looking_ahead(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    (face,) = analyser.detect(astronaut)
    assert np.allclose(face.box, [178, 81, 272, 175], atol=4)
    assert 95 < face.size < 120
    assert abs(face.yaw) < 10
    assert abs(face.roll) < 10
    assert 0.2 < face.eye_opening < 0.6
    assert face.score > 0.9
    assert face.landmarks.shape == (478, 2)


def test_landmarks_lie_on_the_features(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    (face,) = analyser.detect(astronaut)
    iris_right, iris_left, nose = face.landmarks[468], face.landmarks[473], face.landmarks[4]
    assert np.allclose(iris_right, [204, 102], atol=4)
    assert np.allclose(iris_left, [246, 103], atol=4)
    assert np.allclose(nose, [224, 125], atol=5)


def test_shifting_the_picture_shifts_the_landmarks(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    (face,) = analyser.detect(astronaut)
    (moved,) = analyser.detect(np.roll(astronaut, (60, 90), axis=(0, 1)))
    # The detector sees another sampling of the picture; two per cent of the eye distance is under a pixel.
    assert np.abs(moved.landmarks - face.landmarks - [90, 60]).mean() < 0.02 * eye_distance(face)


@pytest.mark.parametrize("angle", [-30.0, 30.0])
def test_tilted_head_is_measured_upright(analyser: FaceAnalyser, astronaut: Bytes, angle: float) -> None:
    (face,) = analyser.detect(astronaut)
    turn = cv2.getRotationMatrix2D((225.0, 128.0), angle, 1.0)
    (tilted,) = analyser.detect(cv2.warpAffine(astronaut, turn, (512, 512)))
    expected = face.landmarks @ turn[:, :2].T + turn[:, 2]
    assert np.linalg.norm(tilted.landmarks - expected, axis=1).mean() < 0.06 * eye_distance(face)
    assert tilted.roll - face.roll == pytest.approx(-angle, abs=4)


def test_small_face_in_a_wide_picture_is_found(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    wide = np.full((700, 2400, 3), 90, np.uint8)
    wide[100:356, 1900:2156] = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    (face,) = analyser.detect(wide)
    assert np.allclose(face.landmarks[4], [1900 + 112, 100 + 62], atol=6)


def test_face_that_fills_the_picture_is_found(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    (face,) = analyser.detect(np.ascontiguousarray(astronaut[75:185, 170:282]))
    assert face.size > 90


def test_two_faces_are_listed_largest_first(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    small = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    both = np.hstack([cv2.copyMakeBorder(small, 0, 256, 0, 0, cv2.BORDER_CONSTANT), astronaut])
    first, second = analyser.detect(both, thorough=True)
    assert first.size > second.size
    assert first.landmarks[:, 0].min() > 256 > second.landmarks[:, 0].max()


@pytest.mark.parametrize("value", [0, 127, 255])
def test_plain_picture_has_no_face(analyser: FaceAnalyser, value: int) -> None:
    assert analyser.detect(np.full((300, 500, 3), value, np.uint8)) == []


def test_noise_has_no_face(analyser: FaceAnalyser) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    assert analyser.detect(noise) == []


def test_tracking_agrees_with_detecting(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    (face,) = analyser.detect(astronaut)
    tracked = analyser.track(np.roll(astronaut, 4, axis=1), face)
    assert tracked is not None
    assert np.abs(tracked.landmarks - face.landmarks - [4, 0]).mean() < 0.03 * eye_distance(face)


def test_tracking_an_empty_picture_loses_the_face(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    (face,) = analyser.detect(astronaut)
    assert analyser.track(np.zeros_like(astronaut), face) is None


def test_large_picture_gives_the_same_landmarks(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    (face,) = analyser.detect(astronaut)
    (large,) = analyser.detect(cv2.resize(astronaut, (4096, 4096), interpolation=cv2.INTER_CUBIC))
    assert np.linalg.norm(large.landmarks / 8 - face.landmarks, axis=1).mean() < 0.02 * eye_distance(face)


@pytest.mark.parametrize(("turned", "measurements"), [(0, 1), (1, 2)])
def test_a_face_is_measured_once_for_each_turn_of_the_picture(
    analyser: FaceAnalyser, astronaut: Bytes, monkeypatch: pytest.MonkeyPatch, turned: int, measurements: int
) -> None:
    measured: list[Face] = []
    measure = FaceAnalyser._measure

    def counted(*args: object) -> Face | None:
        face = measure(*args)  # type: ignore[arg-type]
        measured.extend([face] if face else [])
        return face

    monkeypatch.setattr(FaceAnalyser, "_measure", counted)
    turns, picture, (face,) = analyser.set_upright(np.ascontiguousarray(np.rot90(astronaut, -turned)))
    assert (turns, len(measured)) == (turned, measurements)
    assert np.array_equal(picture, astronaut)
    assert np.array_equal(face.landmarks, analyser.detect(astronaut, thorough=True)[0].landmarks)


def test_waiting_threads_take_no_processor_time(analyser: FaceAnalyser) -> None:
    for network in (analyser._landmarks, analyser._detector._session):
        options = network.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
