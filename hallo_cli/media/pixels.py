"""Turns an opened picture into RGB strip by strip, so that memory holds little more than the result."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from math import ceil, sqrt
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile

from hallo_cli.domain import Bytes

BACKGROUND = (255, 255, 255)  # the colour behind transparent pixels
STRIP_PIXELS = 2_000_000
BLANK_RANGE = 8  # grey levels; a frame with less contrast counts as blank
SAMPLED = 16  # of so many rows and columns one is looked at first
DARK = 64  # of 255; a 16-bit picture below this uses fewer bits
# Peak memory of decoding, in bytes for each RGB pixel, measured; others: Pillow's own buffer.
DECODER_BYTES = {
    "WEBP": 16.0,
    "AVIF": 10.0,
    "JPEG2000": 20.0,
    "HEIF": 10.0,
    "QOI": 7.0,
    "SGI": 6.0,
    **dict.fromkeys(("DDS", "ICO", "ICNS", "PSD"), 8.0),
}
MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
COEFFICIENT_BYTES = 2  # of a progressive JPEG, all of which are held
DEEP_BYTES = 15.0  # for each pixel with 16 bits a colour: decoded again by OpenCV, beside the result
LATER_FRAME_BYTES = 24.0  # for each pixel of an animation: the canvas, the frames before and the result

Values = npt.NDArray[np.float32]


def decoding_bytes(picture: Image.Image, n_coded: int) -> float:
    """The approximate memory that decoding the first frame takes; `n_coded` pixels are in the file."""
    own = float(MODE_BYTES.get(picture.mode, 4))
    n_pixels = picture.width * picture.height
    if isinstance(picture, JpegImageFile):  # some phones' hold more pictures, and are called MPO
        return n_pixels * own + n_coded * _coefficients(picture) * COEFFICIENT_BYTES
    if picture.format == "TIFF":
        own *= 2  # the whole picture may be one strip
    return n_pixels * max(own, DECODER_BYTES.get(picture.format or "", 0.0))


def _coefficients(picture: JpegImageFile) -> float:
    """The coefficients for each pixel that a JPEG's decoder holds."""
    if not picture.info.get("progressive"):
        return 0.0
    samples = [across * down for _, across, down, _ in picture.layer]
    return sum(samples) / max(samples, default=1)


