"""Generates files that cannot be portraits or recordings, every one in its own way, from a seed."""

import io
import os
import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

ODD_NAMES = ("-o", "--help", "e\nvil", "фото", "顔 と 声", "a'b\"c", "%s%n", "name with spaces.", "x" * 200)
FRACTIONS = (0.02, 0.1, 0.3, 0.5, 0.7)


def bad_portraits(folder: Path, face: Path) -> Iterator[Path]:
    """A hundred files that hold no usable face; `face` is a picture with one."""
    picture = Image.open(face).convert("RGB")
    rng = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP"):
        whole = encoded(picture, kind)
        for fraction in FRACTIONS:
            yield written(folder / f"cut-{fraction}.{kind.lower()}", whole[: int(len(whole) * fraction)])
    for size in ((1, 1), (1, 400), (400, 1), (7, 5), (64, 64), (300, 200), (640, 640), (33, 1000)):
        for mode in ("RGB", "L", "RGBA", "1"):
            yield written(folder / f"blank-{size[0]}x{size[1]}-{mode}.png", blank(mode, size))
    for size in (96, 160, 256):
        noise = rng.integers(0, 255, (size, size, 3), np.uint8)
        yield written(folder / f"noise-{size}.png", encoded(Image.fromarray(noise), "PNG"))
    for side in (16, 48, 100):
        yield written(folder / f"small-{side}.png", encoded(picture.resize((side, side)), "PNG"))
    for width, height in ((10**6, 10**6), (2**31 - 1, 1), (65535, 65535), (33000, 4), (0, 0)):
        yield written(folder / f"huge-{width}x{height}.png", png_header(width, height))
    yield from wrong_kinds(folder, "portrait.png", n_random=12)
    yield from odd_names(folder)
    yield from no_files(folder)


def bad_recordings(folder: Path, speech: Path) -> Iterator[Path]:
    """A hundred files that hold no usable sound; `speech` is a WAV file with some."""
    whole = speech.read_bytes()
    for step in range(1, 33):
        yield written(folder / f"cut-{step}.wav", whole[: len(whole) * step // 40])
    for channels, rate, bits in (
        *((0, 16000, 16), (1, 0, 16), (65535, 16000, 16), (1, 2**31, 16), (1, 16000, 0), (3, 7, 5)),
        *((1, 16000, 65535), (0, 0, 0)),
    ):
        yield written(folder / f"header-{channels}-{rate}-{bits}.wav", wav_header(channels, rate, bits))
    for kind in (
        b"fLaC",
        b"OggS",
        b"ID3\x04",
        b"\xff\xfb\x90\x00",
        b"\x1aE\xdf\xa3",
        b"FORM",
        b"caff",
        b"RIFF",
    ):
        yield written(folder / f"magic-{kind.hex()}.bin", kind + bytes(range(256)))
    for name in ("list.m3u8", "list.m3u", "list.pls", "list.ffconcat"):
        yield written(folder / name, b"#EXTM3U\nffconcat version 1.0\nfile '/etc/passwd'\n/etc/passwd\n")
    yield from wrong_kinds(folder, "speech.wav", n_random=26)
    yield from odd_names(folder)
    yield from no_files(folder)


def wrong_kinds(folder: Path, name: str, *, n_random: int) -> Iterator[Path]:
    """Texts and random bytes under a harmless name."""
    texts = {
        "text": b"hello",
        "html": b"<html><body>404</body></html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
        "zip": b"PK\x03\x04" + bytes(64),
        "zeros": bytes(5000),
        "empty": b"",
    }
    for kind, content in texts.items():
        yield written(folder / f"{kind}-{name}", content)
    rng = random.Random(n_random)
    for number in range(n_random):
        yield written(folder / f"random-{number}-{name}", rng.randbytes(rng.choice([1, 10, 100, 3000])))


def odd_names(folder: Path) -> Iterator[Path]:
    """Names that look like options, hold line breaks or other scripts; with nothing useful inside."""
    for name in ODD_NAMES:
        yield written(folder / name, b"nothing")


def no_files(folder: Path) -> Iterator[Path]:
    """What has a name and is no readable file."""
    (folder / "directory").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "dangling").symlink_to(folder / "nowhere")
    for name in ("directory", "fifo", "loop", "dangling", "missing", "missing/below", "y" * 300):
        yield folder / name
    yield Path("/dev/null")
    yield Path("/dev/zero")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def encoded(picture: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def blank(mode: str, size: tuple[int, int]) -> bytes:
    return encoded(Image.new(mode, size), "PNG")


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    length = struct.pack(">I", len(header) - 4)
    return b"\x89PNG\r\n\x1a\n" + length + header + struct.pack(">I", zlib.crc32(header)) + bytes(20)


def wav_header(channels: int, rate: int, bits: int) -> bytes:
    block = max(1, channels * bits // 8)
    layout = struct.pack(
        "<HHIIHH", 1, channels % 65536, rate % 2**32, rate * block % 2**32, block % 65536, bits
    )
    return b"RIFF" + struct.pack("<I", 1036) + b"WAVEfmt \x10\0\0\0" + layout + b"data\0\0\0\0"
