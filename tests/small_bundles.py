"""A tiny bundle with seeded random weights, of the embedded model's kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from hallo_cli.analysis.speech_network import SpeechNet, SpeechNetConfig
from hallo_cli.bundles.bundle import Bundle
from hallo_cli.bundles.bundle_file import BundleFile, BundleManifest, Geometry, Sampling, SpeechConfig
from hallo_cli.bundles.networks import save_bundle
from hallo_cli.domain import CONTROLS
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import Networks, build_networks

SPEECH = SpeechNetConfig(width=16, features=6, dilations=(1, 2))


def tiny_config(**changes: object) -> NetworkConfig:
    """64 x 64 pixels, three levels of 16 channels, an anchored autoencoder, clips of 4 frames."""
    config = NetworkConfig(
        channels=(16, 16, 16),
        layers_per_block=1,
        heads=2,
        norm_groups=4,
        attention_levels=(False, True, True),
        motion_levels=(False, True, True),
        latent_channels=4,
        identity_tokens=0,
        audio_blocks=1,
        audio_dim=SPEECH.features + 1 + len(CONTROLS),  # the encoder's features, speech activity, controls
        audio_hidden=16,
        audio_tokens=2,
        audio_token_dim=16,
        locator_channels=(4, 4, 8, 8),
        clip_frames=4,
        motion_frames=2,
        max_temporal=32,
        image_size=64,
        vae_kind="anchored",
        vae={"latent_channels": 4, "fine": 8, "coarse": 8, "paint": 4},
        latent_scale=1.0,
        control_channel=SPEECH.features + 1,
        locator_input="portrait",
        compat="sane",
        noise="per_job",
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def published_like(**changes: object) -> NetworkConfig:
    """The published model's four levels, quirks and kinds of networks, 8 channels wide."""
    config = tiny_config(
        channels=(8, 8, 8, 8),
        attention_levels=(True, True, True, False),
        motion_levels=(True,) * 4,
        layers_per_block=2,
        identity_tokens=2,
        cross_dim=8,
        face_embedding_dim=16,
        vae_kind="kl",
        vae={
            "latent_channels": 4,
            "block_out_channels": (8, 8, 8, 8),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "norm_num_groups": 4,
        },
        compat="official",
        control_channel=None,
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def random_networks(config: NetworkConfig, seed: int = 0) -> Networks:
    """Networks with small seeded random weights; scales of norms are near one."""
    torch.manual_seed(seed)
    networks = build_networks(config)
    for module in (*networks.by_prefix().values(), networks.vae):
        weights = {name: 0.05 * torch.randn(value.shape) for name, value in module.state_dict().items()}
        weights |= {name: value + 1 for name, value in weights.items() if "norm" in name and "weight" in name}
        weights |= {name: value.abs() + 1 for name, value in weights.items() if name == "latent_std"}
        module.load_state_dict(weights, assign=True)
        module.requires_grad_(False)
    return networks


def make_bundle(directory: Path, *, seed: int = 0, **changes: object) -> Bundle:
    """Write a tiny bundle; `changes` go into its NetworkConfig."""
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    speech = directory.with_name(f"{directory.name}-speech.safetensors")
    save_file(SpeechNet(SPEECH).state_dict(), speech)
    manifest = BundleManifest(
        name=directory.name,
        version="test",
        licence="MIT",
        networks=tiny_config(),
        files={"speech": BundleFile("speech.safetensors")},
        speech=SpeechConfig("embedded", dataclasses.asdict(SPEECH)),
        geometry=Geometry(crop_scale=1.5, crop_shift=-0.01),
        sampling=Sampling(steps=2, guidance=1.0),
    )
    networks = random_networks(tiny_config(**changes), seed)
    bundle = save_bundle(directory, networks, manifest, dtype=torch.float32, copied={"speech": speech})
    speech.unlink()
    return bundle
