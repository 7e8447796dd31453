"""Makes the video's frames of generated ones: puts them into the picture, onto a canvas, keeps transparency.

Transparent pictures are over white until the very end, together with their alpha: warping and scaling then
need no care. The last step takes the white out again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hallo_cli.analysis.framing import Canvas, cut
from hallo_cli.analysis.motion_canvas import MotionCanvas
from hallo_cli.domain import Bytes, CropBox, Portrait
from hallo_cli.errors import InputError, SettingsError
from hallo_cli.jobs.containers import is_transparent
from hallo_cli.jobs.inputs import picture_file
from hallo_cli.media.image import read_image, read_transparent
from hallo_cli.media.layout import CanvasStage, Layout, cover, lay_out, resized
from hallo_cli.media.pixels import BACKGROUND
from hallo_cli.settings.canvas import canvas_size, colour_of
from hallo_cli.settings.schema import RenderSettings

EYE_CORNERS = (33, 133, 362, 263)  # of the landmarks
LOWER_LIP = (17,)
MOST_ENLARGED = 3.0  # pictures that are enlarged more look soft
LEAST = 8  # of 255: below this alpha, a colour cannot be told from the white


@dataclass(frozen=True)
class Compositor:
    """Turns generated frames into the video's."""

    size: tuple[int, int]  # (width, height) of the video's frames
    frame_shape: tuple[int, ...]  # of one generated frame, see `domain.Clip`
    at_rest: Bytes  # a generated frame [1, *frame_shape] without motion
    shown: CropBox | None  # the square of the portrait's file that the frames show; None: they show no square
    compose: Callable[[Bytes], Bytes]  # generated frames [n, *frame_shape] -> [n, height, width, 3 or 4]
    warnings: tuple[str, ...] = ()  # for people, about the settings' canvas

    @classmethod
    def of(cls, canvas: Canvas | MotionCanvas) -> Compositor:
        """The one that puts frames into this picture."""
        return cls(canvas.size, canvas.frame_shape, canvas.at_rest, canvas.shown, canvas.compose)


def fitted(inner: Compositor, portrait: Portrait, settings: RenderSettings) -> Compositor:
    """The compositor itself, or one that puts its frames onto the settings' canvas.

    Raises SettingsError if the background is neither a colour nor a picture.
    """
    if settings.canvas is None:
        return inner
    size = canvas_size(settings.canvas)
    whole = _unsqueezed(inner.size, portrait.source_size) if settings.framing == "whole" else None
    eyes = _at(EYE_CORNERS, inner, portrait, settings.framing)
    layout = lay_out(whole or inner.size, size, eyes, is_cropped=settings.fit == "crop")
    background = None
    if settings.fit == "pad":
        background = _clear(size) if is_transparent(settings) else _background(settings.background, size)
    stage = CanvasStage(layout, background)

    def compose(frames: Bytes) -> Bytes:
        composed = inner.compose(frames)
        if whole is not None:
            composed = np.stack([resized(frame, whole) for frame in composed])
        return stage.place(composed)

    source = portrait.source_size[0] if inner.shown is None else inner.shown.side
    warnings = _warnings(
        layout, _at(LOWER_LIP, inner, portrait, settings.framing), enlargement=layout.scaled[0] / source
    )
    return Compositor(size, inner.frame_shape, inner.at_rest, None, compose, warnings)


def _warnings(layout: Layout, lip: tuple[float, float], *, enlargement: float) -> tuple[str, ...]:
    """What to say about a canvas that does not show the mouth, or shows a small picture large.

    lip: the lower lip in the frame, as shares of its size; enlargement: pixels of the canvas for one of the
    portrait's file.
    """
    warnings = []
    mouth = layout.left + lip[0] * layout.scaled[0], layout.top + lip[1] * layout.scaled[1]
    if not all(0 <= at < side for at, side in zip(mouth, layout.size, strict=True)):
        warnings.append("the canvas cuts the mouth off: use --fit pad or blur, or a wider --framing")
    if enlargement > MOST_ENLARGED:
        warnings.append(
            f"the canvas shows the picture enlarged {enlargement:.1f} times: "
            "use a larger portrait or a smaller canvas"
        )
    return tuple(warnings)


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


def _unsqueezed(square: tuple[int, int], source: tuple[int, int]) -> tuple[int, int]:
    """The size that gives a squeezed picture its own proportions back, with no fewer pixels."""
    side, shorter = min(square), min(source)
    return max(1, round(side * source[0] / shorter)), max(1, round(side * source[1] / shorter))


def _at(places: Sequence[int], inner: Compositor, portrait: Portrait, framing: str) -> tuple[float, float]:
    """Where the middle of some landmarks is in the inner frames, as shares of width and height."""
    side = portrait.pixels.shape[0]
    x, y = (float(at) for at in portrait.landmarks[list(places)].mean(axis=0) / side)
    if framing == "whole":
        return x, y
    crop = portrait.crop
    x, y = crop.left + x * crop.side, crop.top + y * crop.side  # in the source picture
    if inner.shown is not None:
        return (x - inner.shown.left) / inner.shown.side, (y - inner.shown.top) / inner.shown.side
    return x / portrait.source_size[0], y / portrait.source_size[1]


def _clear(size: tuple[int, int]) -> Bytes:
    """A transparent background, over white."""
    return np.full((size[1], size[0], 4), (*BACKGROUND, 0), np.uint8)


def _background(text: str, size: tuple[int, int]) -> Bytes:
    colour = colour_of(text)
    if colour is not None:
        return np.full((size[1], size[0], 3), colour, np.uint8)
    file = picture_file(text)
    try:
        return cover(read_image(file), size)
    except InputError as error:
        raise SettingsError(f"--background: {error}") from error
