"""The fast rasteriser against the plain definitions of what it computes."""

import numpy as np
import pytest

from hallo_cli.workshop.corpus import raster
from hallo_cli.workshop.corpus.head_model import SKIN, TONGUE

SIZE = 40


def seen_plainly(screen: np.ndarray, triangles: np.ndarray, materials: np.ndarray) -> np.ndarray:
    rows, columns = np.indices((SIZE, SIZE)) + 0.5
    seen, depth = np.full((SIZE, SIZE), -1), np.zeros((SIZE, SIZE))
    for t, corners in enumerate(triangles):
        (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = screen[corners].astype(float)
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area > 0 and materials[t] < TONGUE:
            continue
        w0 = ((x1 - columns) * (y2 - rows) - (x2 - columns) * (y1 - rows)) / area
        w1 = ((x2 - columns) * (y0 - rows) - (x0 - columns) * (y2 - rows)) / area
        w2 = 1 - w0 - w1
        z = w0 * z0 + w1 * z1 + w2 * z2
        nearer = (w0 >= 0) & (w1 >= 0) & (w2 >= 0) & (z > depth)
        seen[nearer], depth[nearer] = t, z[nearer]
    return seen


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_pixel_shows_the_nearest_triangle_over_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    screen = rng.uniform((-10, -10, 0.1), (SIZE + 10, SIZE + 10, 1), (60, 3)).astype(np.float32)
    triangles = rng.permuted(np.tile(np.arange(60, dtype=np.int32), (30, 1)), axis=1)[:, :3].copy()
    materials = rng.choice(np.array([SKIN, TONGUE], np.uint8), 30)
    seen, weights = raster.find_visible(screen, triangles, materials, SIZE)
    plain = seen_plainly(screen, triangles, materials)
    assert (seen != plain).sum() <= 1  # a pixel on an edge may fall to either side by rounding
    assert 0 <= weights.min() <= weights.max() <= 1 + 1e-6


def test_no_pixel_falls_between_triangles_that_share_an_edge() -> None:
    rng = np.random.default_rng(3)
    ticks = np.linspace(0, SIZE, 12)
    points = np.stack([*np.meshgrid(ticks, ticks), np.full((12, 12), 0.5)], axis=-1)
    points[1:-1, 1:-1, :2] += rng.uniform(-1, 1, (10, 10, 2))
    corner = np.arange(132)[np.arange(132) % 12 < 11]
    halves = [
        np.stack(c, axis=1)
        for c in ((corner, corner + 12, corner + 1), (corner + 1, corner + 12, corner + 13))
    ]
    triangles = np.concatenate(halves).astype(np.int32)
    screen = points.reshape(-1, 3).astype(np.float32)
    seen, _ = raster.find_visible(screen, triangles, np.full(len(triangles), SKIN, np.uint8), SIZE)
    assert (seen >= 0).all()


def test_the_power_of_highlights_is_exact_enough() -> None:
    for gloss in (1, 8, 30, 70):
        cosines = np.linspace(0.6, 1, 50, dtype=np.float32)
        powers = [raster._power(cosine, np.float32(gloss)) for cosine in cosines]
        assert np.abs(powers - cosines**gloss).max() < 1e-4  # a fortieth of one of 255 levels
