"""The one binder: dataclasses from the values of TOML and JSON files, checked by pydantic.

The annotations of a dataclass say what fits, with bounds as `Annotated[float, Interval(ge=0, le=1)]`.
pydantic is imported when something is bound: it takes a tenth of a second.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import typing
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

_Made = TypeVar("_Made")
_WORDS = {
    "dataclass_type": "a table",
    "dict_type": "a table",
    "mapping_type": "a table",
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "path_type": "a path",
}
_SHORT = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "above",
    "less than": "below",
}


def bind(
    kind: type[_Made], values: Mapping[str, object], *, folder: Path = Path(), skips_unknown: bool = False
) -> _Made:
    """A dataclass, and those inside it, from nested tables; keys left out keep their defaults.

    folder: relative paths that are `FilePath`s are taken from here.
    skips_unknown: leave unknown keys out, as newer versions may write them.
    Raises ValueError that names the key, its value and what was expected, in one line.
    """
    from pydantic import ValidationError

    try:
        if not skips_unknown:
            require_known_keys(kind, values)
        text = json.dumps(values, default=str)  # JSON's lists fit tuples, its texts paths, strictly
        made: _Made = _adapter(typing.cast(Hashable, kind)).validate_json(text, strict=True, context=folder)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValidationError as error:
        raise ValueError(_in_words(error.errors(include_url=False)[0])) from None
    return made


def plain(value: object) -> Any:
    """The inverse of `bind`: nested tables as TOML and JSON hold them; None is left out."""
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def require_known_keys(kind: Any, values: object, place: str = "") -> None:
    """Raise ValueError at the first key that is no field, suggesting the nearest one."""
    if isinstance(values, Mapping) and dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast(Hashable, kind))
        for key, value in values.items():
            if key not in hints:
                near = difflib.get_close_matches(key, hints, 1)
                hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(hints)
                raise ValueError(f"unknown key {shortened(place + key)} ({hint})")
            require_known_keys(hints[key], value, f"{place}{key}.")
    elif isinstance(values, Mapping) and len(arguments := typing.get_args(kind)) == 2:
        for key, value in values.items():
            require_known_keys(arguments[1], value, f"{place}{key}.")


def shortened(value: object) -> str:
    """A value for a message: a text as it is, another one as Python writes it, cut at 100 characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@functools.cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(typing.cast(Any, kind))
    return adapter


def _in_words(error: ErrorDetails) -> str:
    key, kind = ".".join(map(str, error["loc"])), error["type"]
    if kind in ("missing", "missing_argument"):
        return f"{key} must be given"
    if kind == "value_error":
        return ": ".join(filter(None, [key, str(error["ctx"]["error"])]))
    if kind == "json_invalid":
        return f"it contains a value that is neither text nor number ({error['ctx']['error']})"
    expected = _WORDS.get(kind) or error["msg"].removeprefix("Input should be ")
    for long, short in _SHORT.items():
        expected = expected.replace(long, short)
    return f"{key or 'it'} = {shortened(repr(error['input']))} is not {expected}"
