"""Regions and masks equal the published preprocessing, given its landmarks."""

import json
from pathlib import Path

import numpy as np
import pytest

from hallo_cli.analysis import regions
from hallo_cli.analysis.face import SILHOUETTE, FaceAnalyser
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
