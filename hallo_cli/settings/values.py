"""Values of settings: read from flags, variables, files and table cells, checked, described, written.

What can be set is data in `schema`; this module knows no file and no command line.
"""

import dataclasses
import json
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from hallo_cli.errors import SettingsError, did_you_mean
from hallo_cli.settings.schema import Limits, RenderSettings, RuntimeSettings, Value

Settings = TypeVar("Settings")

RETIRED = {
    ("solver", "unipc"): "UniPC was removed. Use dpm++, which has the same order and cost.",
    ("compile", "auto"): "Choose off or on; hallo bench --against measures what it gains.",
}
HUGE = 1e18  # no setting is as large; beyond it, arithmetic may fail


def fields_of(kind: type) -> dict[str, dataclasses.Field[Any]]:
    """The settings of a dataclass by key: the field's name without its unit."""
    return {key_of(field.name): field for field in dataclasses.fields(kind)}


def key_of(name: str) -> str:
    """The TOML key (and, with dashes, the flag) of a field: its name without the unit suffix."""
    return name.removesuffix("_s")


def limits_of(field: dataclasses.Field[Any]) -> Limits:
    """The explanation and limits of a setting."""
    limits: Limits = field.metadata["limits"]
    return limits


def type_of(field: dataclasses.Field[Any]) -> type:
    """int, float, str or bool; whether None is allowed shows in the limits' `none_word`."""
    options = [kind for kind in typing.get_args(field.type) if kind is not type(None)]
    kind: type = options[0] if options else field.type  # type: ignore[assignment]
    return kind


def parse(field: dataclasses.Field[Any], raw: object, *, where: str) -> Value:
    """One value from TOML (typed) or from a flag, variable or table cell (text).

    `where` names the source in the message, as in "--steps" or "steps in my.toml".
    Raises SettingsError.
    """
    limits = limits_of(field)
    if limits.none_word and (raw is None or raw == limits.none_word):
        return None
    kind = type_of(field)
    value = _converted(raw, kind)
    if value is None or not _fits(value, limits):
        retired = RETIRED.get((field.name, str(raw)))
        raise SettingsError(f"{where}: {raw!r} is not {describe(field)}.{f' {retired}' if retired else ''}")
    return value


def describe(field: dataclasses.Field[Any]) -> str:
    """What a setting accepts, for people: "a whole number from 1 to 1000 or 'bundle'"."""
    limits, kind = limits_of(field), type_of(field)
    if limits.choices:
        text = "one of " + ", ".join(limits.choices)
    elif limits.means:
        text = limits.means
    else:
        text = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]
        text += f" that is a multiple of {limits.multiple_of}" if limits.multiple_of > 1 else ""
        text += f" from {limits.minimum:.10g}" if math.isfinite(limits.minimum) else ""
        text += f" to {limits.maximum:.10g}" if math.isfinite(limits.maximum) else ""
    return text + (f" or '{limits.none_word}'" if limits.none_word else "")


def require_known(keys: Iterable[str], known: Iterable[str], *, where: str) -> None:
    """Raise SettingsError at the first key that is no setting, suggesting the nearest one."""
    known = set(known)
    for key in keys:
        if key not in known:
            hint = did_you_mean(key.replace("-", "_"), known)
            raise SettingsError(f"{where}: unknown setting {key!r}. {hint}")


def build(kind: type[Settings], values: Mapping[str, object], *, where: str) -> Settings:
    """A settings dataclass from values by key; keys left out keep their defaults. Raises SettingsError."""
    fields = fields_of(kind)
    require_known(values, fields, where=where)
    parsed = {
        fields[key].name: parse(fields[key], raw, where=f"{where}, {key}") for key, raw in values.items()
    }
    return kind(**parsed)


def to_values(settings: RenderSettings | RuntimeSettings) -> dict[str, str | int | float | bool]:
    """Every value by key as TOML and JSON hold it, None as its word; `build` reads it back."""
    values = {key: getattr(settings, field.name) for key, field in fields_of(type(settings)).items()}
    words = {key: limits_of(field).none_word for key, field in fields_of(type(settings)).items()}
    return {key: words[key] if value is None else value for key, value in values.items()}


def canonical(settings: RenderSettings) -> str:
    """The same text for the same values, to be hashed into a fingerprint."""
    return json.dumps(to_values(settings), sort_keys=True, separators=(",", ":"))


def _converted(raw: object, kind: type) -> Value:
    """`raw` as `kind`, or None if it is something else."""
    if isinstance(raw, str) and kind is not str:
        return _from_text(raw.strip(), kind)
    if kind is float and type(raw) is int:
        return float(raw) if abs(raw) < HUGE else None
    return raw if type(raw) is kind else None  # type: ignore[return-value]


def _from_text(text: str, kind: type) -> Value:
    if kind is bool:
        words = {"true": True, "yes": True, "on": True, "1": True}
        words |= {"false": False, "no": False, "off": False, "0": False}
        return words.get(text.lower())
    try:
        number = int(text) if kind is int else float(text)
    except ValueError:
        return None
    return number if kind is float or abs(number) < HUGE else None


def _fits(value: Value, limits: Limits) -> bool:
    if isinstance(value, str):
        is_clean = bool(value) and value.isprintable() and len(value) <= 4096
        return value in limits.choices if limits.choices else is_clean and _is_read(value, limits)
    if isinstance(value, bool) or value is None:
        return True
    is_inside = abs(value) < HUGE and limits.minimum <= value <= limits.maximum
    return is_inside and value % limits.multiple_of == 0 if limits.multiple_of > 1 else is_inside


def _is_read(text: str, limits: Limits) -> bool:
    if limits.reads is None:
        return True
    try:
        limits.reads(text)
    except ValueError:
        return False
    return True
