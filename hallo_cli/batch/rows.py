"""One row of a batch: the requested render, checked and with absolute paths; knows no file formats."""

import dataclasses
import functools
import itertools
import os
import re
import string
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hallo_cli.batch.cells import FORBIDDEN_IN_ID, check_id, is_unicode, key_of, own_text, text_of
from hallo_cli.batch.written import find_written, spellings
from hallo_cli.bundles.bundle import list_bundles
from hallo_cli.errors import ManifestError, SettingsError
from hallo_cli.jobs.containers import SUFFIXES
from hallo_cli.media.addresses import (
    address_in,
    is_address,
    is_within,
    require_fetchable,
    shown_address,
    stem_of,
)
from hallo_cli.media.answers import Disks
from hallo_cli.media.files import local_path
from hallo_cli.media.speaking import spoken_path
from hallo_cli.settings.canvas import colour_of
from hallo_cli.settings.schema import RenderSettings, Value
from hallo_cli.settings.values import fields_of, parse, require_known, type_of

REQUIRED = ("portrait", "audio")
TEXT = "text"  # a text to be spoken instead of a recording; kept with the user's own cells
PRIORITY = "priority"
FACE = re.compile(r"face_([1-9][0-9]?)")  # what one of several faces says, as --face has it
FILE_SETTINGS = ("background", "subtitles")  # a colour is no file
OWN_PREFIX = "x_"  # prefix of the user's own columns
TEMPLATE_NAMES = ("id", "portrait", "audio", "row", "preset", "seed")
_DECIMAL_COMMA = re.compile(r"^([+-]?[0-9]*),([0-9]+)$")
_WHOLE_FRACTION = re.compile(r"^([+-]?[0-9]+)\.0+$")


@functools.cache
def columns() -> frozenset[str]:
    """Every column a manifest may have."""
    return frozenset((*REQUIRED, TEXT, "id", "output", "preset", PRIORITY, *fields_of(RenderSettings)))


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


@dataclass(frozen=True)
class Layout:
    """Where the rows' files are and how results are named."""

    root: Path  # relative portraits and recordings are looked up here
    output_dir: Path
    name_template: str = "{id}.mp4"
    is_confined: bool = False  # refuse rows that reach outside root or output_dir
    own_columns: frozenset[str] = frozenset()  # the user's own columns, which are kept
    speak: str | None = None  # the text-to-speech command
    far_root: str = ""  # an address instead of `root`
    disks: Disks = field(default_factory=Disks, repr=False, compare=False)

    def column(self, name: str) -> str:
        """The key of a column as people write it; one of the user's own keeps its name."""
        key = key_of(name)
        return name.strip() if self._is_own_key(key) else key

    def is_own(self, column: str) -> bool:
        """Whether a column is the user's own: kept, and otherwise ignored."""
        return self._is_own_key(key_of(column))

    def _is_own_key(self, key: str) -> bool:
        is_named = key in {key_of(name) for name in self.own_columns}
        is_free = key == TEXT or not is_column(key)
        return is_free and (is_named or key.startswith(OWN_PREFIX))

    def __post_init__(self) -> None:
        check_template(self.name_template)
        for folder in (self.root, self.output_dir):
            if not is_unicode(os.path.abspath(folder)):
                raise SettingsError(
                    f"the folder {str(folder)!r} has a name that is not UTF-8, which ledgers cannot hold; "
                    "rename it, or work from another."
                )


