"""Weights and inputs of the golden numbers: functions of names, so that nothing but names need be stored."""

import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from hallo_cli.models.autoencoder import build_autoencoder
from hallo_cli.models.conditioners import AudioProjection, FaceLocator, ImageProjection
from hallo_cli.models.denoising_unet import DenoisingUNet
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.reference_unet import ReferenceUNet
from hallo_cli.models.weights import Networks

SMALLER = ("to_out.0.weight", "ff.net.2.weight", "conv2.weight", "proj_out.weight")


def draw(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers that are a function of seed and name."""
    state = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    return torch.from_numpy(np.asarray(state.standard_normal(shape), np.float32))


def draw_parameter(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """A parameter by its official name."""
    numbers = draw(seed, name, shape)
    if len(shape) < 2:
        return 1 + 0.1 * numbers if name.endswith("weight") else 0.1 * numbers
    is_output = name.endswith("conv_out.weight") and "locator" not in name and "decoder" not in name
    gain = 0.4 if name.endswith(SMALLER) or "zero_conv" in name or is_output else 1.0
    gain = 6.0 if name == "quant_conv.weight" else gain
    return numbers * gain / float(np.sqrt(np.prod(shape[1:])))


def fill_by_name(module: nn.Module, prefix: str, seed: int) -> None:
    """Give every parameter the value that its name stands for."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(draw_parameter(seed, prefix + name, tuple(parameter.shape)))


@dataclass(frozen=True)
class Golden:
    """One directory of golden numbers."""

    directory: Path

    @cached_property
    def meta(self) -> dict[str, Any]:
        """golden.json."""
        return json.loads((self.directory / "golden.json").read_text())

    @cached_property
    def arrays(self) -> dict[str, Tensor]:
        """golden.safetensors."""
        return load_file(self.directory / "golden.safetensors")

    @cached_property
    def params(self) -> dict[str, Any]:
        """What the numbers were made with."""
        return self.meta["params"]

    def config(self, *, round_features: bool = False) -> NetworkConfig:
        """The networks that golden.json describes."""
        unet, audio, params = self.meta["unet"], self.meta["audio_projection"], self.params
        return NetworkConfig(
            channels=tuple(unet["block_out_channels"]),
            layers_per_block=unet["layers_per_block"],
            heads=unet["attention_head_dim"],
            norm_groups=unet["norm_num_groups"],
            attention_levels=tuple(kind.startswith("CrossAttn") for kind in unet["down_block_types"]),
            motion_levels=(True,) * len(unet["block_out_channels"]),
            latent_channels=unet["in_channels"],
            cross_dim=unet["cross_attention_dim"],
            audio_window=audio["seq_len"],
            audio_blocks=audio["blocks"],
            audio_dim=audio["channels"],
            audio_hidden=audio["intermediate_dim"],
            audio_tokens=audio["context_tokens"],
            audio_token_dim=audio["output_dim"],
            locator_channels=tuple(self.meta["face_locator"]["block_out_channels"]),
            clip_frames=params["F"],
            image_size=params["px"],
            vae=self.meta["vae"],
            round_features=round_features,
        )

    def networks(self, *, round_features: bool = False) -> Networks:
        """The networks with the weights that their names stand for."""
        config = self.config(round_features=round_features)
        networks = Networks(
            config,
            ReferenceUNet(config),
            DenoisingUNet(config),
            FaceLocator(config),
            ImageProjection(config),
            AudioProjection(config),
            build_autoencoder(config),
        )
        for prefix, module in networks.by_prefix().items():
            fill_by_name(module.eval().requires_grad_(False), prefix, self.params["seed"])
        fill_by_name(networks.vae.eval().requires_grad_(False), "", self.params["seed"] + 1)
        return networks

    def input(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A random input by its name."""
        return draw(self.params["seed"], f"input.{name}", shape)

    @cached_property
    def reference(self) -> Tensor:
        """The portrait [1, 3, height, width] in -1..1."""
        size = self.params["px"]
        noise = F.pad(self.input("ref", (1, 3, size, size)), (2, 2, 2, 2), mode="reflect")
        return (F.avg_pool2d(noise, 5, 1) * 2).clamp(-1, 1)

    @cached_property
    def audio(self) -> Tensor:
        """Features [2 * frames, blocks, channels] of both clips."""
        audio = self.meta["audio_projection"]
        return self.input("audio", (2 * self.params["F"], audio["blocks"], audio["channels"]))

    @cached_property
    def face_embedding(self) -> Tensor:
        """[512]."""
        return self.input("face_emb", (1, 512))[0]

    @cached_property
    def face_region(self) -> Tensor:
        """[height, width] of 0 and 1."""
        top, bottom, left, right = self.meta["region"]
        region = torch.zeros(self.params["px"], self.params["px"])
        region[top:bottom, left:right] = 1
        return region

    def mask(self, region: str) -> tuple[Tensor, ...]:
        """full, face or lip: [height, width] a level."""
        size = self.params["px"] // 8
        raw = torch.sigmoid(self.input(region, (1, 1, size, size)))
        n_levels = len(self.params["ch"])
        return tuple(F.adaptive_avg_pool2d(raw, size >> level)[0, 0] for level in range(n_levels))

    def noise(self, clip: int) -> Tensor:
        """[frames, channels, height, width]."""
        size = self.params["px"] // 8
        return self.input(f"noise{clip}", (1, 4, self.params["F"], size, size))[0].transpose(0, 1)


def rows_of(array: Tensor) -> Tensor:
    """[samples, channels, frames, height, width] as stored -> [samples * frames, channels, height, width]."""
    return array.transpose(1, 2).flatten(0, 1)


def strided(array: Tensor) -> Tensor:
    """Every k-th number, as large arrays are stored."""
    return array.flatten()[:: max(1, array.numel() // 20000)]
