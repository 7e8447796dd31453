"""What to try, in order, when memory runs out: each step needs less memory and more time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from hallo_cli.errors import DeviceMemoryError
from hallo_cli.inference.memory import COMPUTER_SAID, DEVICE_SAID
from hallo_cli.settings.schema import RuntimeSettings


@dataclass(frozen=True)
class Rung:
    """Settings to continue with, and their name for people."""

    name: str
    runtime: RuntimeSettings


def next_rung(runtime: RuntimeSettings) -> Rung | None:
    """The next fallback after these settings, or None if all are in use."""
    if runtime.decode_chunk != 1:
        return Rung("frames decoded one at a time", dataclasses.replace(runtime, decode_chunk=1))
    if runtime.decode_behind != "off":
        return Rung("clips decoded before the next begins", dataclasses.replace(runtime, decode_behind="off"))
    if not runtime.split_guidance:
        return Rung("guidance in two passes", dataclasses.replace(runtime, split_guidance=True))
    if not runtime.offload:
        return Rung("networks kept in host memory", dataclasses.replace(runtime, offload=True))
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on a device or in the process."""
    is_torch = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    said = (*DEVICE_SAID, *COMPUTER_SAID)
    says_so = isinstance(error, RuntimeError) and any(words in str(error) for words in said)
    return isinstance(error, DeviceMemoryError | MemoryError) or is_torch or says_so
