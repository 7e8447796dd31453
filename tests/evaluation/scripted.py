"""TorchScript networks for Fréchet distances that are small enough to know their features by heart."""

from pathlib import Path

import torch


class Colours(torch.nn.Module):
    """Mean colours of frames [n, 3, height, width], with the interface of E-FID's network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().mean((2, 3))


class ClipColours(torch.nn.Module):
    """Mean colours of clips [n, 3, frames, height, width], with I3D's interface."""

    def forward(
        self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        return x.mean((2, 3, 4))


def saved(module: torch.nn.Module, file: Path) -> Path:
    """The file, with the network in it."""
    torch.jit.save(torch.jit.script(module), str(file))
    return file
