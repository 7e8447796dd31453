from pathlib import Path

import numpy as np
import pytest
import torch

from hallo_cli.errors import WeightsError
from hallo_cli.evaluation.distribution import GaussianFit, features, frechet_distance, load_network


def fitted(rows: np.ndarray) -> GaussianFit:
    fit = GaussianFit()
    fit.add(rows[:100])
    fit.add(rows[100:])
    return fit


def test_frechet_distance_of_shifted_gaussians_is_the_squared_shift() -> None:
    rows = np.random.default_rng(0).standard_normal((400, 8))
    assert frechet_distance(fitted(rows), fitted(rows)) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(fitted(rows), fitted(rows + 2)) == pytest.approx(8 * 4, rel=1e-6)


def test_frechet_distance_of_scaled_gaussians() -> None:
    rows = np.random.default_rng(0).standard_normal((4000, 1))
    # One channel: (s1 - s2)^2 with standard deviations 1 and 3.
    deviation = rows.std(ddof=1)
    centred = rows - rows.mean()
    assert frechet_distance(fitted(centred), fitted(3 * centred)) == pytest.approx(
        (2 * deviation) ** 2, rel=1e-6
    )


def test_features_of_frames_come_from_the_given_network(tmp_path: Path) -> None:
    class Means(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.float().mean((2, 3))

    file = tmp_path / "expression.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.save(torch.jit.script(Means()), str(file))
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        network = load_network(file)
    frames = [np.full((8, 8, 3), value, np.uint8) for value in range(20)]
    rows = np.concatenate(list(features("efid", network, frames)))
    assert rows[:, 0].tolist() == list(range(20))


def test_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "inception.pt"
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1")
    with (
        pytest.warns(DeprecationWarning, match="torch.jit"),
        pytest.raises(WeightsError, match="download it again"),
    ):
        load_network(file)
