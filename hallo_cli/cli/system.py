"""Where this program runs: Linux and macOS on Apple silicon."""

from __future__ import annotations

import os
import sys


def objection(platform: str = sys.platform, machine: str | None = None) -> str:
    """Why this program does not run on a system, and what to do; empty if it runs there."""
    machine = (os.uname().machine if hasattr(os, "uname") else "") if machine is None else machine
    if platform == "darwin" and machine == "x86_64":
        return (
            "there is no torch 2.6 or newer for Intel Macs, which this program needs. On Apple silicon, use "
            "a Python that is built for it; else use Linux."
        )
    if platform in ("linux", "darwin"):
        return ""
    return f"this program runs on Linux and macOS, not on {platform}. On Windows, use WSL 2."
