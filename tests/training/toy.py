"""Toy networks and toy encoded takes: everything that training needs, in milliseconds."""

from dataclasses import replace
from pathlib import Path

import torch
from small_bundles import tiny_config
from small_networks import SMALL_VAE

from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.training.encoded_shards import EncodedFormat, write_encoded

NETWORK = tiny_config(
    channels=(8, 16),
    attention_levels=(False, True),
    motion_levels=(False, True),
    audio_dim=136,
    control_channel=129,
    max_temporal=8,
    noise="per_clip",
)


KL_NETWORK = replace(NETWORK, vae_kind="kl", vae=SMALL_VAE)  # Stable Diffusion's kind


def write_network(folder: Path, network: NetworkConfig = NETWORK) -> Path:
    import json

    path = folder / "network.json"
    path.write_text(json.dumps(network.to_dict()))
    return path


def write_takes(
    folder: Path, *, network: NetworkConfig = NETWORK, n_takes: int = 6, n_frames: int = 8
) -> Path:
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw).half()

    reference = noise(n_takes, 4, 8, 8)
    tensors = {
        "latents": reference.repeat_interleave(n_frames, 0) + 0.2 * noise(n_takes * n_frames, 4, 8, 8),
        "reference": torch.cat([reference, noise(n_takes, 4, 8, 8)], 1) if network.is_anchored else reference,
        "own_reference": torch.ones(n_takes, dtype=torch.bool),
        "reference_pixels": torch.randint(0, 256, (n_takes, 64, 64, 3), generator=draw).to(torch.uint8),
        "grey": noise(4, 8, 8),
        "audio": noise(n_takes * (n_frames + 4), 1, network.audio_dim),
        "boxes": torch.tensor([[0.1, 0.1, 0.9, 0.95], [0.2, 0.1, 0.8, 0.9], [0.4, 0.6, 0.6, 0.7]]).repeat(
            n_takes, 1, 1
        ),
        "masks.0": noise(n_takes, 3, 8, 8).sigmoid(),
        "masks.1": noise(n_takes, 3, 4, 4).sigmoid(),
        "truth.visemes": noise(n_takes * n_frames, 6).sigmoid(),
        "starts": torch.arange(n_takes + 1) * n_frames,
    }
    header = EncodedFormat((4, 8, 8), 64, 1, network.audio_dim, 2, "toy")
    write_encoded(folder / "train-000000.safetensors", tensors, header)
    return folder