def pixels_of(picture: Image.Image, kept_pixels: int, *, keeps_alpha: bool) -> Bytes:
    """The current frame as [height, width, 3]; reduced by a whole factor if it has more pixels.

    keeps_alpha: a fourth channel says how opaque it is, 255 where it is fully.
    """
    picture.load()
    reduction = max(1, ceil(sqrt(picture.width * picture.height / kept_pixels)))
    convert, has_alpha = _converter(picture), keeps_alpha and _has_alpha(picture)
    size = (-(-picture.height // reduction), -(-picture.width // reduction), 4 if keeps_alpha else 3)
    pixels: Bytes = np.full(size, 255, np.uint8)
    for top, strip in _strips(picture, reduction):
        part = convert(strip).reduce(reduction)
        rows = slice(top // reduction, top // reduction + part.height)
        pixels[rows, :, :3] = np.asarray(part)
        if has_alpha:
            pixels[rows, :, 3] = np.asarray(strip.convert("RGBA").getchannel("A").reduce(reduction))
    return pixels


def upright(rgb: Bytes, orientation: int) -> Bytes:
    """A view of pixels [height, width, channels], turned and mirrored as the EXIF orientation (1..8) says."""
    if orientation in (5, 6, 7, 8):
        rgb = rgb.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    return rgb


def is_blank(pixels: Bytes) -> bool:
    """Whether a frame is of one colour."""
    rgb = pixels[..., :3]
    some = rgb[::SAMPLED, ::SAMPLED]  # most pictures differ in these already
    return all(int(np.ptp(part, axis=(0, 1)).max()) < BLANK_RANGE for part in (some, rgb))


def _strips(picture: Image.Image, reduction: int) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, STRIP_PIXELS // max(1, picture.width) // reduction) * reduction
    for top in range(0, picture.height, rows):
        yield top, picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def _converter(picture: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """The function that converts a strip to RGB."""
    if picture.mode.startswith(("I", "F")):
        return _deep_grey(picture)
    if _has_alpha(picture):
        return _over_background
    transform = _to_srgb(picture)
    if transform is None:
        return lambda strip: strip.convert("RGB")
    return lambda strip: ImageCms.applyTransform(strip, transform) or strip.convert("RGB")


def _has_alpha(picture: Image.Image) -> bool:
    return "transparency" in picture.info or picture.mode in ("LA", "La", "PA", "RGBA", "RGBa")


def _over_background(strip: Image.Image) -> Image.Image:
    layers = strip.convert("RGBA")
    canvas = Image.new("RGBA", layers.size, (*BACKGROUND, 255))
    return Image.alpha_composite(canvas, layers).convert("RGB")


def _to_srgb(picture: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """A conversion from the embedded colour profile, which wide-gamut and CMYK pictures need."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "CMYK", "L"):
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), picture.mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # a broken profile is no reason to refuse the pixels


def _deep_grey(picture: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Show 16- and 32-bit greys and floats in 8 bits, by the range that they use."""
    strips = (_finite(strip) for _, strip in _strips(picture, 1))
    ranges = [(float(values.min()), float(values.max())) for values in strips]
    low, high = _nominal(min(low for low, _ in ranges), max(high for _, high in ranges))

    def convert(strip: Image.Image) -> Image.Image:
        grey = ((_finite(strip) - low) / max(high - low, 1e-12) * 255).round().astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")

    return convert


def _finite(strip: Image.Image) -> Values:
    return np.nan_to_num(np.asarray(strip).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)


def _nominal(low: float, high: float) -> tuple[float, float]:
    """The nominal range of the values: 0..1, or the 8 to 16 bits in use; else their minimum and maximum."""
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= 0 and high <= 65535:
        return 0.0, float(2 ** max(8, int(high).bit_length()) - 1)
    return low, high


def has_deep_colours(picture: Image.Image) -> bool:
    """Whether a picture that was not loaded yet holds 16 bits a colour, of which Pillow keeps the upper 8."""
    is_colour = picture.format in ("PNG", "TIFF") and picture.mode in ("RGB", "RGBA", "LA")
    is_still = not getattr(picture, "is_animated", False)
    return is_colour and is_still and any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))


def is_dark(picture: Image.Image) -> bool:
    """Whether no colour of a loaded picture is brighter than a picture of fewer than 16 bits can be."""
    highest = np.reshape(picture.getextrema(), (-1, 2))[:, 1]
    return all(high < DARK for band, high in zip(picture.getbands(), highest, strict=True) if band != "A")


def fill_with_all_bits(rgb: Bytes, file: Path) -> None:
    """Show a file with 16 bits a colour by as many bits as it uses; `rgb` holds its upper 8."""
    deep = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3:
        return
    reduction = -(-deep.shape[0] // rgb.shape[0])
    scale = np.float32(255 / (2 ** max(8, int(deep[:, :, :3].max()).bit_length()) - 1))
    rows = max(1, STRIP_PIXELS // deep.shape[1] // reduction) * reduction
    for top in range(0, len(deep), rows):
        strip = deep[top : top + rows]
        colours = (strip[:, :, 2::-1] * scale).round().astype(np.uint8)
        if strip.shape[2] == 4:
            opaque = (strip[:, :, 3:] // 256).astype(np.uint8)
            part = _over_background(Image.fromarray(np.concatenate([colours, opaque], axis=-1)))
        else:
            part = Image.fromarray(colours)
        part = part.reduce(reduction)
        rgb[top // reduction : top // reduction + part.height] = np.asarray(part)
