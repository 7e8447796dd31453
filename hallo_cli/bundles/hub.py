"""Fetch the published weights from the Hugging Face hub, whole and checked, resuming where a fetch stopped.

The hub is asked once for names, sizes and digests; then each file is fetched into a `.part` file beside its
place, compared with the hub's digest and renamed. This module prints nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallo_cli import __version__
from hallo_cli.bundles.bundle import Bundle, read_bundle, tree_manifest
from hallo_cli.bundles.bundle_file import MANIFEST, write_manifest
from hallo_cli.bundles.trees import TRAINING_FILES, Tree, TreeFile
from hallo_cli.errors import WeightsError, first_line
from hallo_cli.store.digests import CHUNK, file_digest
from hallo_cli.store.opening import handle_to_change
from hallo_cli.store.writing import copy_whole, make_folder, rename, reporting_write_errors

MAX_FILE_BYTES = 1 << 40  # no file of weights comes near it
Report = Callable[[str, int], None]  # (path inside the bundle, bytes that have just arrived)


@dataclass(frozen=True)
class RemoteFile:
    """One file as the hub lists it."""

    file: TreeFile
    commit: str  # of its repository
    n_bytes: int
    digest: str  # SHA-256; of small files git's blob id, a SHA-1

    @property
    def path(self) -> str:
        """Its path inside the tree."""
        return self.file.path


@dataclass(frozen=True)
class PullPlan:
    """What there is to fetch, at one commit of each repository."""

    tree: Tree
    endpoint: str
    commit: str  # of the networks' repository
    files: tuple[RemoteFile, ...]  # smallest first, so that what is wrong shows early

    @property
    def n_bytes(self) -> int:
        """Size of all files together."""
        return sum(file.n_bytes for file in self.files)


def is_offline() -> bool:
    """Whether the user's environment forbids asking the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def hub_endpoint() -> str:
    """The hub, or the mirror that the environment names."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"


def tree_files(tree: Tree, *, with_training: bool = False) -> list[TreeFile]:
    """What a pull of the tree consists of."""
    return [*tree.files.values(), *(TRAINING_FILES.values() if with_training else ())]


def plan_pull(tree: Tree, revision: str = "main", *, with_training: bool = False) -> PullPlan:
    """Ask the hub what a tree's files are; `revision` is that of the networks' repository.

    Raises WeightsError if the hub cannot tell.
    """
    wanted: dict[str, list[TreeFile]] = {tree.repo: []}
    for file in tree_files(tree, with_training=with_training):
        wanted.setdefault(file.repo, []).append(file)
    endpoint, commit, found = hub_endpoint(), "", list[RemoteFile]()
    for repo, files in wanted.items():
        asked = revision if repo == tree.repo else "main"
        listing, at = _listing(endpoint, repo, asked)
        if missing := [file.remote_path for file in files if file.remote_path not in listing]:
            remedy = "Choose another --revision" if repo == tree.repo else "Try another HF_ENDPOINT"
            raise WeightsError(f"{repo} at revision {asked!r} lacks {', '.join(missing[:3])}. {remedy}.")
        commit = commit or at
        found += [_remote_file(file, at, listing[file.remote_path], endpoint) for file in files]
    return PullPlan(tree, endpoint, commit, tuple(sorted(found, key=lambda file: file.n_bytes)))


def _listing(endpoint: str, repo: str, revision: str) -> tuple[dict[str, Any], str]:
    """A repository's files by path, and the commit that the revision stands for."""
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, library_name="hallo", library_version=__version__)
    try:
        info = api.model_info(repo, revision=revision, files_metadata=True, timeout=30)
    except _network_errors() as error:
        raise WeightsError(
            f"{endpoint} does not list {repo} at revision {revision!r} ({first_line(error)}). "
            "Check the network, --revision and HF_ENDPOINT, or use --offline with what is already here."
        ) from error
    except Exception as error:  # a senseless answer makes its parser fail in any way
        raise _senseless(endpoint, first_line(error)) from error
    if not isinstance(info.sha, str) or not re.fullmatch("[0-9a-f]{40}", info.sha):
        raise _senseless(endpoint, f"commit {info.sha!r}")
    return {sibling.rfilename: sibling for sibling in info.siblings or ()}, info.sha


def pull(plan: PullPlan, directory: Path, report: Report) -> Bundle:
    """Fetch what is not there yet and describe the tree by a `bundle.toml`. Run again to resume.

    Raises WeightsError if a file cannot be fetched, does not match the hub's digest or does not fit.
    """
    make_folder(directory)
    missing = [file for file in plan.files if not _is_there(directory, file)]
    _check_space(directory, missing)
    for file in plan.files:
        if file in missing:
            _fetch(plan, file, directory, report)
        else:
            report(file.path, file.n_bytes)
    manifest = tree_manifest(plan.tree, directory)
    write_manifest(directory, dataclasses.replace(manifest, version=plan.commit[:12], made_with=__version__))
    return read_bundle(directory)


