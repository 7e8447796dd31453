"""The description of a bundle: the values of `bundle.toml`, read strictly and written whole.

This module knows no networks' weights and looks into no other file, except to list sizes and digests.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from annotated_types import Interval

from hallo_cli.errors import WeightsError
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.store.binding import bind, plain, shortened
from hallo_cli.store.digests import file_digest
from hallo_cli.store.reading import read_small
from hallo_cli.store.writing import write_whole

FORMAT = 1
MANIFEST = "bundle.toml"
MAX_DEPTH = 8  # of tables and lists in each other
ROLES = frozenset(
    {"networks", "vae", "speech", "speech_config", "face_detector", "identity", "licence"}
    | {"vocals", "vocals_checks", "vocals_mdx_data", "vocals_vr_data"}
)
PieceLength = Annotated[float, Interval(ge=1, le=3600)]
Ratio = Annotated[float, Interval(ge=0.1, le=10)]
Shift = Annotated[float, Interval(ge=-1, le=10)]


@dataclass(frozen=True)
class SpeechConfig:
    """Which network turns the recording into audio features, and its own configuration."""

    kind: Literal["wav2vec2", "embedded"] = "wav2vec2"
    config: Mapping[str, Any] = field(default_factory=dict)
    piece_s: PieceLength | None = None  # recordings are cut into pieces so long, each heard by itself


@dataclass(frozen=True)
class Geometry:
    """How the pictures were framed that the networks were trained with."""

    crop_scale: Ratio = 1.7  # side of the square / longer side of the face oval's box
    crop_shift: Shift = 0.0  # centre moved down, as a share of the square's side
    face_expand_ratio: Ratio = 1.2  # face locator's rectangle / face oval's box
    lip_expand_ratio: Ratio = 2.0  # lip attention's rectangle / lips' box
    shown_scale: Ratio = 2.0  # what `crop` shows of models that move the picture itself, measured likewise
    shown_shift: Shift = 0.04


@dataclass(frozen=True)
class Sampling:
    """The sampling that the bundle's makers recommend; settings may say otherwise."""

    steps: Annotated[int, Interval(ge=1, le=1000)] = 40
    guidance: Annotated[float, Interval(ge=0, le=100)] = 3.5
    solver: str = "ddim"


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle."""

    path: str  # inside the bundle, with forward slashes
    sha256: str | None = None  # None only for the published tree, which lists none
    n_bytes: int | None = None

    def __post_init__(self) -> None:
        path = PurePosixPath(self.path)
        is_inside = not (path.is_absolute() or ".." in path.parts or set(self.path) & set("\\:"))
        _require(bool(self.path) and is_inside, "path", self.path, "a path inside the bundle")
        is_digest = self.sha256 is None or re.fullmatch("[0-9a-f]{64}", self.sha256) is not None
        _require(is_digest, "sha256", self.sha256, "64 hexadecimal digits")
        _require(self.n_bytes is None or self.n_bytes > 0, "n_bytes", self.n_bytes, "a number of bytes")


@dataclass(frozen=True)
class BundleManifest:
    """What `bundle.toml` says."""

    name: str
    version: str
    licence: str
    networks: NetworkConfig
    files: Mapping[str, BundleFile]  # by role, one of ROLES
    speech: SpeechConfig = SpeechConfig()
    geometry: Geometry = Geometry()
    sampling: Sampling = Sampling()
    made_with: str = ""  # version of this program
    description: str = ""
    format: int = FORMAT

    def __post_init__(self) -> None:
        for role in self.files:
            _require(role in ROLES, "files", role, "one of " + ", ".join(sorted(ROLES)))

    @property
    def needs_identity(self) -> bool:
        """Whether renders need a face embedding of the portrait."""
        return self.networks.identity_tokens > 0


def read_manifest(path: Path) -> BundleManifest:
    """Parse a `bundle.toml`. Raises WeightsError at anything missing, unknown or of the wrong kind."""
    try:
        values = tomllib.loads(read_small(path).decode())
        _require_shallow(values)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}). Fetch the bundle again.") from error
    version = values.get("format")
    if version != FORMAT:
        raise WeightsError(
            f"{path}: format {shortened(repr(version))}, this program reads {FORMAT}. "
            "Update program or bundle."
        )
    try:
        manifest = bind(BundleManifest, values)
        for role, listed in manifest.files.items():
            is_whole = listed.sha256 is not None and listed.n_bytes is not None
            _require(is_whole, f"files.{role}", listed.path, "given with sha256 and n_bytes")
    except ValueError as error:
        raise WeightsError(f"{path}: {error}. Update the program or fetch the bundle again.") from error
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return manifest


def write_manifest(directory: Path, manifest: BundleManifest) -> Path:
    """Write `bundle.toml`, whole or not at all, and return its path.

    Sizes and digests of the listed files are filled in, so the files must be there already.
    """
    files = {role: describe_file(directory, listed.path) for role, listed in manifest.files.items()}
    import tomli_w

    text = tomli_w.dumps(plain(dataclasses.replace(manifest, files=files)))
    write_whole(directory / MANIFEST, text.encode())
    return directory / MANIFEST


def describe_file(directory: Path, path: str) -> BundleFile:
    """Size and SHA-256 of a file that is there."""
    return BundleFile(path, file_digest(directory / path), (directory / path).stat().st_size)


def _require(is_right: bool, name: str, value: Any, expected: str) -> None:
    if not is_right:
        raise ValueError(f"{name} = {shortened(repr(value))} is not {expected}")


def _require_shallow(values: dict[str, Any]) -> None:
    """Raise ValueError if tables and lists are nested deeper than any real ones."""
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        inner = [list(item.values()) if isinstance(item, dict) else item for item in level]
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError("its tables are nested too deeply")
