"""What to try, in order, when memory runs out: each step needs less memory and more time."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from hallo_cli.settings.schema import RuntimeSettings


@dataclass(frozen=True)
class Fallback:
    """Settings to continue with, and their name for people."""

    name: str
    runtime: RuntimeSettings


def next_fallback(runtime: RuntimeSettings) -> Fallback | None:
    """The next fallback after these settings, or None if all are in use."""
    if runtime.decode_chunk != 1:
        return Fallback("frames decoded one at a time", dataclasses.replace(runtime, decode_chunk=1))
    if runtime.decode_behind != "off":
        return Fallback(
            "clips decoded before the next begins", dataclasses.replace(runtime, decode_behind="off")
        )
    if not runtime.split_guidance:
        return Fallback("guidance in two passes", dataclasses.replace(runtime, split_guidance=True))
    if not runtime.offload:
        return Fallback("networks kept in host memory", dataclasses.replace(runtime, offload=True))
    return None
