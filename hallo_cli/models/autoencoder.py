"""Pixels <-> latents behind one small interface, whichever autoencoder a model uses.

The parameters keep the names of the autoencoder inside, so that its published files load as they are.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hallo_cli.domain import WHOLE, Window
from hallo_cli.errors import WeightsError
from hallo_cli.models.anchored import (
    Anchor,
    AnchoredEncoder,
    AnchoredShape,
    Motion,
    MotionDecoder,
    PortraitEncoder,
    Truth,
    compose,
)
from hallo_cli.models.network_config import NetworkConfig

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -30.0, 20.0  # diffusers' DiagonalGaussianDistribution


class Encoding(NamedTuple):
    """Latents of pictures, [rows, latent_channels, height, width], in the diffusion model's units."""

    mean: Tensor  # the most likely latents: what rendering uses
    log_variance: Tensor | None  # None if the encoder is deterministic


class Autoencoder(nn.Module):
    """Pictures [rows, 3, height, width] in -1..1 <-> latents of about unit variance."""

    def anchor(self, portrait: Tensor) -> Anchor | None:
        """What the other methods need of portraits [rows, 3, height, width]; most kinds need nothing."""
        return None

    @abstractmethod
    def encode(self, pictures: Tensor, anchor: Anchor | None = None) -> Encoding:
        """The distribution of the pictures' latents."""

    @abstractmethod
    def decode(self, latents: Tensor, anchor: Anchor | None = None) -> Tensor:
        """Latents [rows, latent_channels, height, width] -> pictures, about -1..1, not clamped."""


class VariationalAutoencoder(Autoencoder):
    """diffusers' AutoencoderKL; Stable Diffusion's and the official model's (sd-vae-ft-mse)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.scale = config.latent_scale
        from diffusers import AutoencoderKL  # seconds, which only models of this kind should pay

        inner = _built(AutoencoderKL, config)
        self.encoder, self.decoder = inner.encoder, inner.decoder
        self.quant_conv, self.post_quant_conv = inner.quant_conv, inner.post_quant_conv

    def encode(self, pictures: Tensor, anchor: Anchor | None = None) -> Encoding:
        """The posterior, its variance in the scaled units too."""
        mean, log_variance = self.quant_conv(self.encoder(pictures)).chunk(2, 1)
        log_variance = log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE)
        return Encoding(mean * self.scale, log_variance + 2 * torch.log(mean.new_tensor(self.scale)))

    def decode(self, latents: Tensor, anchor: Anchor | None = None) -> Tensor:
        """See Autoencoder."""
        return self.decoder(self.post_quant_conv(latents / self.scale))


class AnchoredAutoencoder(Autoencoder):
    """Latents that say how a picture differs from the portrait (`anchored`).

    They are divided by one deviation a channel, which belongs to the weights; none is subtracted, so that the
    portrait's own latents stay about zero.
    """

    latent_std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        shape = _built(AnchoredShape, config)
        self.encoder, self.decoder = AnchoredEncoder(shape), MotionDecoder(shape)
        self.portrait_encoder = PortraitEncoder(shape)
        self.register_buffer("latent_std", torch.ones(1, shape.latent_channels, 1, 1))

    def anchor(self, portrait: Tensor) -> Anchor:
        """What the other methods need to know of portraits [rows, 3, height, width] in -1..1."""
        return self.portrait_encoder(portrait)

    def encode(self, pictures: Tensor, anchor: Anchor | None = None, truth: Truth | None = None) -> Encoding:
        """The latents; this encoder is deterministic."""
        assert anchor is not None
        known = None if truth is None else truth.maps()
        raw = self.encoder(pictures, anchor.expand(len(pictures)).picture, known)
        return Encoding(raw / self.latent_std, None)

    def decode(self, latents: Tensor, anchor: Anchor | None = None) -> Tensor:
        """The frames at the size of the anchor's picture."""
        assert anchor is not None
        return compose(anchor.expand(len(latents)).picture, self.motion(latents, anchor))

    def motion(self, latents: Tensor, anchor: Anchor, window: Window = WHOLE) -> Motion:
        """What the frames differ in, for composing at any size; mask and paint of the window alone."""
        return self.decoder(latents * self.latent_std, anchor, window)

    def normalise_latents(self, raw: Tensor) -> None:
        """Take the deviations from latents [rows, channels, height, width] as the encoder gives them."""
        self.latent_std.copy_(raw.square().mean((0, 2, 3), keepdim=True).sqrt().clamp(min=1e-3))


def build_autoencoder(config: NetworkConfig) -> Autoencoder:
    """The autoencoder that a config names, with random weights. Raises WeightsError at a wrong config."""
    return AnchoredAutoencoder(config) if config.is_anchored else VariationalAutoencoder(config)


def _built(kind: Any, config: NetworkConfig) -> Any:
    try:
        return kind(**config.vae)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise WeightsError(
            f"network config: vae is not a configuration of the {config.vae_kind} autoencoder: {error}"
        ) from error
