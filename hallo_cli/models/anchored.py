"""An autoencoder anchored in the portrait: its latents say how a frame differs from the portrait.

Decoding gives backward flow (where in the portrait each pixel comes from), a paint mask (what the portrait
does not show) and paint for that. `compose` warps the portrait's own pixels and lays the paint over them, at
any resolution. Motion transfer works so since Monkey-Net (arXiv 1812.08861) and FOMM (arXiv 2003.00196,
section 3.2: backward flow and an occlusion mask); here the diffused latents take the place of their key
points. The latents of the portrait itself are about zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hallo_cli.domain import PAINT_SCALE, WHOLE, Window

PATCH = 4  # pixels folded into channels before the first convolution
TRUTHS = 5  # maps of `Truth`
FLOWS = 2  # the first latents are the flow in coarse steps: the networks only refine it
FLOW_GAIN = 32.0  # brings flow in shares of the side near unit size
SEEN = 3  # pixels of the finest shared map around a painted one that its paint depends on
MASK_BIAS = -2.0  # an untrained mask paints little


@dataclass(frozen=True)
class AnchoredShape:
    """The sizes of an anchored autoencoder's layers."""

    latent_channels: int = 8
    fine: int = 64  # channels at a quarter of the portrait's resolution
    coarse: int = 112  # channels at an eighth
    paint: int = 24  # channels at half of it


@dataclass(frozen=True)
class Anchor:
    """What decoder and encoder know of the portrait; a row a portrait."""

    picture: Tensor  # [rows, 3, height, width] in -1..1
    fine: Tensor  # [rows, fine channels, height / 4, width / 4]
    coarse: Tensor  # [rows, coarse channels, height / 8, width / 8]: the portrait for the reference UNet

    def rows(self, index: Tensor) -> Anchor:
        """The anchors of some rows, which may repeat."""
        return Anchor(self.picture[index], self.fine[index], self.coarse[index])

    def expand(self, n_rows: int) -> Anchor:
        """A single portrait's anchor for `n_rows` frames."""
        if len(self.picture) == n_rows:
            return self
        parts = (self.picture, self.fine, self.coarse)
        return Anchor(*(part.expand(n_rows, -1, -1, -1) for part in parts))


@dataclass(frozen=True)
class Motion:
    """How frames differ from the portrait; lengths are shares of the square's side."""

    flow: Tensor  # [rows, 2, height, width] x, y: from a frame's pixel to where the portrait shows it
    mask: Tensor  # [rows, 1, height, width] 0..1: 1 is painted, 0 is the portrait's own; perhaps of a window
    paint: Tensor  # [rows, 3, height, width] in -1..1; the same window


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, channels, height, width] -> the same shape."""
        return F.relu(x + self.second(F.relu(self.first(x))))


@dataclass(frozen=True)
class Truth:
    """What a renderer knows of frames beside their pixels, at half the portrait's resolution."""

    flow: Tensor  # [rows, 2, height / 2, width / 2] backward flow, shares of the square's side
    hidden: Tensor  # [rows, 1, height / 2, width / 2] 1 where the portrait does not show it
    inner: Tensor  # [rows, 1, height / 2, width / 2] 1 inside the mouth

    def maps(self) -> Tensor:
        """[rows, 5, height / 2, width / 2], the last one saying that all is known."""
        flow = self.flow * FLOW_GAIN
        return torch.cat([flow, self.hidden, self.inner, torch.ones_like(self.hidden)], 1)


