"""Checks a file that the user gave before anything tries to decode it; recognises its kind, for messages."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from hallo_cli.errors import InputError, printable

# Of the best known, one slash is enough: paths lose the other one.
WEB_ADDRESS = re.compile(
    r"(?:^|/)(?P<scheme>(?:https?|ftps?|sftp|s3|gs|az|rtsp|rtmp)(?=:)|[a-z][a-z0-9+.-]+(?=://)):/+(?P<rest>.*)",
    re.I | re.S,
)

_STARTS = {
    "picture": (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"8BPS", b"qoif"),
    "sound": (
        *(b"ID3", b"fLaC", b"OggS", b"FORM", b"caff", b".snd", b"#!AMR"),
        *(b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"\xff\xf1", b"\xff\xf9"),
    ),
    "video": (b"\x1aE\xdf\xa3",),
}
_RIFF_KINDS = {b"WAVE": "sound", b"WEBP": "picture", b"AVI ": "video"}
_BRANDS = {  # of ISO base media files (ISO 14496-12, 23008-12)
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "HEIC picture"),
    **dict.fromkeys((b"avif", b"avis"), "picture"),
    **dict.fromkeys((b"M4A ", b"M4B "), "sound"),
}


def require_file(file: Path, error: type[InputError], what: str) -> Path:
    """Return the absolute path of a readable, regular, non-empty file, or raise `error`.

    `what` names it in the message: "portrait", "recording". The absolute path cannot be taken for an option
    or an address by whatever opens it.
    """
    try:
        found = (file if file.exists() else file.expanduser()).resolve(strict=True)
        status = found.stat()
    except FileNotFoundError:
        if address := WEB_ADDRESS.search(str(file)):
            given = f"{address['scheme']}://{address['rest']}"  # as a path it has lost one of its slashes
            raise error(
                f"The {what} {printable(given[:300])} is a web address. Download it first, then give the "
                "file."
            ) from None
        raise error(f"The {what} {shown(file)} does not exist. Check the path.") from None
    except PermissionError:
        raise error(f"The {what} {shown(file)} may not be read. Check its permissions.") from None
    except (OSError, RuntimeError, ValueError) as reason:  # symbolic links in a loop, endless names, NUL
        raise error(
            f"The {what} {shown(file)} cannot be found: {reason_of(reason)}. Check the path."
        ) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise error(f"The {what} {shown(file)} is {kind}; give the path of a file.")
    if status.st_size == 0:
        raise error(f"The {what} {shown(file)} is empty (0 bytes). Copy or download it again.")
    try:
        found.open("rb").close()
    except OSError:
        raise error(f"The {what} {shown(file)} may not be read. Check its permissions.") from None
    return found


def sniff(file: Path) -> str:
    """Return picture, HEIC picture, sound, video or nothing for a file that `require_file` has checked."""
    with file.open("rb") as opened:
        start = opened.read(16)
    if start[4:8] == b"ftyp":
        return _BRANDS.get(start[8:12], "video")
    if start[:4] in (b"RIFF", b"RF64", b"RIFX"):
        return _RIFF_KINDS.get(start[8:12], "")
    return next((kind for kind, starts in _STARTS.items() if start.startswith(starts)), "")


def shown(file: Path) -> str:
    """Return a path as one printable line for a message."""
    return repr(str(file)) if len(str(file)) <= 300 else repr(str(file)[:140] + " ... " + str(file)[-140:])


def reason_of(error: BaseException) -> str:
    """Return the first line of what an error says, without its file name, never empty."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0].strip().rstrip(".")[:200]