def adopt(tree: Tree, directory: Path, *, with_training: bool = False) -> Bundle:
    """Complete the tree without a network, from what other programs left in the hub's cache.

    Raises WeightsError naming the first files that are in neither place.
    """
    from huggingface_hub import try_to_load_from_cache

    missing = []
    for file in tree_files(tree, with_training=with_training):
        target = directory / file.path
        if target.is_file():
            continue
        cached = try_to_load_from_cache(file.repo, file.remote_path)
        if not isinstance(cached, str):
            missing.append(file.path)
            continue
        make_folder(target.parent)
        copy_whole(Path(cached), target)
    if missing:
        raise WeightsError(
            f"{directory}: offline, and {len(missing)} files are neither in it nor in the hub's cache: "
            f"{', '.join(missing[:3])}. Run `hallo models pull {tree.name}"
            f"{' --with training' if with_training else ''}` once with a network."
        )
    if not (directory / MANIFEST).exists():
        write_manifest(directory, tree_manifest(tree, directory))
    return read_bundle(directory)


def _remote_file(file: TreeFile, commit: str, listed: Any, endpoint: str) -> RemoteFile:
    """From huggingface_hub's RepoSibling, whose `lfs` is a dict or an object, by version."""
    lfs, size = listed.lfs, listed.size
    if type(size) is not int or not 0 < size <= MAX_FILE_BYTES:
        raise _senseless(endpoint, f"{file.path} of {size!r} bytes")
    sha256 = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
    digest, n_digits = (listed.blob_id, 40) if lfs is None else (sha256, 64)
    if not isinstance(digest, str) or not re.fullmatch(f"[0-9a-f]{{{n_digits}}}", digest):
        raise _senseless(endpoint, f"{file.path} with the digest {digest!r}")
    return RemoteFile(file, commit, size, digest)


def _senseless(endpoint: str, what: str) -> WeightsError:
    return WeightsError(
        f"{endpoint} sent an invalid list of files ({what[:200]}). Check HF_ENDPOINT or wait."
    )


def _is_there(directory: Path, file: RemoteFile) -> bool:
    path = directory / file.path
    return path.is_file() and path.stat().st_size == file.n_bytes and _matches(path, file)


def _matches(path: Path, file: RemoteFile) -> bool:
    if len(file.digest) == 64:
        return file_digest(path) == file.digest
    blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as content:
        while block := content.read(CHUNK):
            blob.update(block)
    return blob.hexdigest() == file.digest


def _check_space(directory: Path, missing: list[RemoteFile]) -> None:
    needed = sum(file.n_bytes for file in missing)
    kept = sum(part.stat().st_size for part in directory.rglob("*.part"))
    free = shutil.disk_usage(directory).free
    if needed - kept > free:
        raise WeightsError(
            f"{directory}: {(needed - kept) / 1e9:.1f} GB to fetch, {free / 1e9:.1f} GB free. "
            "Free some space, or choose another folder with --to or HALLO_MODELS."
        )


def _fetch(plan: PullPlan, file: RemoteFile, directory: Path, report: Report) -> None:
    target = directory / file.path
    make_folder(target.parent)
    # Another version's part is never continued.
    part = target.with_name(f"{target.name}.{file.digest[:12]}.part")
    try:
        _download(plan, file, part, report)
    except _TooMuch as error:
        part.unlink()
        raise WeightsError(
            f"{file.path}: {plan.endpoint} sends more than the {file.n_bytes} bytes that it lists; the part "
            "was removed. Try another HF_ENDPOINT."
        ) from error
    except _network_errors() as error:
        raise WeightsError(
            f"{file.path}: the fetch from {plan.endpoint} stopped ({first_line(error)}). "
            "The part that arrived is kept: run the same command again to resume."
        ) from error
    if part.stat().st_size != file.n_bytes or not _matches(part, file):
        part.unlink()
        raise WeightsError(
            f"{file.path}: the file from {plan.endpoint} does not match its listed digest and was removed. "
            "Run the same command again, or try another HF_ENDPOINT."
        )
    rename(part, target)


def _download(plan: PullPlan, file: RemoteFile, part: Path, report: Report) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # the caller draws its own
    remote = file.file
    url = hf_hub_url(remote.repo, remote.remote_path, revision=file.commit, endpoint=plan.endpoint)
    with reporting_write_errors(part):
        stream = _ReportingFile(part, file.n_bytes, lambda count: report(file.path, count))
    with stream:
        http_get(url, stream, resume_size=stream.tell(), expected_size=file.n_bytes)


class _TooMuch(OSError):
    """A server sends more than it has announced."""


class _ReportingFile(io.FileIO):
    """A file opened for going on at its end, that says how many bytes it gets and takes only `limit`."""

    def __init__(self, path: Path, limit: int, report: Callable[[int], None]) -> None:
        super().__init__(handle_to_change(path), "r+b")
        self._path = path
        self._report = report
        self._limit = limit
        if os.fstat(self.fileno()).st_size > limit:
            super().truncate(0)
        report(self.seek(0, os.SEEK_END))

    def write(self, data: Any) -> int:
        """Write all of it, where a raw file may write less."""
        rest = memoryview(data)
        if self.tell() + len(rest) > self._limit:
            raise _TooMuch(f"more than {self._limit} bytes")
        while rest:
            with reporting_write_errors(self._path):
                count = super().write(rest)
            self._report(count)
            rest = rest[count:]
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """Called where the server cannot resume and sends the file from its start."""
        before = os.fstat(self.fileno()).st_size
        after = super().truncate(size)
        self._report(after - before)
        return after


def _network_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub lets through: its own errors are OSErrors, the transport's differ by version."""
    transports = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    return (OSError, *(transport.HTTPError for transport in transports))
