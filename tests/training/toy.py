"""Toy networks and toy encoded takes: everything that training needs, in milliseconds."""

from pathlib import Path

import torch

from hallo_cli.models.config import NetworkConfig
from hallo_cli.training.encoded import EncodedFormat, write_encoded

NETWORK = NetworkConfig(
    channels=(8, 16),
    layers_per_block=1,
    heads=2,
    norm_groups=4,
    attention_levels=(False, True),
    motion_levels=(False, True),
    latent_channels=4,
    identity_tokens=0,
    audio_window=5,
    audio_blocks=1,
    audio_dim=130,
    audio_hidden=16,
    audio_tokens=2,
    audio_token_dim=16,
    locator_channels=(4, 8, 8, 8),
    clip_frames=4,
    motion_frames=2,
    max_temporal=8,
    image_size=64,
    vae_kind="tiny",
    vae_patch=4,
    vae={
        "in_channels": 48,
        "out_channels": 48,
        "latent_channels": 4,
        "encoder_block_out_channels": (16, 16),
        "decoder_block_out_channels": (16, 16),
        "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1),
    },
    latents="residual",
    residual_scale=0.5,
    latent_rows=(2, 8),
    locator_input="portrait",
    compat="sane",
)


def write_network(folder: Path, network: NetworkConfig = NETWORK) -> Path:
    import json

    path = folder / "network.json"
    path.write_text(json.dumps(network.to_dict()))
    return path


def write_takes(folder: Path, *, n_takes: int = 6, n_frames: int = 8) -> Path:
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw).half()

    reference = noise(n_takes, 4, 8, 8)
    tensors = {
        "latents": reference.repeat_interleave(n_frames, 0) + 0.2 * noise(n_takes * n_frames, 4, 8, 8),
        "reference": reference,
        "own_reference": torch.ones(n_takes, dtype=torch.bool),
        "reference_pixels": torch.randint(0, 256, (n_takes, 64, 64, 3), generator=draw).to(torch.uint8),
        "grey": noise(4, 8, 8),
        "audio": noise(n_takes * (n_frames + 4), 1, 130),
        "boxes": torch.tensor([[0.1, 0.1, 0.9, 0.95], [0.2, 0.1, 0.8, 0.9], [0.4, 0.6, 0.6, 0.7]]).repeat(
            n_takes, 1, 1
        ),
        "masks.0": noise(n_takes, 3, 8, 8).sigmoid(),
        "masks.1": noise(n_takes, 3, 4, 4).sigmoid(),
        "truth.visemes": noise(n_takes * n_frames, 6).sigmoid(),
        "starts": torch.arange(n_takes + 1) * n_frames,
    }
    header = EncodedFormat((4, 8, 8), 64, 1, 130, 2, "toy")
    write_encoded(folder / "train-000000.safetensors", tensors, header)
    return folder
