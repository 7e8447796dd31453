"""SyncNet: embeds lips and sound in one space, close to each other if they are in sync.

Chung and Zisserman 2016, "Out of time: automated lip sync in the wild". Layers and names are those of the
published file syncnet_v2.model, which the user supplies. Knows nothing of videos and recordings.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from hallo_cli.errors import WeightsError

WIDTH = 1024  # of an embedding
FRAMES = 5  # a picture embedding sees
SIDE = 224  # of a picture
SOURCE = "https://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model"


class SyncNet(nn.Module):
    """Two towers of convolutions, each ending in an embedding [*, 1024]."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_heard(1, 64),
            nn.Identity(),  # where the published network pools over one by one
            *_heard(64, 192),
            nn.MaxPool2d(3, (1, 2)),
            *_heard(192, 384),
            *_heard(384, 256),
            *_heard(256, 256),
            nn.MaxPool2d(3, 2),
            *_heard(256, 512, kernel=(5, 4), padding=0),
        )
        self.netcnnlip = nn.Sequential(
            *_seen(3, 96, kernel=(FRAMES, 7, 7), stride=2, padding=0),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_seen(96, 256, kernel=(1, 5, 5), stride=2),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_seen(256, 256),
            *_seen(256, 256),
            *_seen(256, 256),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_seen(256, 512, kernel=(1, 6, 6), padding=0),
        )
        self.netfcaud, self.netfclip = _head(), _head()

    def hear(self, cepstra: Tensor) -> Tensor:
        """Embeddings [n, 1024] of windows [n, 1, 13, 20] of cepstral coefficients."""
        embeddings: Tensor = self.netfcaud(self.netcnnaud(cepstra).flatten(1))
        return embeddings

    def see(self, frames: Tensor) -> Tensor:
        """Embeddings [n - 4, 1024] of every five successive frames of [3, n, 224, 224], BGR in 0..255.

        Only the first layer looks at more than one frame, so that windows share their work.
        """
        x = self.netcnnlip(frames[None])[0, :, :, 0, 0].T
        embeddings: Tensor = self.netfclip(x)
        return embeddings


def load_syncnet(file: Path) -> SyncNet:
    """Read the published weights; nothing in the file is run. Raises WeightsError."""
    if not file.is_file():
        raise WeightsError(f"{file}: no such file. Fetch SyncNet's weights from {SOURCE}.")
    try:
        # Written by an old torch: it cannot be mapped, and lacks the counters that batch norm has today.
        state = torch.load(file, map_location="cpu", weights_only=True)
        network = SyncNet()
        missing, unexpected = network.load_state_dict(state, strict=False)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise WeightsError(f"{file}: not SyncNet's weights ({reason}). Fetch {SOURCE} again.") from error
    wrong = [*unexpected, *(name for name in missing if not name.endswith("num_batches_tracked"))]
    if wrong:
        raise WeightsError(f"{file}: not SyncNet's weights: {wrong[0]} does not fit. Fetch {SOURCE}.")
    return network.eval().requires_grad_(False)


def _heard(
    channels: int, out_channels: int, *, kernel: tuple[int, int] = (3, 3), padding: int = 1
) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, out_channels, kernel, padding=padding)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]


def _seen(
    channels: int,
    out_channels: int,
    *,
    kernel: tuple[int, int, int] = (1, 3, 3),
    stride: int = 1,
    padding: int = 1,
) -> list[nn.Module]:
    convolution = nn.Conv3d(channels, out_channels, kernel, (1, stride, stride), (0, padding, padding))
    return [convolution, nn.BatchNorm3d(out_channels), nn.ReLU(inplace=True)]


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, WIDTH))
