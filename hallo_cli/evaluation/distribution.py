"""Fréchet distances between two sets of videos: FID, FVD and E-FID, with networks that the user supplies.

The distance is that of two Gaussians fitted to features (Heusel et al. 2017, eq. 6); FID takes Inception
features of frames, FVD takes I3D features of 16-frame clips (Unterthiner et al. 2018), E-FID takes expression
coefficients of frames. The networks are TorchScript files: their licences keep them out of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Bytes
from hallo_cli.errors import InputError, WeightsError

if TYPE_CHECKING:
    import torch

Features = npt.NDArray[np.float64]
Kind = Literal["fid", "fvd", "efid"]
CLIP_FRAMES = 16
LABELS: dict[Kind, str] = {"fid": "FID", "fvd": "FVD", "efid": "E-FID"}
EXPECTED: dict[Kind, str] = {
    "fid": "inception-2015-12-05.pt, which maps uint8 [n, 3, height, width] to features [n, channels] "
    "and takes return_features",
    "fvd": "i3d_torchscript.pt, which maps float [n, 3, frames, height, width] to features [n, channels] "
    "and takes rescale, resize and return_features",
    "efid": "a network that maps uint8 [n, 3, height, width] to expression coefficients [n, channels]",
}


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that the user supplied, and what its features are for."""

    kind: Kind
    file: Path
    module: torch.jit.ScriptModule

    def features(self, frames: Iterable[Bytes]) -> Iterator[Features]:
        """Features [n, channels] of one video's frames [height, width, 3], RGB.

        For FVD of clips of 16 frames: a shorter last one is left out. Raises WeightsError if the
        network does not take frames or does not give features.
        """
        for batch in _batches(frames, CLIP_FRAMES):
            if self.kind != "fvd" or len(batch) == CLIP_FRAMES:
                yield self._of(np.stack(batch))

    def _of(self, pixels: Bytes) -> Features:
        """Features of one batch [16 or fewer, height, width, 3]; I3D sees it as one clip."""
        import torch

        try:
            with torch.inference_mode():
                found = self._call(torch.from_numpy(pixels))
        except (RuntimeError, torch.jit.Error) as error:
            raise self._unfit(_last_line(error)) from error
        n_rows = 1 if self.kind == "fvd" else len(pixels)
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != n_rows:
            given = f"shape {list(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
            raise self._unfit(f"it gave {given} instead of [{n_rows}, channels]")
        rows = found.double().numpy()
        if not np.isfinite(rows).all():
            raise self._unfit("it gave numbers that are not finite")
        return np.asarray(rows, np.float64)

    def _call(self, pixels: torch.Tensor) -> Any:
        if self.kind == "fvd":
            clip = pixels.permute(3, 0, 1, 2)[None].float()
            return self.module(clip, rescale=True, resize=True, return_features=True)
        options = {"return_features": True} if self.kind == "fid" else {}
        return self.module(pixels.permute(0, 3, 1, 2), **options)

    def _unfit(self, reason: str) -> WeightsError:
        return WeightsError(
            f"{self.file}: not a network for {LABELS[self.kind]} ({reason}). Expected {EXPECTED[self.kind]}; "
            "`hallo docs evaluation` says where to get it."
        )


class GaussianFit:
    """Mean and covariance of a stream of feature vectors."""

    def __init__(self) -> None:
        self.n = 0  # rows so far
        self._sum = self._outer = np.zeros(())

    def add(self, features: Features) -> None:
        """Add rows [n, channels]."""
        rows = features.astype(np.float64)
        self.n += len(rows)
        self._sum = self._sum + rows.sum(0)
        self._outer = self._outer + rows.T @ rows

    def moments(self) -> tuple[Features, Features]:
        """Mean [channels] and unbiased covariance [channels, channels]; needs two rows."""
        assert self.n > 1, "fitted() refuses fewer"
        mean = self._sum / self.n
        return mean, (self._outer - self.n * np.outer(mean, mean)) / (self.n - 1)


def fitted(network: FeatureNetwork, videos: Iterable[Iterable[Bytes]], *, whose: str) -> GaussianFit:
    """The Gaussian of all features of these videos' frames; `whose` names the videos in an error.

    Raises InputError if they are too short for a covariance, WeightsError if the network does not fit.
    """
    fit = GaussianFit()
    for frames in videos:
        for rows in network.features(frames):
            fit.add(rows)
    if fit.n < 2:
        unit = f"clips of {CLIP_FRAMES} frames" if network.kind == "fvd" else "frames"
        n_frames = 2 * CLIP_FRAMES if network.kind == "fvd" else 2
        raise InputError(
            f"{LABELS[network.kind]} needs at least 2 {unit}, and {whose} have {fit.n}: give a video of "
            f"{n_frames} frames or more, or more videos."
        )
    return fit


def frechet_distance(a: GaussianFit, b: GaussianFit) -> float:
    """Squared Fréchet distance of two fitted Gaussians; 0 for equal ones."""
    (mean_a, cov_a), (mean_b, cov_b) = a.moments(), b.moments()
    # The trace of (cov_a cov_b)^1/2 by a symmetric matrix of the same eigenvalues: few frames make both
    # covariances singular, and a square root of their product need not exist.
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    squared = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * shared
    return max(0.0, float(squared))  # rounding may take it below


def load_network(kind: Kind, file: Path) -> FeatureNetwork:
    """Load a TorchScript network for evaluation on the CPU. Raises WeightsError."""
    import torch

    if not file.is_file():
        raise WeightsError(f"{file}: no such network file; `hallo docs evaluation` says where to get it")
    try:
        module = torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise WeightsError(
            f"{file}: not a TorchScript network ({_last_line(error)}). Expected {EXPECTED[kind]}; download "
            "it again, `hallo docs evaluation` says from where."
        ) from error
    assert isinstance(module, torch.jit.ScriptModule)
    return FeatureNetwork(kind, file, module.eval())


def _batches(frames: Iterable[Bytes], size: int) -> Iterator[list[Bytes]]:
    iterator = iter(frames)
    while batch := list(islice(iterator, size)):
        yield batch


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:120]
