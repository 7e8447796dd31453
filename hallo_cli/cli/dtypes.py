"""The number formats that weights are computed or written in, as options name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

Dtype = Literal["float16", "bfloat16", "float32"]


def torch_dtype(name: Dtype) -> torch.dtype:
    """The number format as torch has it."""
    import torch

    dtype: torch.dtype = getattr(torch, name)
    return dtype
