"""Finds the file that a manifest means if its name is spelled differently on disk.

A name may use other code points (macOS separates letters and accents), backslashes, or begin with `~`. A file
with exactly the written name always comes first.
"""

import os
import unicodedata
from pathlib import Path


def find_written(root: Path, text: str) -> Path:
    """The absolute path of the file that `text` means, looked up in `root`; as written if there is none."""
    tried = spellings(root, text)
    for path in tried:
        if path.exists() or (path := _composed(path)).exists():
            return path
    return tried[0]


def spellings(root: Path, text: str) -> list[Path]:
    """The absolute paths that `text` may mean, the one as written first."""
    texts = (text, os.path.expanduser(text), text.replace("\\", "/"))
    return list(dict.fromkeys(Path(os.path.abspath(os.path.join(root, one))) for one in texts))


def same_name(name: str) -> str:
    """The same form for all Unicode spellings of a name."""
    return unicodedata.normalize("NFC", name)


def _composed(path: Path) -> Path:
    """The path with every part spelled as on disk, as far as it exists."""
    if str(path).isascii():
        return path
    found = Path(path.anchor)
    for part in path.parts[1:]:
        found = found / part
        if not part.isascii() and not found.exists():
            found = next(
                (other for other in _siblings(found) if same_name(other.name) == same_name(part)), found
            )
    return found


def _siblings(path: Path) -> list[Path]:
    try:
        return sorted(path.parent.iterdir())
    except OSError:
        return []
