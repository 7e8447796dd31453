"""Says what running out of memory is, and what to try then."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hallo_cli.errors import DeviceMemoryError
from hallo_cli.settings.schema import RuntimeSettings

# In torch's errors, all of which are RuntimeErrors and few of a kind of their own.
DEVICE_SAID = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")  # the latter two by cuBLAS and cuDNN
COMPUTER_SAID = ("not enough memory", "allocate memory")
# What to try, in order: each needs less memory and more time. The settings that change, by a name for people.
FALLBACKS: Mapping[str, dict[str, Any]] = {
    "frames decoded one at a time": {"decode_chunk": 1},
    "clips decoded before the next begins": {"decode_behind": "off"},
    "guidance in two passes": {"split_guidance": True},
    "networks kept in host memory": {"offload": True},
}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device's or the computer's memory ran out."""
    is_torch = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    says_so = isinstance(error, RuntimeError) and _says(error, *DEVICE_SAID, *COMPUTER_SAID)
    return isinstance(error, DeviceMemoryError | MemoryError) or is_torch or says_so


@contextmanager
def reporting_memory() -> Iterator[None]:
    """Raise DeviceMemoryError if torch or this program runs out of memory."""
    try:
        yield
    except MemoryError as error:
        raise DeviceMemoryError("the computer ran out of memory. Use a smaller size.") from error
    except RuntimeError as error:
        if _says(error, *DEVICE_SAID):
            raise DeviceMemoryError(
                "the device ran out of memory. Use a smaller size, decode fewer frames at a time "
                "(--decode-chunk 1) or close other programs that use it."
            ) from error
        if _says(error, *COMPUTER_SAID):
            raise DeviceMemoryError("the computer ran out of memory. Use a smaller size.") from error
        raise


def next_fallback(runtime: RuntimeSettings) -> tuple[str, RuntimeSettings] | None:
    """Name and settings of the next fallback after these settings, or None if all are in use."""
    for name, changes in FALLBACKS.items():
        changed = dataclasses.replace(runtime, **changes)
        if changed != runtime:
            return name, changed
    return None


def _says(error: BaseException, *words: str) -> bool:
    return any(some in str(error) for some in words)
