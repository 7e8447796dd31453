"""Decoding in slices, and the portrait's detail given back where nothing moved."""

import torch
from bundles import random_networks, tiny_config

from hallo_cli.inference.decode import decode_frames, give_back_detail, likeness


def test_slices_decode_to_the_same_pictures():
    vae, latents = random_networks(tiny_config()).vae, torch.randn(5, 4, 8, 8)
    whole = decode_frames(vae, latents, chunk=5)
    assert whole.shape == (5, 3, 64, 64)
    torch.testing.assert_close(decode_frames(vae, latents, chunk=2), whole, rtol=0, atol=1e-5)


def test_detail_comes_back_where_the_frame_agrees_with_the_portrait():
    portrait = torch.rand(1, 3, 32, 32) - 0.5
    copy = portrait * 0.9
    frames = copy.clone()
    frames[..., 16:, :] += 0.4
    found = give_back_detail(frames, portrait, copy, likeness(frames, copy))
    torch.testing.assert_close(found[..., :11, :], portrait[..., :11, :])
    torch.testing.assert_close(found[..., 21:, :], frames[..., 21:, :])
