"""The small networks that turn a face region, a face embedding and audio features into conditions."""

from __future__ import annotations

import itertools

import torch.nn.functional as F
from torch import Tensor, nn

from hallo_cli.domain import CONTROLS
from hallo_cli.models.network_config import NetworkConfig

CONTROL_WIDTH = 64


class FaceLocator(nn.Module):
    """The face region as features to add to the denoising UNet's first feature maps (Hallo, section 3.2)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = config.locator_channels
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.blocks = nn.ModuleList()
        for width, next_width in itertools.pairwise(widths):
            self.blocks.append(nn.Conv2d(width, width, 3, padding=1))
            self.blocks.append(nn.Conv2d(width, next_width, 3, padding=1, stride=2))
        self.conv_out = nn.Conv2d(widths[-1], config.channels[0], 3, padding=1)
        if config.control_channel is not None:  # not in the paper: how head, brows and eyes are to move
            self.controls = nn.Sequential(
                nn.Linear(len(CONTROLS), CONTROL_WIDTH),
                nn.SiLU(),
                nn.Linear(CONTROL_WIDTH, 2 * config.channels[0]),
            )

    def forward(self, pictures: Tensor) -> Tensor:
        """[rows, 3, height, width] -> [rows, channels, height / 8, width / 8] (or the config's factor)."""
        x = F.silu(self.conv_in(pictures))
        for convolution in self.blocks:
            x = F.silu(convolution(x))
        return self.conv_out(x)

    def controlled(self, features: Tensor, windows: Tensor, config: NetworkConfig) -> Tensor:
        """The features of frames [1 or rows, channels, height, width], scaled and shifted by their controls.

        windows [rows, audio_window, blocks, audio_dim] are their audio features (FiLM, arXiv 1709.07871).
        """
        if config.control_channel is None:
            return features
        controls = windows[:, config.audio_window // 2, 0, config.control_channel :][:, : len(CONTROLS)]
        scale, shift = self.controls(controls)[:, :, None, None].chunk(2, 1)
        return features * (1 + scale) + shift


class ImageProjection(nn.Module):
    """A face embedding as identity tokens."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.n_tokens = config.identity_tokens
        self.proj = nn.Linear(config.face_embedding_dim, config.identity_tokens * config.cross_dim)
        self.norm = nn.LayerNorm(config.cross_dim)

    def forward(self, embedding: Tensor) -> Tensor:
        """Raw face embeddings [rows, face_embedding_dim] -> [rows, identity_tokens, cross_dim]."""
        return self.norm(self.proj(embedding).unflatten(1, (self.n_tokens, -1)))


class AudioProjection(nn.Module):
    """A window of audio features around each frame as audio tokens."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.n_tokens = config.audio_tokens
        self.proj1 = nn.Linear(
            config.audio_window * config.audio_blocks * config.audio_dim, config.audio_hidden
        )
        self.proj2 = nn.Linear(config.audio_hidden, config.audio_hidden)
        self.proj3 = nn.Linear(config.audio_hidden, config.audio_tokens * config.audio_token_dim)
        self.norm = nn.LayerNorm(config.audio_token_dim)

    def forward(self, windows: Tensor) -> Tensor:
        """[rows, audio_window, audio_blocks, audio_dim] -> [rows, audio_tokens, audio_token_dim]."""
        x = F.relu(self.proj2(F.relu(self.proj1(windows.flatten(1)))))
        return self.norm(self.proj3(x).unflatten(1, (self.n_tokens, -1)))
