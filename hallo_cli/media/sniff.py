"""Recognises the kind of a file by its first bytes, for messages about wrong files."""

from __future__ import annotations

from pathlib import Path

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
SOUND_BRANDS = (b"M4A ", b"M4B ")
STARTS = {
    b"\xff\xd8\xff": "picture",
    b"\x89PNG": "picture",
    b"GIF8": "picture",
    b"BM": "picture",
    b"II*\0": "picture",
    b"MM\0*": "picture",
    b"8BPS": "picture",
    b"qoif": "picture",
    b"ID3": "sound",
    b"fLaC": "sound",
    b"OggS": "sound",
    b"FORM": "sound",
    b"caff": "sound",
    b".snd": "sound",
    b"#!AMR": "sound",
    b"\xff\xfb": "sound",
    b"\xff\xf3": "sound",
    b"\xff\xf2": "sound",
    b"\xff\xf1": "sound",
    b"\xff\xf9": "sound",
    b"\x1aE\xdf\xa3": "video",
}


def sniff(file: Path) -> str:
    """Return picture, HEIC picture, sound, video or nothing for a file that `require_file` has checked."""
    with file.open("rb") as opened:
        start = opened.read(16)
    if start[4:8] == b"ftyp":
        return _of_brand(start[8:12])
    if start[:4] in (b"RIFF", b"RF64", b"RIFX"):
        return {b"WAVE": "sound", b"WEBP": "picture", b"AVI ": "video"}.get(start[8:12], "")
    return next((kind for magic, kind in STARTS.items() if start.startswith(magic)), "")


def _of_brand(brand: bytes) -> str:
    """The kind of an ISO base media file (ISO 14496-12, 23008-12)."""
    if brand in HEIF_BRANDS:
        return "HEIC picture"
    if brand in SOUND_BRANDS:
        return "sound"
    return "picture" if brand in (b"avif", b"avis") else "video"
