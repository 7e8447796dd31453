"""The small autoencoder is diffusers', without importing all of it."""

import subprocess
import sys

import pytest
import torch
from bundles import tiny_config

from hallo_cli.errors import WeightsError
from hallo_cli.models.autoencoder import build_autoencoder
from hallo_cli.models.tiny_autoencoder import TinyDecoder, TinyEncoder, TinyShape

SHAPES = [
    {"encoder_block_out_channels": (16, 16), "decoder_block_out_channels": (16, 16)},
    {
        "encoder_block_out_channels": (8, 8, 8),
        "decoder_block_out_channels": (8, 8, 8),
        "num_encoder_blocks": (1, 2, 0),
        "num_decoder_blocks": (2, 1, 1),
        "act_fn": "silu",
        "upsample_fn": "bilinear",
    },
]


@pytest.mark.parametrize("shape", SHAPES)
def test_small_networks_are_those_of_diffusers(shape) -> None:
    from diffusers import AutoencoderTiny

    values = {"num_encoder_blocks": (1, 1), "num_decoder_blocks": (1, 1), **shape}
    torch.manual_seed(0)
    theirs = AutoencoderTiny(**values).requires_grad_(False)
    encoder, decoder = TinyEncoder(TinyShape(**values)), TinyDecoder(TinyShape(**values))
    encoder.load_state_dict(theirs.encoder.state_dict(), strict=True)
    decoder.load_state_dict(theirs.decoder.state_dict(), strict=True)
    pictures, latents = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        assert torch.equal(encoder(pictures), theirs.encoder(pictures))
        assert torch.equal(decoder(latents), theirs.decoder(latents))


@pytest.mark.parametrize(
    "wrong", [{"encoder_width": 3}, {"num_encoder_blocks": (1,)}, {"act_fn": "unheard of"}]
)
def test_wrong_configuration_is_named(wrong) -> None:
    config = tiny_config()
    with pytest.raises(WeightsError, match="no configuration of the tiny autoencoder"):
        build_autoencoder(tiny_config(vae={**config.vae, **wrong}))


def test_preview_starts_without_the_networks_of_diffusers_that_it_lacks() -> None:
    unused = ("diffusers.models.unets", "diffusers.loaders", "transformers.models", "scipy.stats")
    code = (
        "import sys, hallo_cli.inference.animator, hallo_cli.jobs.bundle_engine;"
        f"print([module for module in {unused} if module in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
