"""How to run fast on this machine: memory layout, kernels, what waits where.

Nothing else knows of these. None of it changes what is computed beyond rounding; a test compares each choice
with the plain one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from hallo_cli.inference.device import resolve_device, use_threads
from hallo_cli.models.attention import AttentionKernel, adaptive_kernel, fused_kernel, use_attention_kernel
from hallo_cli.models.cpu_layers import use_convolutions_of_small_maps, use_feed_forward_in_parts
from hallo_cli.models.weights import Networks
from hallo_cli.settings.schema import RuntimeSettings

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Execution:
    """The choices for one device."""

    device: torch.device
    kernel: AttentionKernel
    decode_chunk: int  # frames decoded at a time
    is_channels_last: bool = True
    splits_guidance: bool = False
    offloads: bool = False  # reference UNet and autoencoder wait in host memory until they are used
    overlaps: bool = False  # a clip is decoded while the next is denoised


def choose_execution(runtime: RuntimeSettings, *, is_anchored: bool = False) -> Execution:
    """What suits the device and the kind of autoencoder. Raises SettingsError if the device is not there."""
    device = resolve_device(runtime.device)
    is_cpu = device.type == "cpu"
    use_threads(runtime)
    offloads = runtime.offload and not is_cpu
    overlaps = runtime.decode_behind == "on" or (
        runtime.decode_behind == "auto" and _gains_from_overlap(device, is_anchored=is_anchored)
    )
    return Execution(
        device=device,
        kernel=adaptive_kernel if is_cpu else fused_kernel,
        # Anchored frames are small, and share the work on their portrait.
        decode_chunk=runtime.decode_chunk or (12 if is_anchored else 1 if is_cpu else 8),
        splits_guidance=runtime.split_guidance,
        offloads=offloads,
        overlaps=overlaps and not offloads and device.type != "mps",
    )


def _gains_from_overlap(device: torch.device, *, is_anchored: bool) -> bool:
    # The small maps of anchored models leave CPU cores idle; the large ones of a KL autoencoder do not.
    return device.type == "cuda" or (device.type == "cpu" and is_anchored and torch.get_num_threads() > 1)


def prepare_networks(networks: Networks, execution: Execution) -> None:
    """Arrange the networks' weights for this execution, in place."""
    for module in (*networks.by_prefix().values(), networks.vae):
        waits = execution.offloads and module in (networks.reference_unet, networks.vae)
        arrange(module, execution, torch.device("cpu") if waits else None)
    keep_precision(networks.denoising_unet.conv_in.weight.dtype, execution.device)


def keep_precision(dtype: torch.dtype, device: torch.device) -> None:
    """Convolve float32 as such on CUDA, where torch by default rounds its factors to TF32: ten bits of 23."""
    if device.type == "cuda" and dtype is torch.float32:
        torch.backends.cudnn.allow_tf32 = False


def arrange(module: nn.Module, execution: Execution, device: torch.device | None = None) -> None:
    """Memory layout and attention kernel of one network; device: where it lies, if not where it is run."""
    use_attention_kernel(module, execution.kernel)
    if execution.device.type == "cpu":
        use_feed_forward_in_parts(module)
        if execution.is_channels_last:
            use_convolutions_of_small_maps(module)
    layout = torch.channels_last if execution.is_channels_last else torch.contiguous_format
    module.to(device=device or execution.device, memory_format=layout)  # type: ignore[call-overload]


@contextmanager
def present(module: Network, execution: Execution) -> Iterator[Network]:
    """A network, on the device while it is used."""
    if not execution.offloads:
        yield module
        return
    module.to(execution.device)
    try:
        yield module
    finally:
        module.to("cpu")
