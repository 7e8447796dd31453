"""What to try, in order, when memory runs out: each step needs less memory and more time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hallo_cli.settings.schema import RuntimeSettings

FALLBACKS: Mapping[str, dict[str, Any]] = {  # the settings that change, by a name for people
    "frames decoded one at a time": {"decode_chunk": 1},
    "clips decoded before the next begins": {"decode_behind": "off"},
    "guidance in two passes": {"split_guidance": True},
    "networks kept in host memory": {"offload": True},
}


def next_fallback(runtime: RuntimeSettings) -> tuple[str, RuntimeSettings] | None:
    """Name and settings of the next fallback after these settings, or None if all are in use."""
    for name, changes in FALLBACKS.items():
        changed = dataclasses.replace(runtime, **changes)
        if changed != runtime:
            return name, changed
    return None
