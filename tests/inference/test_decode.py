"""Decoding in slices."""

import torch
from small_bundles import random_networks
from small_networks import official_like

from hallo_cli.inference.finishing import decode_frames


def test_slices_decode_to_the_same_pictures():
    vae, latents = random_networks(official_like()).vae, torch.randn(5, 4, 8, 8)
    whole = decode_frames(vae, latents, chunk=5)
    assert whole.shape == (5, 3, 64, 64)
    torch.testing.assert_close(decode_frames(vae, latents, chunk=2), whole, rtol=0, atol=1e-5)
