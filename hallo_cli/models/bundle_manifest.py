"""The description of a bundle: the values of `bundle.toml`, read strictly and written whole.

This module knows no networks' weights and looks into no other file, except to list sizes and digests.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from hallo_cli.errors import WeightsError
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.store.digests import file_digest
from hallo_cli.store.writing import write_whole

FORMAT = 1
MANIFEST = "bundle.toml"
MAX_DEPTH = 8  # of tables and lists in each other
MANIFEST_LIMIT = 1 << 20  # bytes; a real one has a few thousand
ROLES = frozenset(
    {"networks", "vae", "speech", "speech_config", "face_detector", "identity", "licence"}
    | {"vocals", "vocals_checks", "vocals_mdx_data", "vocals_vr_data"}
)


@dataclass(frozen=True)
class SpeechConfig:
    """Which network turns the recording into audio features, and its own configuration."""

    kind: Literal["wav2vec2", "embedded"] = "wav2vec2"
    config: Mapping[str, Any] = field(default_factory=dict)
    piece_s: float | None = None  # recordings are cut into pieces so long, each heard by itself; None: not


@dataclass(frozen=True)
class Geometry:
    """How the pictures were framed that the networks were trained with."""

    crop_scale: float = 1.7  # side of the square / longer side of the face oval's box
    crop_shift: float = 0.0  # centre moved down, as a share of the square's side
    face_expand_ratio: float = 1.2  # face locator's rectangle / face oval's box
    lip_expand_ratio: float = 2.0  # lip attention's rectangle / lips' box
    shown_scale: float = 2.0  # what `crop` shows of models that move the picture itself, measured likewise
    shown_shift: float = 0.04


@dataclass(frozen=True)
class Sampling:
    """The sampling that the bundle's makers recommend; settings may say otherwise."""

    steps: int = 40
    guidance: float = 3.5
    solver: str = "ddim"


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle."""

    path: str  # inside the bundle, with forward slashes
    sha256: str | None = None  # None only for the published tree, which lists none
    n_bytes: int | None = None


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

    @property
    def needs_identity(self) -> bool:
        """Whether renders need a face embedding of the portrait."""
        return self.networks.identity_tokens > 0


def read_manifest(path: Path) -> BundleManifest:
    """Parse a `bundle.toml`. Raises WeightsError at anything missing, unknown or of the wrong kind."""
    try:
        if path.stat().st_size > MANIFEST_LIMIT:
            raise WeightsError(f"{path}: larger than any real one. Fetch the bundle again.")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        _require_shallow(values)
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}). Fetch the bundle again.") from error
    version = values.get("format")
    if version != FORMAT:
        raise WeightsError(
            f"{path}: format {_short(version)}, this program reads {FORMAT}. Update program or bundle."
        )
    try:
        return _parse_manifest(values)
    except (WeightsError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: {error}") from error


def write_manifest(directory: Path, manifest: BundleManifest) -> Path:
    """Write `bundle.toml`, whole or not at all, and return its path.

    Sizes and digests of the listed files are filled in, so the files must be there already.
    """
    files = {role: describe_file(directory, listed.path) for role, listed in manifest.files.items()}
    manifest = dataclasses.replace(manifest, files=files)
    values = dataclasses.asdict(dataclasses.replace(manifest, networks=NetworkConfig()))
    values["networks"] = manifest.networks.to_dict()
    text = "\n".join(_toml_lines(values)) + "\n"
    write_whole(directory / MANIFEST, text.encode())
    return directory / MANIFEST


def describe_file(directory: Path, path: str) -> BundleFile:
    """Size and SHA-256 of a file that is there."""
    return BundleFile(path, file_digest(directory / path), (directory / path).stat().st_size)


def _parse_manifest(values: dict[str, Any]) -> BundleManifest:
    known = {item.name for item in dataclasses.fields(BundleManifest)}
    _refuse_unknown("", values, known)
    for name in ("name", "version", "licence", "networks", "files"):
        if name not in values:
            raise ValueError(f"{name} is missing. Fetch the bundle again.")
    for name in ("name", "version", "licence", "made_with", "description"):
        _require(isinstance(values.get(name, ""), str), name, values.get(name), "text")
    for name in ("networks", "files", "speech", "geometry", "sampling"):
        _require(isinstance(values.get(name, {}), dict), name, values.get(name), "a table")
    return BundleManifest(
        **{name: values[name] for name in known & set(values) if isinstance(values[name], str)},
        networks=NetworkConfig.from_dict(values["networks"]),
        files={role: _parse_file(role, listed) for role, listed in values["files"].items()},
        speech=_parse_speech(values.get("speech", {})),
        geometry=_parse_geometry(values.get("geometry", {})),
        sampling=_parse_sampling(values.get("sampling", {})),
    )


def _parse_file(role: str, listed: Any) -> BundleFile:
    _require(role in ROLES, "files", role, "one of " + ", ".join(sorted(ROLES)))
    _require(isinstance(listed, dict), f"files.{role}", listed, "a table")
    _refuse_unknown(f"files.{role}.", listed, {"path", "sha256", "n_bytes"})
    path, sha256, n_bytes = listed.get("path"), listed.get("sha256"), listed.get("n_bytes")
    _require(_is_inside(path), f"files.{role}.path", path, "a path inside the bundle")
    is_digest = isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) is not None
    _require(is_digest, f"files.{role}.sha256", sha256, "64 hexadecimal digits")
    _require(type(n_bytes) is int and n_bytes > 0, f"files.{role}.n_bytes", n_bytes, "a number of bytes")
    return BundleFile(path, sha256, n_bytes)


def _is_inside(path: Any) -> bool:
    if not isinstance(path, str) or not path or "\\" in path or ":" in path:
        return False
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts


def _parse_speech(values: dict[str, Any]) -> SpeechConfig:
    _refuse_unknown("speech.", values, {"kind", "config", "piece_s"})
    kind = values.get("kind", "wav2vec2")
    _require(kind in ("wav2vec2", "embedded"), "speech.kind", kind, "wav2vec2 or embedded")
    config = values.get("config", {})
    _require(isinstance(config, dict), "speech.config", config, "a table")
    piece_s = values.get("piece_s")
    _require(
        piece_s is None or _is_number(piece_s, 1.0, 3600.0),
        "speech.piece_s",
        piece_s,
        "a number from 1 to 3600",
    )
    return SpeechConfig(kind, config, None if piece_s is None else float(piece_s))


def _parse_geometry(values: dict[str, Any]) -> Geometry:
    _refuse_unknown("geometry.", values, {item.name for item in dataclasses.fields(Geometry)})
    for name, value in values.items():
        lower = -1.0 if name.endswith("_shift") else 0.1
        _require(_is_number(value, lower, 10.0), f"geometry.{name}", value, f"a number from {lower} to 10")
    return Geometry(**{name: float(value) for name, value in values.items()})


def _parse_sampling(values: dict[str, Any]) -> Sampling:
    _refuse_unknown("sampling.", values, {item.name for item in dataclasses.fields(Sampling)})
    sampling = Sampling(**values)
    steps, guidance = sampling.steps, sampling.guidance
    _require(type(steps) is int and 1 <= steps <= 1000, "sampling.steps", steps, "1 to 1000")
    _require(_is_number(guidance, 0.0, 100.0), "sampling.guidance", guidance, "a number of 0 to 100")
    _require(isinstance(sampling.solver, str), "sampling.solver", sampling.solver, "text")
    return dataclasses.replace(sampling, guidance=float(sampling.guidance))


def _is_number(value: Any, lower: float, upper: float) -> bool:
    is_number = type(value) in (int, float)
    return is_number and math.isfinite(value) and lower <= value <= upper


def _require(is_right: bool, name: str, value: Any, expected: str) -> None:
    if not is_right:
        raise ValueError(f"{name} = {_short(value)} is not {expected}. Fetch the bundle again.")


def _require_shallow(values: dict[str, Any]) -> None:
    """Raise ValueError if tables and lists are nested deeper than any real ones."""
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        inner = [list(item.values()) if isinstance(item, dict) else item for item in level]
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
        if not level:
            return
    raise ValueError("its tables are nested too deeply")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _refuse_unknown(prefix: str, values: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(values) - known):
        key = f"{prefix}{unknown[0][:100]}"
        raise ValueError(f"unknown key {key}. Update the program, or fetch the bundle again.")


def _toml_lines(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    plain = {key: value for key, value in table.items() if value is not None}
    lines = [
        f"{_toml_key(key)} = {_toml_value(value)}"
        for key, value in plain.items()
        if not isinstance(value, Mapping)
    ]
    for key, value in plain.items():
        if isinstance(value, Mapping):
            name = f"{prefix}{_toml_key(key)}"
            lines += ["", f"[{name}]", *_toml_lines(value, f"{name}.")]
    return lines


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float) and math.isfinite(value):
        return repr(value)
    raise WeightsError(f"{MANIFEST} cannot hold {value!r}")
