"""Reads the shape of a video and its background colour from text; knows no pictures."""

from __future__ import annotations

import re
from math import gcd

NAMED = {"portrait": "9:16", "landscape": "16:9", "square": "1:1"}
SHORT_SIDE = 1080  # pixels, where only the shape is given
MIN_SIDE, MAX_SIDE = 64, 4096  # common players' limit for H.264
MAX_RATIO = 3.5  # of the longer side to the shorter
MEANS = (
    "a size such as 1080x1920 (even numbers from 64 to 4096), a shape such as 9:16, portrait, landscape or "
    "square (the shorter side is 1080 pixels then)"
)
_COLOUR = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
COLOURS = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "gray": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 255, 0),  # the green of green screens
    "blue": (0, 0, 255),
}


def canvas_size(text: str) -> tuple[int, int]:
    """Width and height in pixels. Raises ValueError if the text is neither a size nor a shape."""
    shape = NAMED.get(text.strip().lower(), text.strip().lower())
    if found := re.fullmatch(r"(\d{1,5})x(\d{1,5})", shape):
        width, height = int(found[1]), int(found[2])
    elif found := re.fullmatch(r"(\d{1,4}):(\d{1,4})", shape):
        width, height = _of_ratio(int(found[1]), int(found[2]))
    else:
        raise ValueError(text)
    sides = (width, height)
    if min(sides) < MIN_SIDE or max(sides) > MAX_SIDE or width % 2 or height % 2:
        raise ValueError(text)
    return sides


def colour_of(text: str) -> tuple[int, int, int] | None:
    """Red, green and blue from 0 to 255; None if the text is no colour."""
    name = text.strip().lower()
    if _COLOUR.fullmatch(name):
        digits = name[1:] if len(name) == 7 else "".join(digit * 2 for digit in name[1:])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    return COLOURS.get(name)


def _of_ratio(across: int, down: int) -> tuple[int, int]:
    if not across or not down or max(across, down) > MAX_RATIO * min(across, down):
        raise ValueError(f"{across}:{down}")
    across, down = across // gcd(across, down), down // gcd(across, down)
    long = 2 * round(SHORT_SIDE * max(across, down) / min(across, down) / 2)
    return (long, SHORT_SIDE) if across > down else (SHORT_SIDE, long)
