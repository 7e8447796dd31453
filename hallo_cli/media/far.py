"""Fetches a portrait or a recording from a web server or an object store into the cache.

A file is fetched once: later, only whether it has changed is asked. Addresses are never kept or shown with
their query, which may hold a signature.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from hallo_cli import __version__
from hallo_cli.errors import InputError, SettingsError
from hallo_cli.media.composing import kept_path
from hallo_cli.media.files import WEB_ADDRESS, local_path, reason_of
from hallo_cli.printable import printable
from hallo_cli.store.opening import sweep_parts
from hallo_cli.store.writing import rename, replacing, write_whole

MAX_BYTES = 4 << 30
SILENCE_S = 30.0  # until a server that says nothing is given up
LONGEST_S = 1800.0  # that a file may take
CHUNK = 1 << 20
SUFFIX = re.compile(r"\.[a-z0-9]{1,5}", re.I)


def near_path(given: str | os.PathLike[str], error: type[InputError], what: str) -> Path:
    """The path of a file, or of the fetched copy of what an address names.

    Raises `error` if it cannot be fetched, SettingsError if a package or the cache is missing, OutputError.
    """
    typed = os.fspath(given)
    if not WEB_ADDRESS.match(typed) or os.path.lexists(typed):
        return local_path(given, error, what)
    parts = urlsplit(typed)
    if parts.scheme.lower() not in ("http", "https", "s3"):
        raise error(f"the {what} {shown_address(typed)}: only https, http and s3 addresses are fetched.")
    if "@" in parts.netloc:
        raise error(f"the {what} {shown_address(typed)} has a password in it: use a signed address, or s3.")
    try:
        return _fetched(typed, _open_web if parts.scheme.lower() in ("http", "https") else _open_store)
    except (OSError, HTTPException, ValueError, _Refused) as reason:
        raise error(
            f"the {what} {shown_address(typed)} cannot be fetched: {_reason_of(reason)}. Check the "
            "address, or download the file first."
        ) from None  # the cause may show the query


def stem_of(given: str) -> str:
    """The name of a file or an address without folder, ending and query."""
    return Path(unquote(urlsplit(given).path) if WEB_ADDRESS.match(given) else given).stem[:100]


def shown_address(address: str) -> str:
    """An address as one printable line, without what may be secret."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return repr(printable(f"{parts.scheme}://{host}{parts.path}"[:300]))


class _Refused(Exception):
    """What a server or a limit says, for the message."""


class _Content(Protocol):
    """Something to be read to its end."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class _Answer:
    """An opened file; None: the copy that is kept is still the same."""

    content: _Content | None
    stamp: str  # equal if and only if the content is; empty if the server tells none


class _Opener(Protocol):
    def __call__(self, address: str, stamp: str) -> contextlib.AbstractContextManager[_Answer]: ...


def _fetched(address: str, opened: _Opener) -> Path:
    note = kept_path("far", f"{hashlib.sha256(address.encode()).hexdigest()[:40]}.json")
    stamp, kept = _read(note)
    with opened(address, stamp) as answer:
        if answer.content is None and kept is not None:
            return kept
        if answer.content is None:
            raise _Refused("the server sent nothing")
        file = _stored(answer.content, note.parent, _suffix_of(address))
    write_whole(note, json.dumps({"stamp": answer.stamp, "file": file.name}).encode())
    return file


def _read(note: Path) -> tuple[str, Path | None]:
    """The stamp and the copy of an earlier fetch; empty and None if there is no copy."""
    try:
        values = json.loads(note.read_bytes())
        file = note.parent / Path(str(values["file"])).name
        return (str(values["stamp"]), file) if file.is_file() else ("", None)
    except (OSError, ValueError, KeyError, TypeError):
        return "", None


def _stored(content: _Content, folder: Path, suffix: str) -> Path:
    sweep_parts(folder)
    made = folder / f"fetch-{os.getpid()}"
    digest, n_bytes, deadline = hashlib.sha256(), 0, time.monotonic() + LONGEST_S
    with replacing(made) as file:
        while block := content.read(CHUNK):
            n_bytes += len(block)
            if n_bytes > MAX_BYTES:
                raise _Refused(f"it has more than {MAX_BYTES / (1 << 30):g} GiB")
            if time.monotonic() > deadline:
                raise _Refused(f"it took more than {LONGEST_S / 60:g} minutes")
            digest.update(block)
            file.write(block)
        if not n_bytes:
            raise _Refused("it is empty")
        _require_whole(content, n_bytes)
    target = folder / f"{digest.hexdigest()[:40]}{suffix}"
    rename(made, target)
    return target


def _require_whole(content: _Content, n_bytes: int) -> None:
    headers = getattr(content, "headers", None)
    length = headers.get("Content-Length") if headers is not None else None
    if length is not None and length.isdecimal() and int(length) != n_bytes:
        raise _Refused(f"the connection broke after {n_bytes} of {length} bytes")


@contextlib.contextmanager
def _open_web(address: str, stamp: str) -> Iterator[_Answer]:
    wanted = Request(address, headers={"User-Agent": f"hallo/{__version__}"})  # noqa: S310 - http only
    if stamp:
        wanted.add_header("If-None-Match", stamp)
    try:
        with urlopen(wanted, timeout=SILENCE_S) as content:  # noqa: S310
            yield _Answer(content, content.headers.get("ETag") or "")
    except HTTPError as answer:
        answer.close()
        if answer.code != 304:
            raise _Refused(f"the server answers {answer.code} {answer.reason}") from None
        yield _Answer(None, stamp)


@contextlib.contextmanager
def _open_store(address: str, stamp: str) -> Iterator[_Answer]:
    try:
        import fsspec.core

        with _reporting():
            files, path = fsspec.core.url_to_fs(address)
            facts = files.info(path)
    except ImportError:
        raise SettingsError(
            "s3 addresses need the far extra: run pip install 'hallo-cli[far]', or download the file first."
        ) from None
    now = str(facts.get("ETag") or "")
    if (facts.get("size") or 0) > MAX_BYTES:
        raise _Refused(f"it has more than {MAX_BYTES / (1 << 30):g} GiB")
    if now and now == stamp:
        yield _Answer(None, stamp)
        return
    with _reporting():
        content = files.open(path, "rb")
    with content:
        yield _Answer(_Guarded(content), now)


class _Guarded:
    """A store's file, whose reading raises only `_Refused`."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def read(self, size: int) -> bytes:
        """The next bytes."""
        with _reporting():
            return bytes(self._content.read(size))


@contextlib.contextmanager
def _reporting() -> Iterator[None]:
    """Raise `_Refused` for whatever a store's client raises: each has exceptions of its own."""
    try:
        yield
    except ImportError:
        raise
    except Exception as error:  # noqa: BLE001 - of any package
        raise _Refused(_reason_of(error)) from None


def _suffix_of(address: str) -> str:
    suffix = Path(urlsplit(address).path).suffix
    return suffix.lower() if SUFFIX.fullmatch(suffix) else ""


def _reason_of(error: BaseException) -> str:
    cause = getattr(error, "reason", None)  # of URLError
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, PermissionError):
        return "access is denied"
    return printable(reason_of(cause if isinstance(cause, BaseException) else error))
