"""Fetches a portrait or a recording from a web server or an object store into the cache.

A file is fetched once: later, only whether it has changed is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from hallo_cli import __version__
from hallo_cli.errors import InputError
from hallo_cli.media.addresses import WEB, is_address, require_fetchable, scheme_of, shown_address
from hallo_cli.media.kept_sounds import CHUNK, MAX_BYTES, keep, kept_path
from hallo_cli.media.slow_disks import require_answer
from hallo_cli.media.stores import LONGEST_S, SILENCE_S, Refused, reporting, store_of
from hallo_cli.store.cache import at_home
from hallo_cli.store.writing import write_whole

SUFFIX = re.compile(r"\.[a-z0-9]{1,5}", re.I)


# The content, None if the copy that is kept is still the same; and a stamp that is equal if and only if the
# content is, empty if the server tells none.
_Opened = tuple[IO[bytes] | None, str]


def near_path(given: str | os.PathLike[str], error: type[InputError], what: str) -> Path:
    """The path of a file, or of the fetched copy of what an address names.

    Raises `error` if it cannot be fetched or its disk does not answer, SettingsError if a package or the
    cache is missing, OutputError.
    """
    typed = os.fspath(given)
    if not is_address(typed):
        require_answer(at_home(Path(typed)), error, what)
        return Path(typed)
    require_fetchable(typed, error, what)
    try:
        with reporting(scheme_of(typed)):
            return _fetched(typed)
    except Refused as reason:
        raise error(
            f"the {what} {shown_address(typed)} cannot be fetched: {reason}. Check the address, or download "
            "the file first."
        ) from None  # the cause may show the query


def _fetched(address: str) -> Path:
    note = kept_path("far", f"{hashlib.sha256(address.encode()).hexdigest()[:40]}.json")
    stamp, kept = _read(note)
    opened = _open_web if scheme_of(address) in WEB else _open_store
    with opened(address, stamp) as (content, new_stamp):
        if content is None and kept is not None:
            return kept
        if content is None:
            raise Refused("the server sent nothing")
        file = keep(_blocks(content, scheme_of(address)), "far", _suffix_of(address))
    write_whole(note, json.dumps({"stamp": new_stamp, "file": file.name}).encode())
    return file


def _read(note: Path) -> tuple[str, Path | None]:
    """The stamp and the copy of an earlier fetch; empty and None if there is no copy."""
    try:
        values = json.loads(note.read_bytes())
        file = note.parent / Path(str(values["file"])).name
        return (str(values["stamp"]), file) if file.is_file() else ("", None)
    except (OSError, ValueError, KeyError, TypeError):
        return "", None


def _blocks(content: IO[bytes], scheme: str) -> Iterator[bytes]:
    n_bytes, deadline = 0, time.monotonic() + LONGEST_S
    while block := _next_block(content, scheme):
        n_bytes += len(block)
        _require_bounded(n_bytes)
        if time.monotonic() > deadline:
            raise Refused(f"it took more than {LONGEST_S / 60:g} minutes")
        yield block
    if not n_bytes:
        raise Refused("it is empty")
    if n_missing := getattr(content, "length", None):  # of a web server's answer
        raise Refused(f"the connection broke after {n_bytes} of {n_bytes + n_missing} bytes")


def _next_block(content: IO[bytes], scheme: str) -> bytes:
    with reporting(scheme):  # whoever writes the blocks would take the errors for those of the disk
        return content.read(CHUNK)


def _require_bounded(n_bytes: int) -> None:
    if n_bytes > MAX_BYTES:
        raise Refused(f"it has more than {MAX_BYTES / (1 << 30):g} GiB")


@contextlib.contextmanager
def _open_web(address: str, stamp: str) -> Iterator[_Opened]:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    wanted = Request(address, headers={"User-Agent": f"hallo/{__version__}"})  # noqa: S310 - http only
    if stamp:
        wanted.add_header("If-None-Match", stamp)
    try:
        with urlopen(wanted, timeout=SILENCE_S) as content:  # noqa: S310
            yield content, content.headers.get("ETag") or ""
    except HTTPError as answer:
        answer.close()
        if answer.code != 304:
            raise Refused(f"the server answers {answer.code} {answer.reason}") from None
        yield None, stamp


@contextlib.contextmanager
def _open_store(address: str, stamp: str) -> Iterator[_Opened]:
    files, path = store_of(address)
    facts = files.info(path)
    _require_bounded(facts.get("size") or 0)
    now = str(facts.get("ETag") or facts.get("etag") or "")
    if now and now == stamp:
        yield None, stamp
        return
    with files.open(path, "rb") as content:
        yield content, now


def _suffix_of(address: str) -> str:
    suffix = Path(urlsplit(address).path).suffix
    return suffix.lower() if SUFFIX.fullmatch(suffix) else ""
