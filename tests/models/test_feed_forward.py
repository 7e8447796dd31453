"""Feed-forwards in parts: the same numbers, from little memory, and on CPUs only."""

import pytest
import torch
from diffusers.models.attention import FeedForward
from small_bundles import random_networks, tiny_config
from torch.utils._python_dispatch import TorchDispatchMode

from hallo_cli.inference import speed
from hallo_cli.models.cpu_layers import TOKENS, FeedForwardInParts, use_feed_forward_in_parts


class LargestTensor(TorchDispatchMode):
    """The most numbers that one operation gave."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def pair() -> tuple[FeedForward, FeedForwardInParts]:
    torch.manual_seed(0)
    whole = FeedForward(16, activation_fn="geglu").requires_grad_(False)
    return whole, FeedForwardInParts(whole)


@pytest.mark.parametrize("shape", [(2, TOKENS, 16), (3, 700, 16), (5, 16), (1, 16)])
def test_parts_equal_the_whole(shape):
    whole, parts = pair()
    x = torch.randn(shape)
    torch.testing.assert_close(parts(x), whole(x), rtol=1e-5, atol=1e-6)


def test_hidden_numbers_of_few_tokens_exist_at_a_time():
    whole, parts = pair()
    x = torch.randn(2, 10 * TOKENS, 16)
    with LargestTensor() as of_parts:
        parts(x)
    with LargestTensor() as of_whole:
        whole(x)
    assert of_whole.numbers == 8 * x.numel()
    assert of_parts.numbers == x.numel()


def test_transformers_keep_their_parameters_and_names():
    unet = random_networks(tiny_config()).denoising_unet
    before = dict(unet.named_parameters())
    use_feed_forward_in_parts(unet)
    assert not any(isinstance(module, FeedForward) for module in unet.modules())
    after = dict(unet.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)


@pytest.mark.parametrize(("device", "is_used"), [("cpu", True), ("meta", False)])
def test_only_cpus_take_parts(device, is_used):
    block = random_networks(tiny_config()).denoising_unet.mid_block
    speed.arrange(block, speed.Execution(torch.device(device), speed.fused_kernel, decode_chunk=1))
    assert any(isinstance(module, FeedForwardInParts) for module in block.modules()) is is_used
