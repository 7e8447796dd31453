"""Convolutions of small maps: the same numbers by another way, and only where it is the faster one."""

import pytest
import torch
from small_bundles import random_networks, tiny_config
from torch import nn

from hallo_cli.inference import speed
from hallo_cli.models.cpu_layers import SmallMapConvolution, use_convolutions_of_small_maps


def pair(channels: int = 512) -> tuple[nn.Conv2d, SmallMapConvolution]:
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, 24, 3, padding=1).requires_grad_(False)
    return plain, SmallMapConvolution.of(plain).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("side", [(1, 1), (2, 2), (4, 4), (2, 8), (1, 16)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_small_maps_are_convolved_by_a_matrix_product(monkeypatch, side, layout):
    plain, small = pair()
    x = torch.randn(3, 512, *side).contiguous(memory_format=layout)
    expected = plain(x)
    monkeypatch.setattr(nn.Conv2d, "forward", None)  # is not called
    torch.testing.assert_close(small(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "side", "dtype"),
    [(512, 5, torch.float32), (256, 4, torch.float32), (512, 4, torch.bfloat16)],
    ids=["larger maps", "fewer channels", "bfloat16"],
)
def test_all_others_are_left_to_torch(monkeypatch, channels, side, dtype):
    _, small = pair(channels)
    x = torch.randn(3, channels, side, side, dtype=dtype)
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: "torch")
    assert small(x) == "torch"


def test_resnets_keep_their_parameters_and_names():
    unet = random_networks(tiny_config()).denoising_unet
    before = dict(unet.named_parameters())
    use_convolutions_of_small_maps(unet)
    assert isinstance(unet.mid_block.resnets[0].conv1, SmallMapConvolution)
    after = dict(unet.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


@pytest.mark.parametrize(("device", "is_used"), [("cpu", True), ("meta", False)])
def test_only_cpus_take_them(device, is_used):
    block = random_networks(tiny_config()).denoising_unet.mid_block
    speed.arrange(block, speed.Execution(torch.device(device), speed.fused_kernel, decode_chunk=1))
    assert isinstance(block.resnets[0].conv1, SmallMapConvolution) is is_used
