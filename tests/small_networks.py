"""Small networks of the official kind with random weights, and the conditions of one clip for them."""

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from plain_unet import PlainConditions
from small_bundles import random_networks, tiny_config
from torch import Tensor

from hallo_cli.models import compat
from hallo_cli.models.context import ClipContext, PerLayer
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import Networks

T = TypeVar("T")

SMALL_VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": (8, 8, 8, 8),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "act_fn": "silu",
    "sample_size": 64,
}


def official_like(**changes: object) -> NetworkConfig:
    """Four levels, the coarsest without attention, identity tokens: the official shape in small."""
    values = {
        "channels": (16, 32, 32, 32),
        "layers_per_block": 2,
        "attention_levels": (True, True, True, False),
        "motion_levels": (True, True, True, True),
        "identity_tokens": 2,
        "cross_dim": 8,
        "face_embedding_dim": 8,
        "vae_kind": "kl",
        "vae": SMALL_VAE,
        "control_channel": None,
        "locator_input": "mask",
        "compat": "official",
        "noise": "per_clip",
        "round_features": False,
    }
    return tiny_config(**(values | changes))


def middle_of(layers: PerLayer[T], config: NetworkConfig) -> T:
    """The value of the middle block's layer, behind those on the way down."""
    value = layers.values[config.levels * config.layers_per_block]
    assert value is not None
    return value


@dataclass
class Case:
    """A guidance pair for one clip of random conditions."""

    networks: Networks
    latents: Tensor
    context: ClipContext
    plain: PlainConditions


MADE: dict[str, Case] = {}


def shared_case(config: NetworkConfig, size: tuple[int, int] = (8, 8), n_frames: int = 4) -> Case:
    """As `make_case`, made once: for tests that do not change its networks."""
    key = repr((config, size, n_frames))
    if key not in MADE:
        MADE[key] = make_case(config, size, n_frames)
    return replace(MADE[key])


def make_case(config: NetworkConfig, size: tuple[int, int] = (8, 8), n_frames: int = 4) -> Case:
    """Random weights, latents and conditions; latents of that height and width."""
    networks = random_networks(config)
    unet, n_images = networks.denoising_unet, 1 + config.motion_frames
    torch.manual_seed(1)
    sizes = [size]
    for _ in config.channels[1:]:
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    masks = tuple(torch.rand(1, height * width, 3) for height, width in sizes)
    pictures = torch.randn(2 * n_images, config.reference_channels, *size)
    identity = torch.randn(2, config.identity_tokens, config.cross_dim) if config.identity_tokens else None
    tokens = None
    if identity is not None:
        tokens = networks.reference_unet.project_identity(identity[compat.identity_rows(config, 2, n_images)])
    features = networks.reference_unet(pictures, tokens).map(lambda f: f.unflatten(0, (2, n_images)))
    audio = torch.randn(n_frames, config.audio_tokens, config.audio_token_dim)
    weights = torch.tensor([0.8, 1.2, 0.6])
    face = torch.randn(1, config.channels[0], *size)
    rows = compat.reference_rows(config, 2, n_frames)
    context = ClipContext(
        layers=unet.layer_contexts(
            reference=unet.project_reference(features.map(lambda f: f[:, 0])),
            identity=None if identity is None else unet.project_identity(identity),
            audio=unet.project_audio(audio, masks, weights),
            motion=unet.project_motion(features.map(lambda f: f[:, 1:])),
        ),
        masks=masks,
        n_frames=n_frames,
        n_conditional=n_frames,
        reference_rows=rows[n_frames:],
        face_features=face,
    )
    plain = PlainConditions(features, rows, identity, audio, masks, weights, face, n_frames)
    return Case(networks, torch.randn(n_frames, config.latent_channels, *size), context, plain)
