"""Regions and masks equal the published preprocessing, given its landmarks."""

import json
from pathlib import Path

import numpy as np
import pytest

from hallo_cli.analysis import regions
from hallo_cli.analysis.face import CHIN, FOREHEAD, LIPS, SILHOUETTE, FaceAnalyser
from hallo_cli.domain import Bytes, Float

DATA = Path(__file__).parent.parent / "data" / "preprocessing"
CASES = ["square", "border", "small256"]


@pytest.fixture(params=CASES)
def golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    with np.load(DATA / f"{request.param}.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("case", json.loads((DATA / "expand_region.json").read_text()))
def test_expanded_region_equals_the_published(case: dict[str, list[float]]) -> None:
    region = regions.expand_region(tuple(case["region"]), (case["w"], case["h"]), case["ratio"])
    assert list(region) == case["out"]


def test_face_region_equals_the_published(golden: dict[str, np.ndarray]) -> None:
    size = int(golden["w"]), int(golden["h"])
    face = regions.face_rectangle(golden["landmarks"], size, float(golden["ratio"]))
    out = tuple(golden["size"].tolist())
    assert np.array_equal(regions.locator_mask(face, size, out), golden["region"])


def test_attention_masks_equal_the_published(golden: dict[str, np.ndarray]) -> None:
    size = int(golden["w"]), int(golden["h"])
    face = regions.face_rectangle(golden["landmarks"], size, float(golden["ratio"]))
    lip = regions.lip_rectangle(golden["landmarks"], size)
    maps = regions.region_maps(face, lip, size)
    assert np.array_equal(maps.background, golden["png_sep_background"])
    assert np.array_equal(maps.face, golden["png_sep_face"])
    assert np.array_equal(maps.lip, golden["png_sep_lip"])
    grids = [tuple(golden["size"] // factor) for factor in (8, 16, 32, 64)]
    masks = regions.attention_masks(maps, grids)
    for level in range(4):
        assert np.array_equal(masks.full[level].ravel(), golden[f"full{level}"][0])
        assert np.array_equal(masks.face[level].ravel(), golden[f"face{level}"][0])
        assert np.array_equal(masks.lip[level].ravel(), golden[f"lip{level}"][0])


def test_union_over_a_videos_frames_equals_the_published() -> None:
    with np.load(DATA / "train_union.npz") as golden:
        size = (640, 480)
        face = regions.union([regions.face_rectangle(x, size, 1.0) for x in golden["landmarks"]])
        lip = regions.union([regions.lip_rectangle(x, size, 1.0) for x in golden["landmarks"]])
        assert np.array_equal(regions.filled(face, size), golden["face_mask"])
        assert np.array_equal(regions.filled(lip, size), golden["lip_mask"])
        maps = regions.region_maps(face, lip, size)
        assert np.array_equal(maps.face, golden["sep_face"])
        assert np.array_equal(maps.lip, golden["blur_lip"])
        assert np.array_equal(regions.union_maps(face, lip, size).background, golden["sep_pose"])


def test_face_larger_than_the_picture_is_clipped_not_wrapped() -> None:
    landmarks = np.full((478, 2), 50.0)
    landmarks[SILHOUETTE[0]], landmarks[SILHOUETTE[1]] = (2, 30), (98, 70)
    assert regions.face_rectangle(landmarks, (100, 100)) == (0, 100, 26, 74)


def test_region_that_fills_the_picture_is_all_face() -> None:
    maps = regions.region_maps((0, 100, 0, 100), (40, 60, 70, 80), (100, 100))
    assert maps.background.max() == 0
    assert maps.face[0, 0] == 255


@pytest.fixture
def landmarks(analyser: FaceAnalyser, astronaut: Bytes) -> Float:
    (face,) = analyser.detect(astronaut)
    return (face.landmarks - [155, 57]) * (256 / 140)


def test_blend_is_whole_at_the_mouth_and_nothing_outside_the_face(landmarks: Float) -> None:
    blend = regions.face_blend(landmarks, (256, 256))
    lips = landmarks[list(LIPS)].round().astype(int)
    assert blend[lips[:, 1], lips[:, 0]].min() > 0.95
    assert blend[:, 0].max() == blend[:, -1].max() == blend[0].max() == 0
    outline = landmarks[[i for i in SILHOUETTE if landmarks[i, 1] < 128]].round().astype(int)
    assert blend[outline[:, 1], outline[:, 0]].max() < 0.02


def test_blend_leaves_room_for_the_chin_to_drop(landmarks: Float) -> None:
    height = float(np.linalg.norm(landmarks[CHIN] - landmarks[FOREHEAD]))
    column = regions.face_blend(landmarks, (256, 256))[:, round(float(landmarks[CHIN, 0]))]
    lowest = np.flatnonzero(column > 0.01).max()
    assert 0.05 * height < lowest - landmarks[CHIN, 1] < 0.13 * height


def test_blend_is_smooth_and_begins_at_the_first_row(landmarks: Float) -> None:
    blend = regions.face_blend(landmarks, (256, 256), first_row=64)
    assert blend[:64].max() == 0
    # One row of latents spans eight pixels, over which the blend rises.
    assert np.abs(np.diff(blend, axis=0)).max() < 0.2
    assert np.abs(np.diff(blend, axis=1)).max() < 0.12
    assert blend[74, 128] > 0.9


def test_skin_is_the_face_without_its_mouth(landmarks: Float) -> None:
    skin = regions.skin_region(landmarks, (256, 256))
    assert skin.shape == (256, 256)
    assert 0 <= skin.min() <= skin.max() <= 1

    def at(*indices: int) -> float:
        x, y = landmarks[list(indices)].mean(axis=0)
        return float(skin[round(float(y)), round(float(x))])

    assert at(50, 101) > 0.9  # a cheek
    assert at(13, 14) < 0.05  # between the lips
    assert at(61) < 0.4  # a corner of the mouth
    assert skin[2, 2] < 0.01
