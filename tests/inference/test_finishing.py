"""What is kept of decoded motion."""

import numpy as np
import torch

from hallo_cli.domain import PAINT_SCALE, MotionShape, Window
from hallo_cli.inference.finishing import HIDDEN, _packed
from hallo_cli.models.anchored import Motion

SIDE = 16


def test_what_weak_masks_hide_is_not_kept() -> None:
    side, generator = SIDE * PAINT_SCALE, torch.Generator().manual_seed(0)
    mask = torch.rand(2, 1, side, side, generator=generator)
    paint = torch.rand(2, 3, side, side, generator=generator) * 2 - 1
    window = Window()
    packed = _packed(Motion(torch.zeros(2, 2, SIDE, SIDE), mask, paint), window, np.zeros((2, 2), np.float32))
    for frame, wanted, colours in zip(
        MotionShape(SIDE, side, window).unpack(packed), mask[:, 0].numpy(), paint.numpy(), strict=True
    ):
        is_kept = wanted > HIDDEN
        assert not frame.mask[~is_kept].any()
        assert not frame.paint[~is_kept].any()
        assert np.abs(frame.mask[is_kept] / 255 - wanted[is_kept]).max() < 0.003
        shown = (colours.transpose(1, 2, 0)[is_kept] + 1) / 2
        assert np.abs(frame.paint[is_kept] / 255 - shown).max() < 0.003
