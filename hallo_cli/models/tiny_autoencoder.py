"""The small autoencoder's two networks, parameter for parameter those of diffusers' AutoencoderTiny.

That class is a hundred lines, but importing it loads every network of diffusers and half of transformers:
three seconds of each start. A test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.models.activations import get_activation
from torch import Tensor, nn

LATENT_RANGE = 3.0  # the decoder bends latents smoothly into -3..3


@dataclass(frozen=True)
class TinyShape:
    """The configuration of diffusers' AutoencoderTiny, by its names; the last five change nothing here."""

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    encoder_block_out_channels: tuple[int, ...] = (64, 64, 64, 64)
    decoder_block_out_channels: tuple[int, ...] = (64, 64, 64, 64)
    num_encoder_blocks: tuple[int, ...] = (1, 3, 3, 3)
    num_decoder_blocks: tuple[int, ...] = (3, 3, 3, 1)
    act_fn: str = "relu"
    upsample_fn: str = "nearest"
    upsampling_scaling_factor: int = 2
    latent_magnitude: float = 3
    latent_shift: float = 0.5
    force_upcast: bool = False
    scaling_factor: float = 1.0
    shift_factor: float = 0.0


class ResidualBlock(nn.Module):
    """Three convolutions beside a skip."""

    def __init__(self, channels: int, activation: str) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _convolution(channels, channels),
            _activation(activation),
            _convolution(channels, channels),
            _activation(activation),
            _convolution(channels, channels),
        )
        self.fuse = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, channels, height, width] -> the same shape."""
        return self.fuse(self.conv(x) + x)


class TinyEncoder(nn.Module):
    """Pictures [rows, channels, height, width] in -1..1 -> latents, each resolution but the first halved."""

    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        counts = zip(shape.encoder_block_out_channels, shape.num_encoder_blocks, strict=True)
        for width, n_blocks in counts:
            if layers:
                layers.append(nn.Conv2d(width, width, 3, padding=1, stride=2, bias=False))
            else:
                layers.append(_convolution(shape.in_channels, width))
            layers += [ResidualBlock(width, shape.act_fn) for _ in range(n_blocks)]
        layers.append(_convolution(shape.encoder_block_out_channels[-1], shape.latent_channels))
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        return self.layers(pictures.add(1).div(2))


class TinyDecoder(nn.Module):
    """Latents -> pictures about -1..1, each resolution but the last doubled."""

    def __init__(self, shape: TinyShape) -> None:
        super().__init__()
        widths, counts = shape.decoder_block_out_channels, shape.num_decoder_blocks
        layers: list[nn.Module] = [
            _convolution(shape.latent_channels, widths[0]),
            _activation(shape.act_fn),
        ]
        for level, (width, n_blocks) in enumerate(zip(widths, counts, strict=True)):
            layers += [ResidualBlock(width, shape.act_fn) for _ in range(n_blocks)]
            if level < len(widths) - 1:
                factor, mode = shape.upsampling_scaling_factor, shape.upsample_fn
                layers.append(nn.Upsample(scale_factor=factor, mode=mode))
                layers.append(nn.Conv2d(width, width, 3, padding=1, bias=False))
            else:
                layers.append(_convolution(width, shape.out_channels))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        """See the class."""
        bent = torch.tanh(latents / LATENT_RANGE) * LATENT_RANGE
        return self.layers(bent).mul(2).sub(1)


def _convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


def _activation(name: str) -> nn.Module:
    # In place, which diffusers' is not: the same numbers with less memory to walk through.
    return nn.ReLU(inplace=True) if name == "relu" else get_activation(name)
