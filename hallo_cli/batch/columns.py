"""The columns that a manifest may have, and what their cells hold: values, texts and ids."""

import dataclasses
import functools
import itertools
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hallo_cli.errors import ManifestError, SettingsError, printable
from hallo_cli.settings.schema import RenderSettings, setting
from hallo_cli.settings.values import fields_of, require_known, type_of

REQUIRED = ("portrait", "audio")
TEXT = "text"  # a text to be spoken instead of a recording; kept with the user's own cells
PRIORITY = "priority"
FACE = re.compile(r"face_([1-9][0-9]?)")  # what one of several faces says, as --face has it
FILE_SETTINGS = ("background", "subtitles")  # a colour is no file
OWN_PREFIX = "x_"  # prefix of the user's own columns
FORBIDDEN_IN_ID = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')
_MAX_NAME_BYTES = 200  # file systems allow 255; work files and sidecars add to it
_DECIMAL_COMMA = re.compile(r"^([+-]?[0-9]*),([0-9]+)$")
_WHOLE_FRACTION = re.compile(r"^([+-]?[0-9]+)\.0+$")


@dataclass(frozen=True)
class Order:
    """What a row says about its place in the batch."""

    priority: int = setting(
        0, "Rows of higher priority are rendered first.", minimum=-999_999_999, maximum=999_999_999
    )


@functools.cache
def columns() -> frozenset[str]:
    """Every column a manifest may have."""
    return frozenset((*REQUIRED, TEXT, "id", "output", "preset", *values_by_column()))


def is_column(name: str) -> bool:
    """Whether a manifest may have a column of this name."""
    return name in columns() or bool(FACE.fullmatch(name))


def face_of(column: str) -> int:
    """The number of the face that a column is about, counted from the left, from 1."""
    return int(column.removeprefix("face_"))


def missing_columns(names: Collection[str]) -> list[str]:
    """Which of portrait and audio are missing; a text and what a face says count as audio."""
    is_heard = TEXT in names or any(map(FACE.fullmatch, names))
    return [name for name in REQUIRED if name not in names and not (name == "audio" and is_heard)]


def require_columns(names: Iterable[str], *, where: str) -> None:
    """Raise ManifestError at the first name that is not a column, and suggest a remedy."""
    for name in itertools.filterfalse(FACE.fullmatch, names):
        try:
            require_known([name], columns(), where=where)
        except SettingsError as error:
            wrong = str(error).replace("unknown setting", "unknown column", 1)
            raise ManifestError(f"{wrong} Keep a column of your own with --ignore-column {name}.") from error


def plain_number(column: str, cell: str, *, has_decimal_commas: bool) -> str:
    """A cell of a column of numbers as `parse` reads it: 1,5 as 1.5 and, where it must be whole, 7.0 as 7."""
    field = values_by_column().get(column)
    kind = type_of(field) if field else str
    if has_decimal_commas and kind in (int, float):
        cell = _DECIMAL_COMMA.sub(r"\1.\2", cell)
    return _WHOLE_FRACTION.sub(r"\1", cell) if kind is int else cell


@functools.cache
def values_by_column() -> Mapping[str, dataclasses.Field[Any]]:
    """The columns whose cells are values that `parse` reads: the settings, and the order."""
    return {**fields_of(RenderSettings), **fields_of(Order)}


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
