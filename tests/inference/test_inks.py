"""Portraits of one ink keep it; colourful ones are left alone."""

import pytest
import torch

from hallo_cli.inference.inks import single_ink, with_ink


@pytest.fixture
def grey() -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(1, 1, 32, 32, generator=draw).expand(1, 3, 32, 32) * 2 - 1


def test_a_tinge_in_a_grey_portrait_goes(grey: torch.Tensor) -> None:
    table = single_ink(grey)
    assert table is not None
    tinged = grey.clone()
    tinged[:, 2, 10:20, 10:20] += 0.2
    mended = with_ink(tinged, table)
    assert (mended[:, 2] - mended[:, 0]).abs().max() < 0.02
    assert (mended[..., :8, :] - grey[..., :8, :]).abs().max() < 0.02


def test_sepia_stays_sepia(grey: torch.Tensor) -> None:
    sepia = (grey + 1) * torch.tensor([0.95, 0.8, 0.6]).reshape(1, 3, 1, 1) - 1
    table = single_ink(sepia)
    assert table is not None
    assert (with_ink(sepia, table) - sepia).abs().max() < 0.03


def test_a_colourful_portrait_is_left_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    assert single_ink(torch.rand(1, 3, 32, 32, generator=draw) * 2 - 1) is None
