"""Fetches a portrait or a recording from a web server or an object store into the cache.

A file is fetched once: later, only whether it has changed is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from hallo_cli import __version__
from hallo_cli.errors import InputError
from hallo_cli.media.addresses import WEB, is_address, require_fetchable, scheme_of, shown_address
from hallo_cli.media.files import local_path
from hallo_cli.media.kept_sounds import kept_path
from hallo_cli.media.slow_disks import require_answer
from hallo_cli.media.stores import Refused, refusal_of, reporting, store_of
from hallo_cli.store.cache import at_home
from hallo_cli.store.opening import sweep_parts
from hallo_cli.store.writing import rename, replacing, write_whole

MAX_BYTES = 4 << 30
SILENCE_S = 30.0  # until a server that says nothing is given up
LONGEST_S = 1800.0  # that a file may take
CHUNK = 1 << 20
SUFFIX = re.compile(r"\.[a-z0-9]{1,5}", re.I)


def near_path(given: str | os.PathLike[str], error: type[InputError], what: str) -> Path:
    """The path of a file, or of the fetched copy of what an address names.

    Raises `error` if it cannot be fetched or its disk does not answer, SettingsError if a package or the
    cache is missing, OutputError.
    """
    typed = os.fspath(given)
    if not is_address(typed):
        file = local_path(given, error, what)
        require_answer(at_home(file), error, what)
        return file
    from http.client import HTTPException

    require_fetchable(typed, error, what)
    try:
        return _fetched(typed, _open_web if scheme_of(typed) in WEB else _open_store)
    except (OSError, HTTPException, ValueError, Refused) as reason:
        raise error(
            f"the {what} {shown_address(typed)} cannot be fetched: {refusal_of(reason)}. Check the "
            "address, or download the file first."
        ) from None  # the cause may show the query


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
            raise Refused("the server sent nothing")
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
    made = folder / f"fetch-{os.getpid()}-{threading.get_ident()}"
    digest, n_bytes, deadline = hashlib.sha256(), 0, time.monotonic() + LONGEST_S
    with replacing(made) as file:
        while block := content.read(CHUNK):
            n_bytes += len(block)
            if n_bytes > MAX_BYTES:
                raise Refused(f"it has more than {MAX_BYTES / (1 << 30):g} GiB")
            if time.monotonic() > deadline:
                raise Refused(f"it took more than {LONGEST_S / 60:g} minutes")
            digest.update(block)
            file.write(block)
        if not n_bytes:
            raise Refused("it is empty")
        _require_whole(content, n_bytes)
    target = folder / f"{digest.hexdigest()[:40]}{suffix}"
    rename(made, target)
    return target


def _require_whole(content: _Content, n_bytes: int) -> None:
    headers = getattr(content, "headers", None)
    length = headers.get("Content-Length") if headers is not None else None
    if length is not None and length.isdecimal() and int(length) != n_bytes:
        raise Refused(f"the connection broke after {n_bytes} of {length} bytes")


@contextlib.contextmanager
def _open_web(address: str, stamp: str) -> Iterator[_Answer]:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    wanted = Request(address, headers={"User-Agent": f"hallo/{__version__}"})  # noqa: S310 - http only
    if stamp:
        wanted.add_header("If-None-Match", stamp)
    try:
        with urlopen(wanted, timeout=SILENCE_S) as content:  # noqa: S310
            yield _Answer(content, content.headers.get("ETag") or "")
    except HTTPError as answer:
        answer.close()
        if answer.code != 304:
            raise Refused(f"the server answers {answer.code} {answer.reason}") from None
        yield _Answer(None, stamp)


@contextlib.contextmanager
def _open_store(address: str, stamp: str) -> Iterator[_Answer]:
    with reporting(scheme_of(address)):
        files, path = store_of(address)
        facts = files.info(path)
    now = str(facts.get("ETag") or facts.get("etag") or "")
    if (facts.get("size") or 0) > MAX_BYTES:
        raise Refused(f"it has more than {MAX_BYTES / (1 << 30):g} GiB")
    if now and now == stamp:
        yield _Answer(None, stamp)
        return
    with reporting(scheme_of(address)):
        content = files.open(path, "rb")
    with content:
        yield _Answer(_Guarded(content, scheme_of(address)), now)


class _Guarded:
    """A store's file, whose reading raises only `Refused`."""

    def __init__(self, content: Any, scheme: str) -> None:
        self._content, self._scheme = content, scheme

    def read(self, size: int) -> bytes:
        """The next bytes."""
        with reporting(self._scheme):
            return bytes(self._content.read(size))


def _suffix_of(address: str) -> str:
    suffix = Path(urlsplit(address).path).suffix
    return suffix.lower() if SUFFIX.fullmatch(suffix) else ""
