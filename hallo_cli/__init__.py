"""Hallo: one portrait and one speech recording in, a video of that person speaking out.

    import hallo_cli as hallo

    video = hallo.render("portrait.jpg", "speech.wav", "out.mp4", steps=3)

    renderer = hallo.Renderer(bundle="official")      # weights stay loaded
    for row in rows:
        renderer.render(row.portrait, row.audio, row.output)
    for frame in renderer.frames("portrait.jpg", "speech.wav"):
        show(frame)                                   # [height, width, 3] uint8 RGB

Importing it loads no network package. All errors raised on purpose derive from `HalloError`.
"""

from typing import TYPE_CHECKING

__version__ = "0.2.0"

from hallo_cli.api import Renderer, compose, render, render_batch, repeat, speak, verify
from hallo_cli.errors import (
    ConsentError,
    DeviceMemoryError,
    HalloError,
    InputError,
    Interrupted,
    JobError,
    PortraitError,
    SettingsError,
    SpeechError,
    WeightsError,
)

if TYPE_CHECKING:
    from hallo_cli.jobs.record import JobResult
    from hallo_cli.jobs.runner import RunOptions, StopRequest
    from hallo_cli.jobs.verification import Verdict

_LATE = {
    "JobResult": "record",
    "RunOptions": "runner",
    "StopRequest": "runner",
    "Verdict": "verification",
}  # these import numpy

__all__ = [
    "ConsentError",
    "DeviceMemoryError",
    "HalloError",
    "InputError",
    "Interrupted",
    "JobError",
    "JobResult",
    "PortraitError",
    "Renderer",
    "RunOptions",
    "SettingsError",
    "SpeechError",
    "StopRequest",
    "Verdict",
    "WeightsError",
    "compose",
    "render",
    "render_batch",
    "repeat",
    "speak",
    "verify",
]


def __getattr__(name: str) -> object:
    """Import heavy modules when they are first used."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"hallo_cli.jobs.{_LATE[name]}"), name)
