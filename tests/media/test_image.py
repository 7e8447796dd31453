"""Any picture comes out upright, opaque and in 8-bit RGB; what is none is refused with a reason."""

import importlib.util
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hallo_cli.errors import PortraitError
from hallo_cli.media.image import read_image, write_png


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Forty by thirty pixels: red upper left, green upper right, blue below."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:15, :20, 0] = pixels[:15, 20:, 1] = pixels[15:, :, 2] = 200
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "suffix", ["png", "bmp", "tiff", "gif", "webp", "ppm", "tga", "jp2", "qoi", "jpg", "avif"]
)
def test_every_format_gives_the_same_picture(tmp_path: Path, picture: Image.Image, suffix: str) -> None:
    options = {"webp": {"lossless": True}, "jpg": {"quality": 95}}.get(suffix, {})
    picture.save(tmp_path / f"a.{suffix}", **options)
    difference = read_image(tmp_path / f"a.{suffix}").astype(int) - np.asarray(picture)
    # Halved colour resolution smears JPEG's and AVIF's edges; their areas stay.
    assert np.median(np.abs(difference)) <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, picture: Image.Image, orientation: int) -> None:
    turns = {
        **{1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180]},
        **{4: [Image.Transpose.FLIP_TOP_BOTTOM], 5: [Image.Transpose.TRANSPOSE]},
        **{6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270]},
    }
    stored = picture
    for turn in turns[orientation]:
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(picture))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "RGBA", "LA"])
def test_every_mode_becomes_rgb(tmp_path: Path, picture: Image.Image, mode: str) -> None:
    (picture.convert("RGB").convert(mode) if mode != "LAB" else _lab(picture)).save(tmp_path / "a.tiff")
    assert read_image(tmp_path / "a.tiff").shape == (30, 40, 3)


def _lab(picture: Image.Image) -> Image.Image:
    return Image.frombytes("LAB", picture.size, picture.tobytes())


def test_transparency_shows_white(tmp_path: Path, picture: Image.Image) -> None:
    layers = picture.convert("RGBA")
    layers.putalpha(Image.fromarray(np.full((30, 40), 51, np.uint8)))
    layers.save(tmp_path / "a.png")
    expected = np.asarray(picture) * 0.2 + 255 * 0.8
    assert np.abs(read_image(tmp_path / "a.png") - expected).max() <= 1


def test_transparent_palette_colour_shows_white(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 255, 0, 0])
    palette.save(tmp_path / "a.png", transparency=0)
    assert (read_image(tmp_path / "a.png") == 255).all()


@pytest.mark.parametrize(("values", "expected"), [((0, 65535), (0, 255)), ((0, 32768), (0, 128))])
def test_sixteen_bits_become_eight(
    tmp_path: Path, values: tuple[int, int], expected: tuple[int, int]
) -> None:
    Image.fromarray(np.array([values], np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png")[0, :, 0].tolist() == list(expected)


def test_floats_between_zero_and_one_become_greys(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0.5, 1, np.nan]], np.float32)).save(tmp_path / "a.tiff")
    assert read_image(tmp_path / "a.tiff")[0, :, 1].tolist() == [0, 128, 255, 0]


def test_wide_gamut_colours_are_converted(tmp_path: Path, picture: Image.Image) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(tmp_path / "a.png", icc_profile=profile)
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - np.asarray(picture)).max() <= 2
    picture.save(tmp_path / "b.png", icc_profile=b"broken" * 40)
    assert np.array_equal(read_image(tmp_path / "b.png"), np.asarray(picture))


def test_animation_gives_its_first_frame(tmp_path: Path, picture: Image.Image) -> None:
    black = Image.new("RGB", picture.size)
    picture.save(tmp_path / "a.webp", save_all=True, append_images=[black], lossless=True)
    assert np.array_equal(read_image(tmp_path / "a.webp"), np.asarray(picture))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises a size that its data does not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(20_000, 20_000), (2_000_000, 10), (10, 40_000), (2**31 - 1, 2**31 - 1)])
def test_huge_pictures_are_refused_unread(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(png_of_size(*size))
    with pytest.raises(PortraitError, match=r"pixels|damaged|no picture"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(12_001, 10_000), (32_001, 10)])
def test_limits_of_a_picture_are_told(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(png_of_size(*size))
    with pytest.raises(PortraitError, match="at most 120 million and 32000 a side can be read"):
        read_image(tmp_path / "a.png")


HEIC_START = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic"


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is not None, reason="HEIC can be read here")
def test_heic_pictures_are_refused_with_the_way_to_read_them(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(HEIC_START + bytes(100))
    with pytest.raises(PortraitError, match=r"hallo-cli\[heic\].*JPEG"):
        read_image(tmp_path / "a.heic")


def test_heic_pictures_are_read_where_the_library_is(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    pixels = np.full((64, 80, 3), (200, 120, 60), np.uint8)
    heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "a.heic", quality=95)
    assert np.abs(read_image(tmp_path / "a.heic").astype(int) - pixels).max() <= 6
    (tmp_path / "b.heic").write_bytes((tmp_path / "a.heic").read_bytes()[:200])
    with pytest.raises(PortraitError):
        read_image(tmp_path / "b.heic")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    for name, reason in [
        ("fifo", "pipe or device"),
        ("", "is a folder"),
        ("loop", "cannot be found"),
        ("empty.png", "0 bytes"),
        ("none.png", "does not exist"),
        ("text.png", "not a readable picture"),
        ("a.eps", "not a readable picture"),
    ]:
        with pytest.raises(PortraitError, match=reason) as caught:
            read_image(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1


def test_names_like_options_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-i", "--help", "bild 画像 🙂.png"):
        Image.new("RGB", (3, 2)).save(name, format="PNG")
        assert read_image(Path(name)).shape == (2, 3, 3)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_pictures_end_in_pixels_or_in_a_portrait_error(
    tmp_path: Path, picture: Image.Image, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    suffix = ("png", "jpg", "webp", "gif", "tiff", "bmp", "tga", "jp2", "avif", "ppm")[seed % 10]
    file = tmp_path / f"a.{suffix}"
    picture.resize((200, 150)).save(file)
    content = bytearray(file.read_bytes())
    if seed // 10 % 2:
        content = content[: int(rng.integers(1, len(content)))]
    for _ in range(seed // 10 * 6):
        content[int(rng.integers(len(content)))] = int(rng.integers(256))
    file.write_bytes(bytes(content))
    assert_pixels_or_reason(file)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_cut_off_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(PortraitError):
        read_image(file)


def assert_pixels_or_reason(file: Path) -> None:
    """Read a file that may be damaged; anything but pixels or a one-line PortraitError fails the test."""
    try:
        pixels = read_image(file)
    except PortraitError as error:
        reason = str(error)
        assert len(reason.splitlines()) == 1
    else:
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3


def test_written_png_reads_back(tmp_path: Path, picture: Image.Image) -> None:
    write_png(tmp_path / "a.png", np.asarray(picture))
    assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(picture))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