@dataclass(frozen=True)
class Row:
    """One requested render; missing settings come from the preset and the command line."""

    number: int  # the line in the manifest, counted from 1
    id: str
    portrait: Path
    audio: Path
    output: Path
    preset: str | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)  # parsed, by key
    own: Mapping[str, str] = field(default_factory=dict)  # cells of the user's own columns
    priority: int = 0  # rows of a higher one are rendered first
    far: Mapping[str, str] = field(default_factory=dict)  # addresses by column, until they are fetched
    voices: Mapping[str, Path] = field(
        default_factory=dict
    )  # recordings by face column; `audio` is their mix

    @property
    def inputs(self) -> dict[str, Path]:
        """The portrait and the recordings by column."""
        return {"portrait": self.portrait, **(self.voices or {"audio": self.audio})}

    @property
    def sources(self) -> dict[str, str]:
        """The same as typed: paths and addresses."""
        return {name: self.far.get(name, str(path)) for name, path in self.inputs.items()}


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be rendered, and why."""

    number: int
    id: str
    message: str
    output: str = ""
    own: Mapping[str, str] = field(default_factory=dict)


def check_template(template: str) -> None:
    """Raise SettingsError unless a name template uses plain known names and makes videos."""
    known = ", ".join(f"{{{name}}}" for name in TEMPLATE_NAMES)
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise SettingsError(f"--name-template {template!r}: {error}. Use names like {{id}}.mp4.") from error
    for _, name, spec, conversion in parts:
        if name is not None and (name not in TEMPLATE_NAMES or conversion or (spec and name != "row")):
            raise SettingsError(f"--name-template {template!r}: {{{name}}} is unknown. Use {known}.")
    if not template.lower().endswith(SUFFIXES):
        raise SettingsError(f"--name-template {template!r}: names must end in .mp4, .webm or .mov.")


def make_row(number: int, cells: Mapping[str, object], layout: Layout) -> Row | BadRow:
    """A checked row from its cells by column; a cell that is empty or None counts as left out."""
    filled = {name: value for name, value in cells.items() if value not in (None, "")}
    own = {name: own_text(value) for name, value in filled.items() if layout.is_own(name)}
    given = {name: value for name, value in filled.items() if name not in own}
    try:
        require_columns(given, where=f"row {number}")
        row = _row(number, given, layout)
        return dataclasses.replace(row, own={**row.own, **own})
    except (ManifestError, SettingsError) as error:
        return BadRow(number, _fallback_id(number, given), _without_prefix(str(error), number), own=own)


def plain_number(column: str, cell: str, *, has_decimal_commas: bool) -> str:
    """A cell of a column of numbers as `parse` reads it: 1,5 as 1.5 and, where it must be whole, 7.0 as 7."""
    kind = type_of(_fields()[column]) if column in _fields() else int if column == PRIORITY else str
    if has_decimal_commas and kind in (int, float):
        cell = _DECIMAL_COMMA.sub(r"\1.\2", cell)
    return _WHOLE_FRACTION.sub(r"\1", cell) if kind is int else cell


def _row(number: int, given: Mapping[str, object], layout: Layout) -> Row:
    missing = missing_columns(given)
    if missing:
        raise ManifestError(f"{' and '.join(missing)} is empty; give a file.")
    heard = sorted((name for name in given if FACE.fullmatch(name)), key=face_of)
    names = [name for name in (*REQUIRED, *heard) if name in given]
    far = {name: address for name in names if (address := _address(given[name], name, layout))}
    inputs = {
        name: _named(far[name]) if name in far else _input_path(given[name], name, layout) for name in names
    }
    voices = {name: inputs[name] for name in heard}
    audio, own = _heard(given, inputs, voices, layout)
    portrait = inputs["portrait"]
    preset = text_of(given["preset"], "preset") if "preset" in given else None
    keys = sorted(given.keys() - {*names, TEXT, "id", "output", "preset", PRIORITY})
    settings = {key: parse(_fields()[key], given[key], where=key) for key in keys}
    if layout.is_confined and "bundle" in settings:
        _require_installed(str(settings["bundle"]))
    row = Row(number, "", portrait, audio, Path(), preset, settings, own, _priority(given), far, voices)
    row = dataclasses.replace(row, id=_row_id(row, given.get("id")))
    row = _with_setting_files(row, layout)
    row = dataclasses.replace(row, output=_output_path(row, given.get("output"), layout))
    if row.output in row.inputs.values():
        raise ManifestError(f"the output {row.output} is the row's own input; give it another name.")
    return row


def _with_setting_files(row: Row, layout: Layout) -> Row:
    """The row with full paths or addresses of the files that its settings name."""
    settings, far = dict(row.settings), dict(row.far)
    for column in FILE_SETTINGS:
        value = settings.get(column)
        if value is None or (column == "background" and colour_of(str(value))):
            continue
        if address := _address(value, column, layout):
            settings[column] = far[column] = address
        else:
            settings[column] = str(_input_path(value, column, layout))
    return dataclasses.replace(row, settings=settings, far=far)


def _address(value: object, column: str, layout: Layout) -> str:
    """The address of an input that has to be fetched; empty for a file of this machine."""
    text = text_of(value, column)
    if layout.far_root and text and not is_address(text) and not Path(text).is_absolute():
        text = address_in(layout.far_root, text)
    if not is_address(text):
        return ""
    require_fetchable(text, ManifestError, column)
    if layout.is_confined and not (layout.far_root and is_within(text, layout.far_root)):
        place = layout.far_root or layout.root
        raise ManifestError(f"{column} {shown_address(text)} lies outside {place}, which --confine forbids.")
    return text


def _named(address: str) -> Path:
    """A path that has an address's name, for ids and outputs."""
    return Path(f"{FORBIDDEN_IN_ID.sub('-', stem_of(address))}.far")


