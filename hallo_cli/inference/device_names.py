"""Which device and number format a render takes, by name; asks torch only where there may be a GPU.

Importing torch takes a second, which commands that render nothing need not spend.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

DTYPE_NAMES = ("float32", "bfloat16", "float16")
GPU_NODES = ("nvidia*", "nvhost*", "nvgpu*", "dxg", "kfd")  # of NVIDIA's, WSL's and AMD's drivers
FAST_BFLOAT16 = frozenset({"amx_tile", "avx512_bf16"})  # flags of CPUs that multiply it in hardware


def device_name(name: str) -> str:
    """auto, cpu, cuda, cuda:1, mps -> the name of a device that is there. Raises SettingsError."""
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return "cpu"
    from hallo_cli.inference.device import resolve_device

    return str(resolve_device(name))


def all_devices() -> list[str]:
    """Every CUDA device; without one, the device that "auto" takes."""
    if not may_have_gpu():
        return ["cpu"]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or [device_name("auto")]


def dtype_name(name: str, device: str) -> str:
    """The number format of the networks; "auto" takes the fastest safe one. Raises SettingsError."""
    if name in DTYPE_NAMES:
        return name
    if name == "auto" and device == "cpu":
        return "bfloat16" if has_fast_bfloat16() else "float32"
    from hallo_cli.inference.device import resolve_device, resolve_dtype

    return str(resolve_dtype(name, resolve_device(device))).removeprefix("torch.")


def may_have_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether torch might find a GPU: on Linux, whether the driver of one is there."""
    return sys.platform != "linux" or any(any(devices.glob(pattern)) for pattern in GPU_NODES)


@cache
def has_fast_bfloat16(processor: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU multiplies bfloat16 in hardware: AMX tiles or AVX-512's dot products."""
    try:
        return not FAST_BFLOAT16.isdisjoint(processor.read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
