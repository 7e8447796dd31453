"""One row of a batch: the requested render, checked and with absolute paths; knows no file formats."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hallo_cli.batch.columns import (
    FACE,
    FILE_SETTINGS,
    FORBIDDEN_IN_ID,
    PRIORITY,
    REQUIRED,
    TEXT,
    check_id,
    face_of,
    missing_columns,
    own_text,
    require_columns,
    text_of,
    values_by_column,
)
from hallo_cli.batch.places import Layout, address_of, input_path, output_path
from hallo_cli.bundles.bundle import list_bundles
from hallo_cli.errors import ManifestError, SettingsError
from hallo_cli.media.addresses import bare_address, is_address, stem_of
from hallo_cli.media.speaking import spoken_path
from hallo_cli.settings.canvas import colour_of
from hallo_cli.settings.schema import Value
from hallo_cli.settings.values import parse


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
    def shown(self) -> dict[str, str]:
        """The same as people read it: paths, and addresses without their secrets."""
        return {
            name: bare_address(source) if name in self.far else source
            for name, source in self.sources.items()
        }

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
        message = str(error).removeprefix(f"row {number}: ")
        return BadRow(number, _fallback_id(number, given), message, own=own)


def _row(number: int, given: Mapping[str, object], layout: Layout) -> Row:
    missing = missing_columns(given)
    if missing:
        raise ManifestError(f"{' and '.join(missing)} is empty; give a file.")
    heard = sorted((name for name in given if FACE.fullmatch(name)), key=face_of)
    names = [name for name in (*REQUIRED, *heard) if name in given]
    far = {name: address for name in names if (address := address_of(given[name], name, layout))}
    inputs = {
        name: _named(far[name]) if name in far else input_path(given[name], name, layout) for name in names
    }
    voices = {name: inputs[name] for name in heard}
    audio, own = _heard(given, inputs, voices, layout)
    portrait = inputs["portrait"]
    preset = text_of(given["preset"], "preset") if "preset" in given else None
    keys = sorted(given.keys() & values_by_column().keys())
    settings = {key: parse(values_by_column()[key], given[key], where=key) for key in keys}
    priority = int(settings.pop(PRIORITY, None) or 0)
    if layout.is_confined and "bundle" in settings:
        _require_installed(str(settings["bundle"]))
    row = Row(number, "", portrait, audio, Path(), preset, settings, own, priority, far, voices)
    row = dataclasses.replace(row, id=_row_id(row, given.get("id")))
    row = _with_setting_files(row, layout)
    output = given.get("output")
    name = _templated(row, layout.name_template) if output is None else text_of(output, "output")
    row = dataclasses.replace(row, output=output_path(name, layout))
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
        if address := address_of(value, column, layout):
            settings[column] = far[column] = address
        else:
            settings[column] = str(input_path(value, column, layout))
    return dataclasses.replace(row, settings=settings, far=far)


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


def _fallback_id(number: int, given: Mapping[str, object]) -> str:
    text = given.get("id")
    if isinstance(text, str | int) and not isinstance(text, bool):
        try:
            return check_id(text_of(text, "id"))
        except ManifestError:
            pass
    return f"row-{number}"
