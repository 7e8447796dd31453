"""Pictures that are small on disk and large in memory, and those whose colours need a second look."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hallo_cli.errors import PortraitError, SpeechError
from hallo_cli.media import image
from hallo_cli.media.audio import read_sound
from hallo_cli.media.image import read_image

SIDE = 10_900
MOST_KIB = 400_000
MEASURE = """
import sys
from pathlib import Path
from hallo_cli.errors import PortraitError
from hallo_cli.media.image import read_image
try:
    print(read_image(Path(sys.argv[1])).shape)
except PortraitError as error:
    print(error)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def saved(file: Path, picture: Image.Image, **options: object) -> Path:
    picture.save(file, **options)  # type: ignore[arg-type]
    return file


def one_bit(folder: Path) -> Path:
    return saved(folder / "a.png", Image.new("1", (SIDE, SIDE)))


def floats(folder: Path) -> Path:
    return saved(folder / "a.tif", Image.new("F", (SIDE, SIDE)), compression="tiff_deflate")


def inks(folder: Path) -> Path:
    return saved(folder / "a.tif", Image.new("CMYK", (SIDE, SIDE)), compression="tiff_deflate")


def canvas(folder: Path) -> Path:
    return saved(folder / "a.gif", Image.new("P", (SIDE, SIDE)))


def colours(folder: Path) -> Path:
    return saved(folder / "a.png", Image.new("RGB", (SIDE, SIDE)), compress_level=9)


def alpha(folder: Path) -> Path:
    return saved(folder / "a.webp", Image.new("RGBA", (12_000, 9000)))


def deep_colours(folder: Path) -> Path:
    cv2.imwrite(str(folder / "a.png"), np.zeros((6000, 6000, 3), np.uint16))
    return folder / "a.png"


def blank_frames(folder: Path) -> Path:
    frames = [Image.new("P", (7340, 7340), colour) for colour in range(3)]
    return saved(folder / "a.gif", frames[0], save_all=True, append_images=frames[1:])


def blank_colours(folder: Path) -> Path:
    frames = [Image.new("RGB", (7340, 7340), (red, 0, 0)) for red in range(3)]
    return saved(folder / "a.png", frames[0], save_all=True, append_images=frames[1:])


def progressive_inks(folder: Path) -> Path:
    return saved(folder / "a.jpg", Image.new("CMYK", (SIDE, SIDE)), progressive=True, quality=5)


def two_photographs(folder: Path) -> Path:
    pair = [Image.new("RGB", (7340, 7340)) for _ in range(2)]
    options = {"append_images": pair[1:], "progressive": True, "quality": 5}
    return saved(folder / "a.mpo", pair[0], save_all=True, **options)


HOSTILE = [one_bit, floats, inks, canvas, colours, alpha]
HOSTILE += [deep_colours, blank_frames, blank_colours, progressive_inks, two_photographs]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measured in /proc")
@pytest.mark.parametrize("make", HOSTILE)
def test_pictures_of_kilobytes_cost_at_most_400_megabytes(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    command = [sys.executable, "-c", MEASURE, str(make(tmp_path))]
    said, peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said.endswith("3)") or "MB of memory" in said
    assert int(peak) < MOST_KIB


def test_a_large_photograph_is_read_smaller(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 9000).astype(np.uint8)[:, None], (9000, 6000))
    photograph = saved(tmp_path / "a.jpg", Image.fromarray(np.ascontiguousarray(ramp)), quality=90)
    pixels = read_image(photograph)
    assert pixels.shape == (4500, 3000, 3)
    assert np.abs(pixels[::100, 1500, 0] - ramp[::200, 0].astype(int)).max() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    scene = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    exif = Image.Exif()
    exif[0x0112] = orientation
    lying = Image.fromarray(scene)
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = lying if orientation == 1 else lying.transpose(turned[orientation])
    pixels = read_image(saved(tmp_path / "a.png", stored, exif=exif))
    assert np.array_equal(pixels[:, :, 0], scene)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_greys_of_any_depth_are_shown_by_the_bits_that_they_use(tmp_path: Path, bits: int) -> None:
    deep = np.linspace(0, 2**bits - 1, 256).astype(np.uint16).reshape(16, 16)
    pixels = read_image(saved(tmp_path / "a.png", Image.fromarray(deep)))
    assert np.abs(pixels[:, :, 0].ravel().astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bits", [12, 16])
def test_colours_of_any_depth_are_shown_by_the_bits_that_they_use(
    tmp_path: Path, suffix: str, bits: int
) -> None:
    deep = np.zeros((16, 16, 3), np.uint16)
    deep[:, :, 2] = np.linspace(0, 2**bits - 1, 256).reshape(16, 16)  # red, as OpenCV counts
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), deep)
    pixels = read_image(tmp_path / f"a.{suffix}")
    assert np.abs(pixels[:, :, 0].ravel().astype(int) - np.arange(256)).max() <= 1
    assert not pixels[:, :, 1:].any()


@pytest.mark.parametrize("bits", [12, 16])
def test_colours_of_any_depth_are_shown_beside_transparency(tmp_path: Path, bits: int) -> None:
    deep = np.full((16, 16, 4), 65535, np.uint16)
    deep[:, :, :3] = np.linspace(0, 2**bits - 1, 256).reshape(16, 16, 1)
    deep[8:, :, 3] = 0
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    pixels = read_image(tmp_path / "a.png")
    assert np.abs(pixels[:8, :, 0].ravel().astype(int) - np.arange(128)).max() <= 1
    assert (pixels[8:] == 255).all()


def test_large_dark_colours_of_any_depth_are_made_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "KEPT_PIXELS", 360_000)
    deep = np.random.default_rng(0).integers(0, 4096, (620, 620, 1), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), np.repeat(deep, 3, axis=2))
    pixels = read_image(tmp_path / "a.png")
    assert pixels.shape == (310, 310, 3)
    assert 120 < pixels.mean() < 135


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_that_begins_blank_the_first_picture_is_taken(tmp_path: Path, suffix: str) -> None:
    scene = np.zeros((64, 64, 3), np.uint8)
    scene[16:48, 16:48] = (250, 40, 40)
    frames = [Image.new("RGB", (64, 64), (255, 255, 255))] * 2 + [Image.fromarray(scene)]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - scene).max() < 8


def test_swapped_files_are_recognised(tmp_path: Path, wav: Path) -> None:
    picture = saved(tmp_path / "a.png", Image.new("RGB", (64, 64)))
    with pytest.raises(PortraitError, match="is a sound file"):
        read_image(wav)
    with pytest.raises(SpeechError, match="is a picture"):
        read_sound(picture)


@pytest.mark.parametrize("kind", ["mp3", "flac", "ogg", "m4a", "aiff"])
def test_every_sound_is_recognised_where_a_picture_is_expected(
    wav: Path, ffmpeg_run: Callable[..., None], kind: str
) -> None:
    ffmpeg_run("-i", wav, wav.with_name(f"a.{kind}"))
    with pytest.raises(PortraitError, match="is a sound file"):
        read_image(wav.with_name(f"a.{kind}"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_picture_is_recognised_where_sound_is_expected(tmp_path: Path, kind: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, kind)
    (tmp_path / "a").write_bytes(buffer.getvalue())
    with pytest.raises(SpeechError, match="is a picture"):
        read_sound(tmp_path / "a")
