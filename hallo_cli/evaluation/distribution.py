"""Fréchet distances between two sets of videos: FID, FVD and E-FID, with networks that the user supplies.

The distance is that of two Gaussians fitted to features (Heusel et al. 2017, eq. 6); FID takes Inception
features of frames, FVD takes I3D features of 16-frame clips (Unterthiner et al. 2018), E-FID takes expression
coefficients of frames. The networks are TorchScript files: their licences keep them out of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg import sqrtm

from hallo_cli.domain import Bytes
from hallo_cli.errors import WeightsError

if TYPE_CHECKING:
    import torch

Features = npt.NDArray[np.float64]
CLIP_FRAMES = 16


class GaussianFit:
    """Mean and covariance of a stream of feature vectors."""

    def __init__(self) -> None:
        self._n = 0
        self._sum: Features | None = None
        self._outer: Features | None = None

    def add(self, features: Features) -> None:
        """Add rows [n, channels]."""
        rows = features.astype(np.float64)
        if self._sum is None or self._outer is None:
            self._sum, self._outer = np.zeros(rows.shape[1]), np.zeros((rows.shape[1],) * 2)
        self._n += len(rows)
        self._sum += rows.sum(0)
        self._outer += rows.T @ rows

    @property
    def n(self) -> int:
        """Rows so far."""
        return self._n

    def moments(self) -> tuple[Features, Features]:
        """Mean [channels] and unbiased covariance [channels, channels]; needs two rows."""
        if self._n < 2 or self._sum is None or self._outer is None:
            raise ValueError(f"a covariance needs at least 2 feature vectors, got {self._n}")
        mean = self._sum / self._n
        return mean, (self._outer - self._n * np.outer(mean, mean)) / (self._n - 1)


def frechet_distance(a: GaussianFit, b: GaussianFit) -> float:
    """Squared Fréchet distance of two fitted Gaussians; 0 for equal ones."""
    (mean_a, cov_a), (mean_b, cov_b) = a.moments(), b.moments()
    root = np.real(sqrtm(cov_a @ cov_b))
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b - 2 * root))


def load_network(file: Path) -> torch.jit.ScriptModule:
    """Load a TorchScript network for evaluation on the CPU."""
    import torch

    if not file.is_file():
        raise WeightsError(
            f"{file}: no such network file; `hallo eval --help` says where each one comes from"
        )
    try:
        network = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:120]
        raise WeightsError(f"{file}: not a TorchScript network ({reason}); download it again") from error
    assert isinstance(network, torch.jit.ScriptModule)
    return network.eval()


def features(name: str, network: torch.jit.ScriptModule, frames: Iterable[Bytes]) -> Iterator[Features]:
    """Features [n, channels] of one video's frames for the figure `name`: fid, fvd or efid.

    Inception and the expression network take uint8 [n, 3, height, width], I3D float [1, 3, 16, height, width]
    in 0..255; a last clip of fewer than 16 frames is left out.
    """
    import torch

    for batch in _batches(frames, CLIP_FRAMES):
        pixels = torch.from_numpy(np.stack(batch))
        with torch.inference_mode():
            if name == "fvd" and len(batch) == CLIP_FRAMES:
                clip = pixels.permute(3, 0, 1, 2)[None].float()
                yield (
                    network(clip, rescale=True, resize=True, return_features=True).flatten(1).double().numpy()
                )
            elif name == "fid":
                found = network(pixels.permute(0, 3, 1, 2), return_features=True)
                yield found.flatten(1).double().numpy()
            elif name == "efid":
                yield network(pixels.permute(0, 3, 1, 2)).flatten(1).double().numpy()


def _batches(frames: Iterable[Bytes], size: int) -> Iterator[list[Bytes]]:
    iterator = iter(frames)
    while batch := list(islice(iterator, size)):
        yield batch
