"""A bundle: one directory holding every weight that a render needs, described by its `bundle.toml`.

The published `pretrained_models/` trees, which have no such file, are bundles too: their description is made
here. This module finds bundles and checks that their files are whole; it opens no tensors.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.bundles.bundle_file import (
    MANIFEST,
    BundleFile,
    BundleManifest,
    Geometry,
    Sampling,
    SpeechConfig,
    read_manifest,
)
from hallo_cli.bundles.trees import OFFICIAL, OPTIONAL, TREES, Tree, TreeFile
from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.store.cache import at_home, cache_path
from hallo_cli.store.digests import file_digest

EMBEDDED = Path(__file__).parent.parent / "assets" / "preview"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Bundle:
    """A directory of weights that was found, and its description; files are checked when they are opened."""

    path: Path
    manifest: BundleManifest

    def file(self, role: str) -> Path:
        """The file with this role. Raises WeightsError if the bundle has none or it is not there."""
        listed = self.manifest.files.get(role)
        if listed is None:
            raise WeightsError(
                f"{self.path}: this bundle has no file for {role!r}, only {', '.join(self.manifest.files)}. "
                "Use a bundle that has one (`hallo models list`)."
            )
        path = self.path / listed.path
        check_whole(path, listed)
        return path

    def verified(self, role: str) -> Path:
        """`file`, read through once to compare its SHA-256 with the description's."""
        path = self.file(role)
        expected = self.manifest.files[role].sha256
        if expected is not None and (found := file_digest(path)) != expected:
            raise WeightsError(
                f"{path}: SHA-256 is {found[:12]}…, {MANIFEST} says {expected[:12]}…: "
                "the file was changed or damaged. Fetch or convert the bundle again."
            )
        return path

    @property
    def weights_id(self) -> str:
        """A digest of all that changes pixels: configuration, defaults and the content of every file.

        Of the published tree, which lists no digests, the files are read through on the first call.
        """
        manifest = self.manifest
        digests = {
            role: listed.sha256 or file_digest(self.file(role))
            for role, listed in manifest.files.items()
            if role != "licence"
        }
        parts = [
            manifest.networks.to_dict(),
            *(_values(part) for part in (manifest.speech, manifest.geometry, manifest.sampling)),
            digests,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=list).encode()).hexdigest()


def _values(part: SpeechConfig | Geometry | Sampling) -> dict[str, object]:
    """What is set; keys that came later leave the digest of bundles without them as it was."""
    return {name: value for name, value in dataclasses.asdict(part).items() if value is not None}


def models_dir() -> Path | None:
    """Where pulled and converted bundles live: $HALLO_MODELS, else a folder in the user's cache, if any."""
    named = os.environ.get("HALLO_MODELS")
    return at_home(Path(named)) if named else cache_path("models")


def named_folder(name: str) -> Path:
    """Where a bundle of this name is put. Raises SettingsError for a user without a home."""
    root = models_dir()
    if root is None:
        raise SettingsError("there is no home folder for weights: name a folder in HALLO_MODELS.")
    return root / name


def find_bundle(name_or_path: str | Path) -> Bundle:
    """The bundle in this directory or of this name: "embedded", a published tree's, one that was converted.

    Raises WeightsError if there is none or its description cannot be used.
    """
    name = str(name_or_path)
    if name == "embedded":
        if not (EMBEDDED / MANIFEST).is_file():
            raise WeightsError(
                f"the embedded weights are missing from this installation ({EMBEDDED}). "
                "Install the package again, or name other weights with --bundle."
            )
        return read_bundle(EMBEDDED)
    root, tree = models_dir(), TREES.get(name)
    if tree is not None and root and _holds(root, tree):
        return Bundle(root, tree_manifest(tree, root))
    if re.fullmatch(r"\w[\w.-]*", name) and root and (root / name).is_dir():
        return read_bundle(root / name)
    path = at_home(Path(name_or_path))
    if path.is_dir():
        return read_bundle(path)
    if tree is not None:
        raise WeightsError(
            f"the {name} weights are not in {root}. Fetch them with `hallo models pull {name}`, "
            "or name their folder: --bundle PATH/pretrained_models."
        )
    raise WeightsError(
        f"no bundle called {name!r}: neither a folder nor a name in {root}. The published weights are called "
        "official (Hallo), hallo2 and joyhallo; `hallo models list` shows what there is."
    )


