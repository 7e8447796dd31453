"""Reads pictures upright as RGB arrays and writes PNG; knows nothing of faces."""

from __future__ import annotations

import importlib.util
import struct
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from math import ceil, sqrt
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from hallo_cli.domain import Bytes
from hallo_cli.errors import PortraitError
from hallo_cli.media.files import reason_of, require_file, shown, sniff
from hallo_cli.media.pixels import (
    DEEP_BYTES,
    LATER_FRAME_BYTES,
    decoding_bytes,
    fill_with_all_bits,
    has_deep_colours,
    is_blank,
    is_dark,
    pixels_of,
    upright,
)
from hallo_cli.store.writing import replacing

MAX_PIXELS = 120_000_000
MAX_SIDE = 32_000
# Formats that run other programs (EPS) or describe drawings (WMF) are left out.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "AVIF", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "ICO", "ICNS"),
    *("JPEG2000", "PCX", "SGI", "PSD", "DDS", "QOI", "HEIF"),
)
KEPT_PIXELS = 36_000_000  # larger pictures are made smaller; 7680 x 4320 is not
LARGE_PIXELS = 12_000_000  # above this, processes that share a lock take turns
SMALL_FILE = 1 << 20  # bytes
SMALL_FILE_MEMORY, LARGE_FILE_MEMORY = 220_000_000, 800_000_000  # bytes while decoding
MAX_BLANK_FRAMES = 100
# What Pillow's decoders are known to raise on damaged files.
DECODING_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError),
    *(RuntimeError, AssertionError, MemoryError, struct.error, Image.DecompressionBombError),
)


_turn: Callable[[], AbstractContextManager[object]] = nullcontext


def read_image(file: Path) -> Bytes:
    """Return a picture as [height, width, 3] uint8 sRGB, turned upright, transparency over white.

    Of an animation, the first frame that is not blank. Pictures of more than 36 million pixels are made
    smaller. Raises PortraitError if the file is not a picture, is damaged, or needs too much memory.
    """
    return _read(file, keeps_alpha=False)


def read_transparent(file: Path) -> Bytes:
    """Like `read_image`, with how opaque each pixel is as a fourth channel; colours are over white, too."""
    return _read(file, keeps_alpha=True)


def _read(file: Path, *, keeps_alpha: bool) -> Bytes:
    checked = require_file(file, PortraitError, "portrait")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked below; broken metadata does not matter
            with Image.open(checked, formats=_known_formats()) as picture:
                n_pixels = picture.width * picture.height
                _require_bounded(picture.size, file)
                reduction = ceil(sqrt(n_pixels / KEPT_PIXELS))
                if isinstance(picture, JpegImageFile) and reduction > 1:
                    picture.draft(None, (picture.width // reduction, picture.height // reduction))
                require = partial(_require_memory, file, checked.stat().st_size, picture)
                require(decoding_bytes(picture, n_pixels))
                with _turn() if n_pixels > LARGE_PIXELS else nullcontext():
                    is_deep = has_deep_colours(picture)
                    pixels = _pixels(picture, require, keeps_alpha=keeps_alpha)
                    orientation = _orientation(picture)
                    if is_deep and is_dark(picture):
                        require(n_pixels * DEEP_BYTES)
                        picture.close()  # gives its memory back
                        fill_with_all_bits(pixels[..., :3], checked)
        return np.ascontiguousarray(upright(pixels, orientation))
    except UnidentifiedImageError:
        raise PortraitError(_no_picture(checked, file)) from None
    except DECODING_ERRORS as error:
        raise PortraitError(
            f"The portrait {shown(file)} is damaged: {reason_of(error)}. Export it again as JPEG or PNG."
        ) from error


def take_turns(lock: Callable[[], AbstractContextManager[object]]) -> None:
    """Have this process decode large pictures only while it holds a lock, which it shares with others."""
    global _turn  # noqa: PLW0603 - a process of a pool has no other place for what it was started with
    _turn = lock


def write_png(file: Path, pixels: Bytes) -> None:
    """Write [height, width, 3] or [height, width] uint8, completely or not at all. Raises OutputError."""
    with replacing(file) as opened:
        Image.fromarray(pixels).save(opened, format="PNG")


@cache
def _known_formats() -> list[str]:
    Image.init()
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
    return [name for name in FORMATS if name in Image.OPEN]  # AVIF and HEIF need libraries


def _no_picture(checked: Path, file: Path) -> str:
    """The message about a file that no decoder reads."""
    kind = sniff(checked)
    if kind == "HEIC picture":
        return f'The portrait {shown(file)} is HEIC: install "hallo-cli[heic]", or save it as a JPEG.'
    if kind == "sound":
        return f"The portrait {shown(file)} is a sound file. Did you swap portrait and recording?"
    if kind == "video":
        return f"The portrait {shown(file)} is a video. Save one frame of it as a JPEG or PNG."
    return f"The portrait {shown(file)} is not a readable picture. Give a JPEG, PNG or WebP file."


def _require_bounded(size: tuple[int, int], file: Path) -> None:
    width, height = size
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        raise PortraitError(
            f"The portrait {shown(file)} has {width} x {height} pixels; at most "
            f"{MAX_PIXELS // 10**6} million and {MAX_SIDE} a side can be read. Make it smaller."
        )


def _require_memory(file: Path, n_bytes: int, picture: Image.Image, needed: float) -> None:
    """Refuse decompression bombs: the memory limit grows with the file's size."""
    allowed = SMALL_FILE_MEMORY if n_bytes < SMALL_FILE else LARGE_FILE_MEMORY
    if needed > allowed:
        raise PortraitError(
            f"The portrait {shown(file)} has {picture.width} x {picture.height} pixels in "
            f"{max(1, n_bytes // 1000)} kB: reading it takes {needed / 1e6:.0f} MB of memory, "
            f"at most {allowed / 1e6:.0f} MB are allowed. Save it smaller, or as a JPEG."
        )


def _pixels(picture: Image.Image, require: Callable[[float], None], *, keeps_alpha: bool) -> Bytes:
    """The first frame that is not blank; `require` refuses memory."""
    pixels = pixels_of(picture, KEPT_PIXELS, keeps_alpha=keeps_alpha)
    if not is_blank(pixels):
        return pixels
    n_frames = getattr(picture, "n_frames", 1)  # reads the whole file
    if n_frames == 1:
        return pixels
    require(picture.width * picture.height * LATER_FRAME_BYTES)
    for frame in range(1, min(n_frames, MAX_BLANK_FRAMES)):
        picture.seek(frame)
        later = pixels_of(picture, KEPT_PIXELS, keeps_alpha=keeps_alpha)
        if not is_blank(later):
            return later
    return pixels


def _orientation(picture: Image.Image) -> int:
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except DECODING_ERRORS:
        return 1  # broken metadata is no reason to refuse the pixels
