"""Says what to do where a device runs out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hallo_cli.errors import DeviceMemoryError


@contextmanager
def reporting_memory() -> Iterator[None]:
    """Raise DeviceMemoryError where torch runs out of memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            "the device ran out of memory. Use a smaller size, decode fewer frames at a time "
            "(--decode-chunk 1) or close other programs that use it."
        ) from error
    except RuntimeError as error:
        if "not enough memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        raise DeviceMemoryError("the computer ran out of memory. Use a smaller size.") from error
