"""Keeps what is transparent in a portrait transparent in its video, for the containers that can hold it.

Pictures are over white until the very end, together with their alpha: warping and scaling then need no care.
The last step takes the white out again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hallo_cli.analysis.framing import Canvas, cut
from hallo_cli.analysis.motion_canvas import MotionCanvas
from hallo_cli.media.image import read_transparent
from hallo_cli.media.layout import resized
from hallo_cli.media.pixels import BACKGROUND

if TYPE_CHECKING:
    from hallo_cli.domain import Bytes, Portrait
    from hallo_cli.jobs.engine import Compositor

LEAST = 8  # of 255: below this alpha, a colour cannot be told from the white


def with_alpha(inner: Compositor, alpha: Callable[[Bytes], Bytes]) -> Compositor:
    """The compositor with alpha as the fourth channel of its frames, which are over white.

    alpha: of generated frames, [n, height, width].
    """
    return dataclasses.replace(
        inner,
        compose=lambda frames: np.concatenate([inner.compose(frames), alpha(frames)[..., None]], axis=-1),
    )


def straight(inner: Compositor) -> Compositor:
    """The compositor with straight alpha: its colours without the white behind them."""
    return dataclasses.replace(
        inner,
        compose=lambda frames: np.stack([without_background(frame) for frame in inner.compose(frames)]),
    )


def read_alpha(file: Path, portrait: Portrait) -> Bytes:
    """How opaque the upright portrait is, as a grey picture [height, width, 3]. Raises PortraitError."""
    alpha = np.rot90(read_transparent(file)[..., 3:], portrait.quarter_turns)
    return np.ascontiguousarray(np.repeat(alpha, 3, axis=-1))


def cut_alpha(grey: Bytes, portrait: Portrait, framing: str) -> Portrait:
    """The portrait with its alpha in the place of its pixels."""
    size = portrait.pixels.shape[0]
    square = resized(grey, (size, size)) if framing == "whole" else cut(grey, portrait.crop, size)
    return dataclasses.replace(portrait, pixels=square)


def alpha_of(layer: Canvas | MotionCanvas) -> Callable[[Bytes], Bytes]:
    """The alpha of composed frames, from a canvas that holds the portrait's alpha as its picture.

    It moves with the picture's own pixels, and rests where the networks generate whole frames.
    """
    if isinstance(layer, MotionCanvas):
        return lambda frames: layer.compose(frames, is_painted=False)[..., 0]
    still = layer.compose(layer.at_rest)[0, ..., 0]
    return lambda frames: np.repeat(still[None], len(frames), axis=0)


def without_background(frame: Bytes) -> Bytes:
    """A frame [height, width, 4] whose colours are over white -> with its own colours."""
    alpha = frame[..., 3:].astype(np.float32)
    share = np.maximum(alpha, 1) / 255
    white = np.array(BACKGROUND, np.float32)
    own = np.clip((frame[..., :3] - white * (1 - share)) / share + 0.5, 0, 255)
    colours = np.where(alpha < LEAST, white, own).astype(np.uint8)
    return np.concatenate([colours, frame[..., 3:]], axis=-1)
