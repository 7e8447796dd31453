"""Finds declared lengths that cannot be true: programs that stream write headers before they know the length.

Such a length counts as unknown, and the file is read to its end. A file that is merely cut off is left as it
is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

CONTRADICTION = 100  # times longer than the file: no cut-off file is that short
LONG = 1e9  # bytes; headers that are never filled in say about as much, and a few times too much is enough
LONG_CONTRADICTION = 3
PLACES = (2**31, 2**32)  # what streaming writers say is just below or at one of these
NEAR = 1 << 16
UNKNOWN = b"\xff\xff\xff\xff"  # as ffmpeg understands it in WAV: to the end of the file
W64_RIFF, W64_DATA = b"riff\x2e\x91\xcf\x11", b"data\xf3\xac\xd3\x11"
MAX_CHUNKS = 200


@dataclass(frozen=True)
class Header:
    """What is to be read in place of a file's own header, and how much longer the file says it is."""

    patches: dict[int, bytes] = field(default_factory=dict)  # bytes by their place in the file
    excess: float = 1.0  # declared size / size on disk, of files that are cut off

    def patched(self, content: bytes, start: int) -> bytes:
        """Bytes that were read at `start`, with the patches that fall into them."""
        changed = bytearray(content)
        for place, new in self.patches.items():
            for offset, value in enumerate(new, place - start):
                if 0 <= offset < len(changed):
                    changed[offset] = value
        return bytes(changed)


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    place: int  # of its contents
    length: int  # as declared


def is_nonsense(declared: float, real: float) -> bool:
    """Whether a declared size says nothing about a file that really holds `real` bytes."""
    is_placeholder = any(abs(declared - place) <= NEAR for place in PLACES) and declared > real + NEAR
    is_long = declared >= LONG and declared >= LONG_CONTRADICTION * real
    return is_placeholder or is_long or declared >= CONTRADICTION * max(real, 1)


def read_header(file: Path) -> Header:
    """Look at a file that `require_file` has checked; of WAV, AIFF and W64 lengths are mended."""
    with file.open("rb") as opened:
        magic, size = opened.read(40), file.stat().st_size
        if magic[:4] in (b"RIFF", b"RF64") and magic[8:12] == b"WAVE":
            return _wave(opened, magic, size)
        if magic[:4] == b"FORM" and magic[8:12] in (b"AIFF", b"AIFC"):
            return _aiff(opened, size)
        if magic[:8] == W64_RIFF:
            return _w64(opened, size)
    return Header()


def _wave(opened: BinaryIO, magic: bytes, size: int) -> Header:
    chunks = {chunk.name: chunk for chunk in reversed(list(_chunks(opened, size, "little")))}
    data, wide = chunks.get(b"data"), chunks.get(b"ds64")
    declared = int.from_bytes(magic[4:8], "little") + 8
    length = data.length if data else 0
    if magic[:4] == b"RF64" and wide:
        opened.seek(wide.place)
        declared, length = (int.from_bytes(opened.read(8), "little") for _ in range(2))
        declared += 8 if declared else 0
    is_unknown = declared <= 8 or declared - 8 == 0xFFFFFFFF or is_nonsense(declared, size)
    excess = 1.0 if is_unknown else max(1.0, declared / size)
    if data and _is_wrong(opened, data, length, size):
        return Header({0: b"RIFF" + UNKNOWN, data.place - 4: UNKNOWN})
    return Header(excess=excess)


def _is_wrong(opened: BinaryIO, data: _Chunk, length: int, size: int) -> bool:
    """Whether a chunk of sound is said to be far longer than the file, or far shorter than it is."""
    rest = size - data.place
    if length > rest:
        return is_nonsense(length, rest)
    if length * CONTRADICTION >= rest - length:
        return False
    behind = _chunks(opened, size, "little", data.place + length + length % 2)
    return not any(_is_chunk(chunk, size) for chunk in behind)


def _aiff(opened: BinaryIO, size: int) -> Header:
    chunks = {chunk.name: chunk for chunk in reversed(list(_chunks(opened, size, "big")))}
    common, sound = chunks.get(b"COMM"), chunks.get(b"SSND")
    if not common or not sound:
        return Header()
    rest = size - sound.place
    if sound.length and not (sound.length > rest and is_nonsense(sound.length, rest)):
        return Header()
    opened.seek(common.place)
    n_channels, _, bits = (int.from_bytes(opened.read(n), "big") for n in (2, 4, 2))
    n_frames = max(0, rest - 8) // max(1, n_channels * -(-bits // 8))
    return Header(
        {
            4: _fitting(size - 8),
            sound.place - 4: _fitting(rest),
            common.place + 2: _fitting(n_frames),
        }
    )


def _fitting(length: int) -> bytes:
    return min(length, 0x7FFFFFFF).to_bytes(4, "big")


def _w64(opened: BinaryIO, size: int) -> Header:
    place = 40
    for _ in range(MAX_CHUNKS):
        if place + 24 > size:
            break
        opened.seek(place)
        head = opened.read(24)
        length = int.from_bytes(head[16:], "little")
        if head[:8] == W64_DATA:
            is_wrong = length <= 24 or is_nonsense(length, size - place)
            true = {16: size.to_bytes(8, "little"), place + 16: (size - place).to_bytes(8, "little")}
            return Header(true if is_wrong else {})
        place += max(24, -(-length // 8) * 8)
    return Header()


def _chunks(
    opened: BinaryIO, size: int, order: Literal["little", "big"], start: int = 12
) -> Iterator[_Chunk]:
    """Yield chunks up to the first that reaches past the end."""
    place = start
    for _ in range(MAX_CHUNKS):
        if place + 8 > size:
            return
        opened.seek(place)
        head = opened.read(8)
        chunk = _Chunk(head[:4], place + 8, int.from_bytes(head[4:], order))
        yield chunk
        place = chunk.place + chunk.length + chunk.length % 2


def _is_chunk(chunk: _Chunk, size: int) -> bool:
    is_named = chunk.name.isascii() and chunk.name.decode("ascii").isprintable()
    return is_named and chunk.place + chunk.length <= size
