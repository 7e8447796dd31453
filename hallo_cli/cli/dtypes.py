"""The number formats that weights are computed or written in, as options name them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Dtype(StrEnum):
    """A number format."""

    float16 = "float16"
    bfloat16 = "bfloat16"
    float32 = "float32"

    @property
    def of_torch(self) -> torch.dtype:
        """The same as torch has it."""
        import torch

        dtype: torch.dtype = getattr(torch, self.value)
        return dtype