class AnchoredEncoder(nn.Module):
    """Frame and portrait, side by side in the channels -> latents before they are normalised.

    Where the renderer's truth is given, the encoder need not find it in the pixels.
    """

    def __init__(self, shape: AnchoredShape) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_stage(2 * 3 * PATCH**2 + TRUTHS * 2**2, shape.fine, n_blocks=1),
            *_stage(shape.fine, shape.coarse, n_blocks=2, stride=2),
            _convolution(shape.coarse, shape.latent_channels),
        )

    def forward(self, pictures: Tensor, portraits: Tensor, truth: Tensor | None = None) -> Tensor:
        """[rows, 3, height, width] each -> [rows, latent channels, height / 8, width / 8].

        truth: `Truth.maps()`; None or zeros where it is not known.
        """
        height, width = pictures.shape[-2:]
        if truth is None:
            truth = pictures.new_zeros(len(pictures), TRUTHS, height // 2, width // 2)
        parts = (F.pixel_unshuffle(pictures, PATCH), F.pixel_unshuffle(portraits, PATCH))
        latents = self.layers(torch.cat([*parts, F.pixel_unshuffle(truth, 2).to(pictures.dtype)], 1))
        return latents + F.pad(F.avg_pool2d(truth[:, :FLOWS], 4), (0, 0, 0, 0, 0, latents.shape[1] - FLOWS))


class PortraitEncoder(nn.Module):
    """The portrait's features at two resolutions, once a portrait."""

    def __init__(self, shape: AnchoredShape) -> None:
        super().__init__()
        self.fine = nn.Sequential(*_stage(3 * PATCH**2, shape.fine, n_blocks=1))
        self.coarse = nn.Sequential(*_stage(shape.fine, shape.coarse, n_blocks=2, stride=2))

    def forward(self, portraits: Tensor) -> Anchor:
        """[rows, 3, height, width] in -1..1 -> their anchors."""
        fine = self.fine(F.pixel_unshuffle(portraits, PATCH))
        return Anchor(portraits, fine, self.coarse(fine))


class MotionDecoder(nn.Module):
    """Latents and the portrait's features -> flow at half its resolution, mask and paint at twice."""

    def __init__(self, shape: AnchoredShape) -> None:
        super().__init__()
        self.latents = _convolution(shape.latent_channels, shape.coarse)
        self.coarse = nn.Sequential(*_stage(2 * shape.coarse, shape.coarse, n_blocks=3))
        self.fine = nn.Sequential(*_stage(shape.coarse + shape.fine, shape.fine, n_blocks=2))
        self.flow = _convolution(shape.fine, 2 * 2**2)
        self.detail = nn.Sequential(
            _convolution(shape.fine, shape.paint * 2**2),
            nn.PixelShuffle(2),
            nn.ReLU(inplace=True),
            ResidualBlock(shape.paint),
        )
        self.paint = _convolution(shape.paint, 4 * 4**2)
        with torch.no_grad():
            self.flow.weight.mul_(0.2)
            self.flow.bias.zero_()  # type: ignore[union-attr]

    def forward(self, latents: Tensor, anchor: Anchor, window: Window = WHOLE) -> Motion:
        """[rows, latent channels, height, width] and one anchor or as many -> the motion.

        window: the part of the square whose mask and paint are computed.
        """
        x = _beside(anchor.coarse, F.relu(self.latents(latents)), self.coarse)
        x = _beside(anchor.fine, F.interpolate(x, scale_factor=2.0, mode="nearest"), self.fine)
        flow = F.pixel_shuffle(self.flow(x), 2).float() / latents.shape[-1]
        coarse = F.interpolate(latents[:, :FLOWS].float(), scale_factor=4.0, mode="bilinear") / FLOW_GAIN
        painted = self._painted(x, window)
        return Motion(coarse + flow, torch.sigmoid(painted[:, :1] + MASK_BIAS), torch.tanh(painted[:, 1:]))

    def _painted(self, x: Tensor, window: Window) -> Tensor:
        """Mask and paint [rows, 4, height, width] of a window, before they are limited."""
        side = x.shape[-1]
        parts = [(max(part.start - SEEN, 0), part, part.stop + SEEN) for part in window.within(side)]
        rows, columns = (slice(start, stop) for start, _, stop in parts)
        detail = F.pixel_shuffle(self.paint(self.detail(x[..., rows, columns])), 4).float()
        scale = PAINT_SCALE * 2
        rows, columns = (
            slice((part.start - start) * scale, (part.stop - start) * scale) for start, part, _ in parts
        )
        return detail[..., rows, columns]


def compose(pictures: Tensor, motion: Motion) -> Tensor:
    """The frames: portraits [rows, 3, height, width] of any size, warped and painted on.

    Differentiable; what rendering shows is composed by `analysis.motion_canvas` at the video's size.
    """
    size = (pictures.shape[-2], pictures.shape[-1])
    mask, paint = _resized(motion.mask, size), _resized(motion.paint, size)
    return torch.lerp(warped(pictures, motion.flow), paint, mask)


def warped(pictures: Tensor, flow: Tensor) -> Tensor:
    """Pictures [rows, 3, height, width] looked up along backward flow [rows, 2, h, w], shares of the side."""
    height, width = pictures.shape[-2:]
    flow = F.interpolate(flow, (height, width), mode="bilinear", align_corners=False)
    rows = (torch.arange(height, device=flow.device) + 0.5) / height * 2 - 1
    columns = (torch.arange(width, device=flow.device) + 0.5) / width * 2 - 1
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)[None] + 2 * flow.permute(0, 2, 3, 1)
    return F.grid_sample(pictures.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if (maps.shape[-2], maps.shape[-1]) == size:
        return maps
    is_smaller = size[0] < maps.shape[-2]
    return F.interpolate(maps, size, mode="area" if is_smaller else "bilinear")


def _beside(anchor: Tensor, x: Tensor, layers: nn.Sequential) -> Tensor:
    """The layers of x and anchor, channel by channel.

    The first one is a convolution; one anchor [1, ...] for all frames is convolved once.
    """
    first = cast(nn.Conv2d, layers[0])
    own, known = first.weight.split([x.shape[1], anchor.shape[1]], 1)
    beside = F.conv2d(anchor, known, first.bias, padding=first.padding)
    return cast(Tensor, layers[1:](F.conv2d(x, own, padding=first.padding) + beside))


def _stage(in_channels: int, out_channels: int, *, n_blocks: int, stride: int = 1) -> list[nn.Module]:
    """The layers at one resolution."""
    first = _convolution(in_channels, out_channels, stride=stride)
    return [first, nn.ReLU(inplace=True), *(ResidualBlock(out_channels) for _ in range(n_blocks))]


def _convolution(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1)