def _heard(
    given: Mapping[str, object], inputs: Mapping[str, Path], voices: Mapping[str, Path], layout: Layout
) -> tuple[Path, Mapping[str, str]]:
    """The recording, and the text that it is spoken from, if any."""
    ways = [name for name in ("audio", TEXT, *voices) if name in given]
    if ways[0] not in voices and len(ways) > 1:
        raise ManifestError(f"{ways[0]} and {ways[1]} are both given; leave one of them empty.")
    if voices:
        return Path("+".join(path.stem for path in voices.values()) + ".mixed"), {}
    if TEXT not in given:
        return inputs["audio"], {}
    if layout.speak is None:
        raise ManifestError("text needs --speak, a text-to-speech command; see `hallo docs speech`.")
    text = text_of(given[TEXT], TEXT)
    return spoken_path(text, layout.speak), {TEXT: text}


def _require_installed(bundle: str) -> None:
    """Raise ManifestError unless a bundle is known by this name; any other text may be a folder's."""
    names = [name for name, _ in list_bundles()]
    if bundle not in names:
        known = ", ".join(names) or "none is"
        raise ManifestError(f"bundle {bundle!r} is not installed ({known}), and --confine forbids folders.")


@functools.cache
def _fields() -> Mapping[str, dataclasses.Field[Any]]:
    return fields_of(RenderSettings)


def _row_id(row: Row, given: object) -> str:
    """The given id, or one derived from the row's content, so that edits of other rows do not change it."""
    if given is not None:
        return check_id(text_of(given, "id"))
    heard = row.own[TEXT][:40].strip() if TEXT in row.own else row.audio.stem
    parts = [row.portrait.stem, heard, *([row.preset] if row.preset else [])]
    parts += [f"{key}={_brief(value)}" for key, value in row.settings.items()]
    return check_id(FORBIDDEN_IN_ID.sub("-", "_".join(parts)))


def _brief(value: Value) -> Value:
    """A setting for an id: of an address only the name, as its query may be secret."""
    return stem_of(value) if isinstance(value, str) and is_address(value) else value


def _input_path(value: object, column: str, layout: Layout) -> Path:
    text = text_of(value, column)
    if text == "-":
        raise ManifestError(f"{column} is '-': a batch reads nothing from standard input; name a file.")
    local_path(text, ManifestError, column)
    for spelled in spellings(layout.root, text):
        layout.disks.require_answer(spelled, ManifestError, column)
    path = find_written(layout.root, text)
    if layout.is_confined and (layout.far_root or not _is_inside(path, layout.root)):
        raise ManifestError(
            f"{column} {str(value)!r} lies outside {layout.far_root or layout.root}, which --confine forbids."
        )
    return path


def _output_path(row: Row, given: object, layout: Layout) -> Path:
    name = text_of(given, "output") if given is not None else _templated(row, layout.name_template)
    if is_address(name):
        raise ManifestError(
            f"output {shown_address(name)} is an address: give a name here, and a store's folder with "
            "--output-dir."
        )
    path = Path(os.path.abspath(os.path.join(layout.output_dir, name)))
    if path.suffix.lower() not in SUFFIXES:
        raise ManifestError(f"output {name!r} does not end in .mp4, .webm or .mov.")
    if layout.is_confined and not _is_inside(path, layout.output_dir):
        raise ManifestError(f"output {name!r} lies outside {layout.output_dir}, which --confine forbids.")
    return path


def _templated(row: Row, template: str) -> str:
    values = {
        "id": row.id,
        "portrait": row.portrait.stem,
        "audio": row.audio.stem,
        "row": row.number,
        "preset": row.preset or "default",
        "seed": row.settings.get("seed", "default"),
    }
    try:
        return template.format_map(values)
    except ValueError as error:
        raise ManifestError(f"--name-template {template!r} does not fit: {error}.") from error


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder once symbolic links are followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def _priority(given: Mapping[str, object]) -> int:
    text = str(given.get(PRIORITY, 0)).strip()
    if isinstance(given.get(PRIORITY), bool) or not re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        raise ManifestError(
            f"priority {text[:40]!r} is not a whole number; rows of higher priority are rendered first."
        )
    return int(text)


def _fallback_id(number: int, given: Mapping[str, object]) -> str:
    text = given.get("id")
    if isinstance(text, str | int) and not isinstance(text, bool):
        try:
            return check_id(text_of(text, "id"))
        except ManifestError:
            pass
    return f"row-{number}"


def _without_prefix(message: str, number: int) -> str:
    return message.removeprefix(f"row {number}: ")
