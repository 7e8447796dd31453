"""Where the files of rows are: paths and addresses of inputs, and what their videos are called."""

import os
import string
from dataclasses import dataclass, field
from pathlib import Path

from hallo_cli.batch.columns import OWN_PREFIX, TEXT, is_column, is_unicode, key_of, text_of
from hallo_cli.batch.spelling import find_written, spellings
from hallo_cli.errors import ManifestError, SettingsError
from hallo_cli.jobs.containers import SUFFIXES
from hallo_cli.media.addresses import address_in, is_address, is_within, require_fetchable, shown_address
from hallo_cli.media.slow_disks import Disks

TEMPLATE_NAMES = ("id", "portrait", "audio", "row", "preset", "seed")


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


def address_of(value: object, column: str, layout: Layout) -> str:
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


def input_path(value: object, column: str, layout: Layout) -> Path:
    """The full path of an input that is no address, spelled as on disk. Raises ManifestError."""
    text = text_of(value, column)
    if text == "-":
        raise ManifestError(f"{column} is '-': a batch reads nothing from standard input; name a file.")
    for spelled in spellings(layout.root, text):
        layout.disks.require_answer(spelled, ManifestError, column)
    path = find_written(layout.root, text)
    if layout.is_confined and (layout.far_root or not _is_inside(path, layout.root)):
        raise ManifestError(
            f"{column} {str(value)!r} lies outside {layout.far_root or layout.root}, which --confine forbids."
        )
    return path


def output_path(name: str, layout: Layout) -> Path:
    """The full path of a row's video. Raises ManifestError."""
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


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder once symbolic links are followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False
