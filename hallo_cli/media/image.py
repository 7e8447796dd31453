"""Reads pictures upright as RGB arrays and writes PNG; knows nothing of faces."""

from __future__ import annotations

import importlib.util
import io
import struct
import warnings
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from hallo_cli.domain import Bytes
from hallo_cli.errors import PortraitError
from hallo_cli.media.files import reason_of, require_file, shown
from hallo_cli.store.writing import replacing

MAX_PIXELS = 120_000_000
MAX_SIDE = 32_000
# Formats that run other programs (EPS) or describe drawings (WMF) are left out.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "AVIF", "BMP", "DIB", "GIF", "TIFF", "PPM", "TGA", "ICO", "ICNS"),
    *("JPEG2000", "PCX", "SGI", "PSD", "DDS", "QOI", "HEIF"),
)
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels
# What Pillow's decoders are known to raise on damaged files.
DECODING_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError),
    *(RuntimeError, AssertionError, MemoryError, struct.error, Image.DecompressionBombError),
)


def read_image(file: Path) -> Bytes:
    """Return a picture as [height, width, 3] uint8 sRGB, turned upright, transparency over white.

    Of an animation, the first frame. Raises PortraitError if the file is no picture, damaged or too large.
    """
    checked = require_file(file, PortraitError, "portrait")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked below; odd metadata does not matter
            with Image.open(checked, formats=_known_formats()) as picture:
                _require_bounded(picture.size, file)
                return _upright_rgb(picture)
    except UnidentifiedImageError:
        if _is_heif(checked):
            raise PortraitError(
                f'The portrait {shown(file)} is HEIC: install "hallo-cli[heic]", or save it as a JPEG.'
            ) from None
        raise PortraitError(
            f"The portrait {shown(file)} is no picture that can be read. Give a JPEG, PNG or WebP file."
        ) from None
    except DECODING_ERRORS as error:
        raise PortraitError(
            f"The portrait {shown(file)} is damaged: {reason_of(error)}. Export it again as JPEG or PNG."
        ) from error


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
    return [name for name in FORMATS if name in Image.OPEN]  # AVIF and HEIF need libraries that may lack


def _is_heif(file: Path) -> bool:
    """Whether a file says that it is what phones store pictures in (ISO 23008-12: its brands)."""
    with file.open("rb") as opened:
        start = opened.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS


def _require_bounded(size: tuple[int, int], file: Path) -> None:
    width, height = size
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        raise PortraitError(
            f"The portrait {shown(file)} has {width} x {height} pixels; at most "
            f"{MAX_PIXELS // 10**6} million and {MAX_SIDE} a side can be read. Make it smaller."
        )


def _upright_rgb(picture: Image.Image) -> Bytes:
    profile = picture.info.get("icc_profile")
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith(("I", "F")):
        return _from_deep_grey(np.asarray(upright, np.float64))
    if "transparency" in upright.info or upright.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        layers = upright.convert("RGBA")
        canvas = Image.new("RGBA", layers.size, (*BACKGROUND, 255))
        upright = Image.alpha_composite(canvas, layers).convert("RGB")
    rgb = _in_srgb(upright, profile).convert("RGB")
    return np.array(rgb, np.uint8)


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert from the embedded colour profile; wide-gamut and CMYK pictures look washed out without."""
    if not profile or picture.mode not in ("RGB", "CMYK", "L"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture  # a broken profile is no reason to refuse the pixels
    return picture if converted is None else converted


def _from_deep_grey(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Bytes:
    """Show 16- and 32-bit greys and floats in 8 bits: by their nominal range, else by their own."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0 if high > 255 else 255.0
    grey = ((finite - low) / max(high - low, 1e-12) * 255).round().astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)
