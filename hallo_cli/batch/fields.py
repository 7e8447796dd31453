"""Builds a flat dataclass from JSON values, each checked against the type of its field.

Any program may have written to a ledger, so entries are validated before they are used.
"""

import dataclasses
import enum
import functools
import math
import types
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_Made = TypeVar("_Made")
_HUGE = 1e15  # larger than any count or measurement here


def build_checked(kind: type[_Made], values: Mapping[str, object]) -> _Made:
    """The dataclass; unknown names are left out, since newer versions may write them.

    Raises ValueError that names the missing or mistyped field.
    """
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    given = {name: _checked(hints[name], value, name) for name, value in values.items() if name in hints}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        is_needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if is_needed and field.name not in given:
            raise ValueError(f"{field.name} is missing")
    return kind(**given)


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _checked(hint: Any, value: object, name: str) -> object:
    found = _converted(hint, value)
    if found is _NOTHING:
        raise ValueError(f"{name} is {_short(value)}")
    return found


_NOTHING = object()


def _converted(hint: Any, value: object) -> object:
    """The value as the hint wants it, or _NOTHING."""
    if get_origin(hint) in (Union, types.UnionType):
        found = [_converted(option, value) for option in get_args(hint)]
        return next((one for one in found if one is not _NOTHING), _NOTHING)
    if get_origin(hint) in (tuple, list):
        return _sequence(hint, value)
    if isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Mapping):
        return _mapping(get_args(hint)[1], value)
    return _plain(hint, value)


def _plain(hint: Any, value: object) -> object:
    if hint is object:
        return value
    if hint in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        fits = (hint is float or isinstance(value, int)) and abs(value) < _HUGE
        return value if fits else _NOTHING
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return next((one for one in hint if one.value == value), _NOTHING)
    if hint is str and isinstance(value, str):
        return value if _is_unicode(value) else _NOTHING
    is_it = type(value) is hint and hint in (bool, types.NoneType)
    return value if is_it else _NOTHING


def _sequence(hint: Any, value: object) -> object:
    options = get_args(hint)
    is_of_one_kind = get_origin(hint) is list or options[-1] is Ellipsis
    if not isinstance(value, list | tuple) or not (is_of_one_kind or len(value) == len(options)):
        return _NOTHING
    kinds = [options[0]] * len(value) if is_of_one_kind else options
    found = [_converted(kind, one) for kind, one in zip(kinds, value, strict=True)]
    return _NOTHING if _NOTHING in found else get_origin(hint)(found)


def _mapping(kind: Any, value: object) -> object:
    if not isinstance(value, Mapping):
        return _NOTHING
    found = {key: _measured(kind, one) for key, one in value.items()}
    are_texts = all(isinstance(key, str) and _is_unicode(key) for key in found)
    return found if are_texts and _NOTHING not in found.values() else _NOTHING


def _measured(kind: Any, value: object) -> object:
    """A value of a mapping: a figure may be NaN, which the quality gate reports."""
    if kind is float and isinstance(value, float) and not math.isfinite(value):
        return value
    return _converted(kind, value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
