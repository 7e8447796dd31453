"""Which device and number format to use; imports torch alone, so that asking costs little."""

from __future__ import annotations

import torch

from hallo_cli.errors import SettingsError
from hallo_cli.inference.device_names import DTYPE_NAMES, has_fast_bfloat16
from hallo_cli.settings.schema import RuntimeSettings

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_NAMES}


def resolve_device(name: str) -> torch.device:
    """auto, cpu, cuda, cuda:1, mps -> a device that is there. Raises SettingsError."""
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


def use_threads(runtime: RuntimeSettings) -> None:
    """Compute with so many CPU threads as the settings say, from now on: other numbers round differently."""
    if runtime.threads and resolve_device(runtime.device).type == "cpu":
        torch.set_num_threads(runtime.threads)


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format of the networks; "auto" takes the fastest safe one. Raises SettingsError."""
    if name != "auto":
        if name not in DTYPES:
            raise SettingsError(f"dtype {name!r}: expected auto, {', '.join(DTYPES)}.")
        return DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if has_fast_bfloat16() else torch.float32


def autoencoder_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Of the autoencoder: float16 where the networks are bfloat16 on CUDA, for bfloat16 shows as banding."""
    return torch.float16 if device.type == "cuda" and dtype is torch.bfloat16 else dtype
