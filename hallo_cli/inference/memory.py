"""Says what to do if a device runs out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hallo_cli.errors import DeviceMemoryError

# In torch's errors, all of which are RuntimeErrors and few of a kind of their own.
DEVICE_SAID = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")  # the latter two by cuBLAS and cuDNN
COMPUTER_SAID = ("not enough memory", "allocate memory")


def is_lack_of_memory(error: RuntimeError) -> bool:
    """Whether one of torch's errors says that a device's or the computer's memory ran out."""
    return any(words in str(error) for words in (*DEVICE_SAID, *COMPUTER_SAID))


@contextmanager
def reporting_memory() -> Iterator[None]:
    """Raise DeviceMemoryError if torch runs out of memory."""
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error) for words in DEVICE_SAID):
            raise DeviceMemoryError(
                "the device ran out of memory. Use a smaller size, decode fewer frames at a time "
                "(--decode-chunk 1) or close other programs that use it."
            ) from error
        if any(words in str(error) for words in COMPUTER_SAID):
            raise DeviceMemoryError("the computer ran out of memory. Use a smaller size.") from error
        raise
