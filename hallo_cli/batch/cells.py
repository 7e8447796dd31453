"""Reads single cells of a manifest: names of columns, texts and ids."""

import json
import re

from hallo_cli.errors import ManifestError
from hallo_cli.printable import printable

FORBIDDEN_IN_ID = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')
_MAX_NAME_BYTES = 200  # file systems allow 255; work files and sidecars add to it


def key_of(name: str) -> str:
    """A column's name as settings are spelled: --Lip weight is lip_weight."""
    return re.sub(r"[-\s]+", "_", name.strip().removeprefix("--").lower())


def text_of(value: object, column: str) -> str:
    """A cell as text. Raises ManifestError if a ledger could not hold it."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # JSON rows often number their ids
    if not isinstance(value, str):
        raise ManifestError(f"{column} is {value!r}; it must be a text.")
    if "\x00" in value:
        raise ManifestError(f"{column} {value!r} holds a null character, which no file name can contain.")
    if not is_unicode(value):
        raise ManifestError(
            f"{column} {printable(value)!r} is not UTF-8, which ledgers cannot hold; rename the file."
        )
    return value


def own_text(value: object) -> str:
    """A cell of the user's own column as text that every file can hold."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def check_id(text: str) -> str:
    """The id, if it can be part of a file's name. Raises ManifestError."""
    if FORBIDDEN_IN_ID.search(text) or text in (".", "..") or text != text.strip():
        raise ManifestError(
            f"id {text!r} cannot be part of a file's name; leave out / \\ : * ? and control characters."
        )
    if len(text.encode("utf-8", "surrogateescape")) > _MAX_NAME_BYTES:
        raise ManifestError(f"id {text[:40]!r}... is longer than {_MAX_NAME_BYTES} bytes; give a shorter id.")
    return text


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # lone surrogates: a name that is not UTF-8 on disk
        return False
    return True