def list_bundles() -> list[tuple[str, Path]]:
    """Name and directory of every bundle that has a name, broken ones included."""
    found = [("embedded", EMBEDDED)] if EMBEDDED.is_dir() else []
    root = models_dir()
    if root and root.is_dir():
        found += [(tree.name, root) for tree in TREES.values() if _holds(root, tree)]
        folders = sorted(path for path in root.iterdir() if path.is_dir())
        found += [(path.name, path) for path in folders if _holds_bundle(path)]
    return found


def read_bundle(directory: Path) -> Bundle:
    """The bundle in this directory: with a `bundle.toml`, or a published tree. Raises WeightsError."""
    manifest = directory / MANIFEST
    if manifest.is_file():
        return Bundle(directory, read_manifest(manifest))
    if tree := _tree_in(directory):
        return Bundle(directory, tree_manifest(tree, directory))
    if _holds_bundle(directory.parent):
        raise WeightsError(f"{directory}: only a part of a bundle. Name the folder above it.")
    raise WeightsError(
        f"{directory}: no bundle here: neither {MANIFEST} nor {OFFICIAL.paths['networks']}. "
        "Name a bundle's own folder, or fetch the official weights with `hallo models pull`."
    )


def tree_manifest(tree: Tree, directory: Path) -> BundleManifest:
    """The description of a published tree in this directory, which has none of its own."""
    files = {
        role: BundleFile(_place(directory, file))
        for role, file in tree.files.items()
        if not role.startswith(OPTIONAL) or (directory / file.path).exists()
    }
    return BundleManifest(
        name=tree.name,
        version="1",
        licence=tree.licence,
        networks=tree.networks,
        files=files,
        speech=tree.speech,
        description=tree.description,
    )


def _place(directory: Path, file: TreeFile) -> str:
    """Where in the directory the file lies, or should."""
    places = (file.path, *file.elsewhere)
    return next((path for path in places if (directory / path).exists()), file.path)


def check_whole(path: Path, listed: BundleFile) -> None:
    """Raise WeightsError if a file is missing, empty, a git-lfs pointer or not of the listed size."""
    if not path.is_file():
        raise WeightsError(f"{path}: missing. Fetch or convert the bundle again.")
    n_bytes = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(len(LFS_POINTER))
    if head == LFS_POINTER:
        raise WeightsError(
            f"{path}: a git-lfs pointer, not the weights. Run `git lfs pull` in that repository, "
            "or fetch the weights with `hallo models pull`."
        )
    if n_bytes == 0:
        raise WeightsError(f"{path}: empty. Fetch or convert the bundle again.")
    if listed.n_bytes is not None and n_bytes != listed.n_bytes:
        what = "cut short" if n_bytes < listed.n_bytes else "longer than it should be"
        raise WeightsError(
            f"{path}: {what}: {n_bytes} bytes of {listed.n_bytes}. Fetch or convert the bundle again."
        )


def _tree_in(directory: Path) -> Tree | None:
    """The published tree that this directory holds; of several, the first in the order of TREES."""
    return next((tree for tree in TREES.values() if _holds(directory, tree)), None)


def _holds(directory: Path, tree: Tree) -> bool:
    """Whether a directory that has no description of its own holds a published tree."""
    if (directory / MANIFEST).exists():
        return False
    networks, speech = tree.files["networks"], tree.files["speech"]
    at_hand = (directory / networks.path).exists()
    # net.pth beside other files says whose it is only by its speech encoder
    by_hand = any((directory / path).exists() for path in networks.elsewhere)
    return at_hand or (by_hand and (directory / _place(directory, speech)).exists())


def _holds_bundle(directory: Path) -> bool:
    return (directory / MANIFEST).exists() or _tree_in(directory) is not None
