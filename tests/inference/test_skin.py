"""Skin that moves takes on the tint that its brightness has elsewhere in the portrait."""

import torch

from hallo_cli.inference.inks import brightness
from hallo_cli.inference.skin import skin_of, with_skin

SIDE = 32


def portrait() -> torch.Tensor:
    """A ramp of skin: the darker, the redder."""
    light = torch.linspace(-0.5, 0.6, SIDE * SIDE).reshape(1, 1, SIDE, SIDE)
    return torch.cat([light + 0.1 - 0.1 * light, light, light - 0.1], 1)


def test_skin_of_the_portraits_own_colours_stays() -> None:
    picture = portrait()
    skin = skin_of(picture, torch.ones(SIDE, SIDE))
    found = with_skin(picture, skin, torch.ones(1, 1, SIDE, SIDE))
    torch.testing.assert_close(found, picture, rtol=0, atol=0.01)


def test_a_wrong_tint_is_mended_and_brightness_stays() -> None:
    picture = portrait()
    skin = skin_of(picture, torch.ones(SIDE, SIDE))
    orange = picture + torch.tensor([0.2, 0.0, -0.2])[None, :, None, None]
    found = with_skin(orange, skin, torch.ones(1, 1, SIDE, SIDE))
    torch.testing.assert_close(brightness(found), brightness(orange), rtol=0, atol=1e-5)
    expected = picture + (brightness(orange) - brightness(picture))[:, None] * 2
    torch.testing.assert_close(found, expected, rtol=0, atol=0.03)


def test_what_did_not_move_and_what_is_no_skin_stays() -> None:
    picture = portrait()
    where = torch.ones(SIDE, SIDE)
    where[:8] = 0
    skin = skin_of(picture, where)
    orange = (picture + torch.tensor([0.2, 0.0, -0.2])[None, :, None, None]).expand(2, -1, -1, -1)
    moved = torch.ones(2, 1, SIDE, SIDE)
    moved[0] = 0
    found = with_skin(orange, skin, moved)
    torch.testing.assert_close(found[0], orange[0])
    torch.testing.assert_close(found[1, :, :8], orange[1, :, :8])
    assert (found[1, :, 8:] - orange[1, :, 8:]).abs().mean() > 0.05


def test_only_skin_decides_about_the_tints() -> None:
    picture = portrait()
    where = torch.ones(SIDE, SIDE)
    where[:, 16:] = 0
    scribbled = picture.clone()
    scribbled[:, :, :, 16:] = torch.rand(1, 3, SIDE, 16)
    torch.testing.assert_close(skin_of(picture, where).tints, skin_of(scribbled, where).tints)
