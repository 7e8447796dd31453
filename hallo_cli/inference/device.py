"""Which device and number format a render takes; imports torch only where there may be a GPU.

Importing torch takes a second, which commands that render nothing need not spend.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.errors import SettingsError

if TYPE_CHECKING:
    import torch

    from hallo_cli.settings.schema import RuntimeSettings

DTYPES = ("float32", "bfloat16", "float16")
GPU_NODES = ("nvidia*", "nvhost*", "nvgpu*", "dxg", "kfd")  # of NVIDIA's, WSL's and AMD's drivers
FAST_BFLOAT16 = frozenset({"amx_tile", "avx512_bf16"})  # flags of CPUs that multiply it in hardware


def device_name(name: str) -> str:
    """auto, cpu, cuda, cuda:1, mps -> the name of a device that is there. Raises SettingsError."""
    if name == "cpu" or (name == "auto" and not may_have_gpu()):
        return "cpu"
    return str(resolve_device(name))


def resolve_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:1, mps -> a device that is there. Raises SettingsError."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"device {name!r}: expected auto, cpu, cuda, cuda:1 or mps.") from error
    n_cuda = torch.cuda.device_count()
    is_there = {"cpu": True, "cuda": (device.index or 0) < n_cuda, "mps": torch.backends.mps.is_available()}
    if not is_there.get(device.type, False):
        raise SettingsError(
            f"device {name!r} is not there ({n_cuda} CUDA devices). Use --device cpu or auto."
        )
    return device


def all_devices() -> list[str]:
    """Every CUDA device; without one, the device that "auto" takes."""
    if not may_have_gpu():
        return ["cpu"]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or [device_name("auto")]


def use_threads(runtime: RuntimeSettings) -> None:
    """Compute with so many CPU threads as the settings say, from now on: other numbers round differently."""
    if runtime.threads and device_name(runtime.device) == "cpu":
        import torch

        torch.set_num_threads(runtime.threads)


def dtype_name(name: str, device: str) -> str:
    """The number format of the networks; "auto" takes the fastest safe one. Raises SettingsError."""
    if name != "auto":
        if name not in DTYPES:
            raise SettingsError(f"dtype {name!r}: expected auto, {', '.join(DTYPES)}.")
        return name
    if device == "cpu":
        return "bfloat16" if has_fast_bfloat16() else "float32"
    import torch

    is_cuda = resolve_device(device).type == "cuda"
    return "bfloat16" if is_cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """As `dtype_name`, as torch has it. Raises SettingsError."""
    import torch

    dtype: torch.dtype = getattr(torch, dtype_name(name, str(device)))
    return dtype


def autoencoder_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Of the autoencoder: float16 where the networks are bfloat16 on CUDA, for bfloat16 shows as banding."""
    import torch

    return torch.float16 if device.type == "cuda" and dtype is torch.bfloat16 else dtype


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
