"""Pixels <-> latents behind one small interface, whichever of diffusers' autoencoders a model uses.

The parameters keep the names of the autoencoder inside, so that its published files load as they are.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hallo_cli.errors import WeightsError
from hallo_cli.models.config import NetworkConfig
from hallo_cli.models.tiny_autoencoder import TinyDecoder, TinyEncoder, TinyShape

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -30.0, 20.0  # diffusers' DiagonalGaussianDistribution


class Encoding(NamedTuple):
    """Latents of pictures, [rows, latent_channels, height, width], in the diffusion model's units."""

    mean: Tensor
    log_variance: Tensor | None  # None where the encoder is deterministic


class Autoencoder(nn.Module):
    """Pictures [rows, 3, height, width] in -1..1 <-> latents of about unit variance."""

    @abstractmethod
    def encode(self, pictures: Tensor) -> Encoding:
        """The distribution of the pictures' latents."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Latents [rows, latent_channels, height, width] -> pictures, about -1..1, not clamped."""

    def encode_mean(self, pictures: Tensor) -> Tensor:
        """The pictures' most likely latents: what rendering uses."""
        return self.encode(pictures).mean


class VariationalAutoencoder(Autoencoder):
    """diffusers' AutoencoderKL; Stable Diffusion's and the official model's (sd-vae-ft-mse)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.scale = config.latent_scale
        from diffusers import AutoencoderKL  # seconds, which only models of this kind should pay

        inner = _built(AutoencoderKL, config)
        self.encoder, self.decoder = inner.encoder, inner.decoder
        self.quant_conv, self.post_quant_conv = inner.quant_conv, inner.post_quant_conv

    def encode(self, pictures: Tensor) -> Encoding:
        """The posterior, its variance in the scaled units too."""
        mean, log_variance = self.quant_conv(self.encoder(pictures)).chunk(2, 1)
        log_variance = log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE)
        return Encoding(mean * self.scale, log_variance + 2 * torch.log(mean.new_tensor(self.scale)))

    def decode(self, latents: Tensor) -> Tensor:
        """See Autoencoder."""
        return self.decoder(self.post_quant_conv(latents / self.scale))


class TinyAutoencoder(Autoencoder):
    """diffusers' AutoencoderTiny (`tiny_autoencoder`), optionally between pixel unshuffling and shuffling.

    `vae_patch` folds that many pixels each way into channels first: one convolution does the work of several
    at full resolution, which is what a CPU needs. Latents are normalised by each channel's own mean and
    deviation, which belong to the weights.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.patch = config.vae_patch
        self.encoder, self.decoder = _built(_tiny_networks, config)
        ones = torch.ones(1, config.latent_channels, 1, 1)
        self.register_buffer("latent_mean", torch.zeros_like(ones))
        self.register_buffer("latent_std", ones / config.latent_scale)

    def encode(self, pictures: Tensor) -> Encoding:
        """The latents; this encoder is deterministic."""
        raw = self.encoder(F.pixel_unshuffle(pictures, self.patch))
        return Encoding((raw - self.latent_mean) / self.latent_std, None)

    def decode(self, latents: Tensor) -> Tensor:
        """See Autoencoder."""
        raw = latents * self.latent_std + self.latent_mean
        return F.pixel_shuffle(self.decoder(raw), self.patch)


def build_autoencoder(config: NetworkConfig) -> Autoencoder:
    """The autoencoder that a config names, with random weights. Raises WeightsError at a wrong config."""
    return VariationalAutoencoder(config) if config.vae_kind == "kl" else TinyAutoencoder(config)


def _tiny_networks(**values: Any) -> tuple[TinyEncoder, TinyDecoder]:
    shape = TinyShape(**values)
    return TinyEncoder(shape), TinyDecoder(shape)


def _built(kind: Any, config: NetworkConfig) -> Any:
    try:
        return kind(**config.vae)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise WeightsError(
            f"network config: vae is no configuration of the {config.vae_kind} autoencoder: {error}"
        ) from error
