"""Autoencoders behind one interface; the anchored kind moves the portrait's own pixels."""

import subprocess
import sys

import pytest
import torch
from small_bundles import random_networks, tiny_config

from hallo_cli.domain import WHOLE, Window
from hallo_cli.errors import WeightsError
from hallo_cli.models.anchored import FLOW_GAIN, MASK_BIAS, Motion, Truth, compose, warped
from hallo_cli.models.autoencoder import AnchoredAutoencoder, build_autoencoder


def anchored() -> AnchoredAutoencoder:
    vae = random_networks(tiny_config()).vae
    assert isinstance(vae, AnchoredAutoencoder)
    return vae


def still(rows: int) -> Motion:
    return Motion(torch.zeros(rows, 2, 32, 32), torch.zeros(rows, 1, 128, 128), torch.ones(rows, 3, 128, 128))


def test_portrait_without_motion_and_paint_stays_itself() -> None:
    pictures = torch.rand(2, 3, 96, 96) * 2 - 1
    torch.testing.assert_close(compose(pictures, still(2)), pictures, rtol=0, atol=1e-5)


def test_flow_says_where_in_the_portrait_a_pixel_comes_from() -> None:
    picture = torch.zeros(1, 3, 64, 64)
    picture[..., 32, 48] = 1
    flow = torch.zeros(1, 2, 32, 32)
    flow[:, 0] = 16 / 64  # every pixel shows what lies 16 pixels to its right
    moved = warped(picture, flow)
    assert moved[0, 0].argmax() == 32 * 64 + 32


def test_paint_lies_where_the_mask_says() -> None:
    motion = still(1)
    motion.mask[..., :64] = 1
    frame = compose(-torch.ones(1, 3, 64, 64), motion)
    assert (frame[..., :31] == 1).all()
    assert (frame[..., 33:] == -1).all()


def test_one_anchor_serves_many_frames() -> None:
    vae, portrait = anchored(), torch.rand(1, 3, 64, 64) * 2 - 1
    anchor = vae.anchor(portrait)
    latents = torch.randn(3, 4, 8, 8)
    frames = vae.decode(latents, anchor)
    assert frames.shape == (3, 3, 64, 64)
    torch.testing.assert_close(vae.decode(latents[1:2], anchor), frames[1:2], rtol=1e-4, atol=1e-5)
    motion = vae.motion(latents, anchor)
    assert motion.flow.shape == (3, 2, 32, 32)
    assert motion.mask.shape == (3, 1, 128, 128)


def test_anchor_convolved_once_gives_what_frames_and_anchor_side_by_side_give() -> None:
    vae = anchored()
    anchor, latents = vae.anchor(torch.rand(1, 3, 64, 64) * 2 - 1), torch.randn(3, 4, 8, 8)
    decoder, known = vae.decoder, anchor.expand(3)
    x = decoder.coarse(torch.cat([decoder.latents(latents * vae.latent_std).relu(), known.coarse], 1))
    x = decoder.fine(torch.cat([x.repeat_interleave(2, 2).repeat_interleave(2, 3), known.fine], 1))
    wanted = torch.sigmoid(decoder._painted(x, WHOLE)[:, :1] + MASK_BIAS)
    torch.testing.assert_close(vae.motion(latents, anchor).mask, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [Window(4, 7, 12, 15), Window(0, 0, 5, 16), Window(9, 3, 16, 4), WHOLE])
def test_window_has_the_whole_squares_paint_and_all_of_its_flow(window: Window) -> None:
    vae, side = anchored(), 128
    anchor = vae.anchor(torch.rand(1, 3, side, side) * 2 - 1)
    latents = torch.randn(2, 4, side // 8, side // 8)
    with torch.inference_mode():
        whole, part = vae.motion(latents, anchor), vae.motion(latents, anchor, window)
    rows, columns = window.within(2 * side)
    assert part.mask.shape[2:] == (rows.stop - rows.start, columns.stop - columns.start)
    assert torch.allclose(part.mask, whole.mask[..., rows, columns], atol=1e-6)
    assert torch.allclose(part.paint, whole.paint[..., rows, columns], atol=1e-5)
    assert torch.equal(part.flow, whole.flow)


def test_map_that_is_too_coarse_for_windows_is_painted_whole() -> None:
    vae = anchored()
    anchor = vae.anchor(torch.rand(1, 3, 32, 32) * 2 - 1)
    assert vae.motion(torch.randn(1, 4, 4, 4), anchor, Window(4, 7, 12, 15)).mask.shape[2:] == (64, 64)


def test_encoder_takes_the_flow_that_a_renderer_knows() -> None:
    vae, portrait = anchored(), torch.rand(1, 3, 64, 64) * 2 - 1
    anchor = vae.anchor(portrait)
    flow = torch.zeros(1, 2, 32, 32)
    known = [Truth(flow + shift, torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)) for shift in (0, 0.05)]
    one, other = (vae.encode(portrait, anchor, truth).mean * vae.latent_std for truth in known)
    assert one.shape == (1, 4, 8, 8)
    moved = (other - one)[:, :2].mean()
    assert moved == pytest.approx(0.05 * FLOW_GAIN, rel=0.2)


def test_latents_are_normalised_without_moving_those_of_the_portrait() -> None:
    vae = anchored()
    vae.normalise_latents(torch.full((2, 4, 8, 8), 3.0))
    assert torch.equal(vae.latent_std, torch.full((1, 4, 1, 1), 3.0))


@pytest.mark.parametrize("wrong", [{"encoder_width": 3}, {"fine": 0}, {"coarse": "wide"}, {"paint": None}])
def test_wrong_configuration_is_named(wrong) -> None:
    with pytest.raises(WeightsError, match="vae"):
        build_autoencoder(tiny_config(vae={**tiny_config().vae, **wrong}))


def test_preview_starts_without_the_networks_of_diffusers_that_it_lacks() -> None:
    unused = ("diffusers.models.unets", "diffusers.loaders", "transformers.models", "scipy.stats")
    code = (
        "import sys, hallo_cli.inference.animator, hallo_cli.jobs.bundle_engine;"
        f"print([module for module in {unused} if module in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
