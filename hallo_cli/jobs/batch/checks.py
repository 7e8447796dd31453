"""Looks at each picture and recording of a batch once, in parallel processes, before anything is rendered.

Findings are kept beside the ledger under what was looked at (place, size, time of change, settings), so that
the next run looks only at what is new. A file that kills the process which looks at it is itself the finding.
"""

import hashlib
import json
import logging
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from hallo_cli import __version__
from hallo_cli.errors import InputError, OutputError
from hallo_cli.jobs.batch.failure import attempt
from hallo_cli.jobs.engine import Engine
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings, build

MakeEngine = Callable[[str, RuntimeSettings], Engine]  # bundle, how to run it
_PORTRAIT_KEYS = ("bundle", "framing", "face_index", "face_expand_ratio", "size")
_AUDIO_KEYS = ("start", "duration")
_LASTING = ("", "InputError", "PortraitError", "SpeechError")  # what the file itself is the reason of
_AHEAD = 4  # requests in flight for each process
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One file to look at."""

    key: str
    kind: str  # portrait or audio
    path: Path
    settings: str  # JSON of the settings


@dataclass(frozen=True)
class Finding:
    """What was found out about one file."""

    digest: str = ""  # SHA-256 of its bytes
    n_samples: int = 0  # of a recording, at 16 kHz
    error: str = ""  # kind of the error; empty: it can be used
    message: str = ""


class Checks:
    """The findings so far, kept in a small database."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        try:
            self._db = self._open()
        except sqlite3.OperationalError as error:
            raise self._unwritable(error) from error
        except sqlite3.DatabaseError:
            _log.warning("%s is damaged and is made anew", self._path)
            self._path.unlink()
            self._db = self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        if isinstance(error, sqlite3.OperationalError):
            raise self._unwritable(error) from error

    def find(self, key: str) -> Finding | None:
        """The finding under a key."""
        query = "SELECT digest, n_samples, error, message FROM findings WHERE key=?"
        row = self._db.execute(query, (key,)).fetchone()
        return Finding(*row) if row else None

    def keep(self, key: str, finding: Finding) -> None:
        """Keep a finding; it is on disk after `commit`."""
        values = (key, finding.digest, finding.n_samples, finding.error, finding.message)
        self._db.execute("INSERT OR REPLACE INTO findings VALUES(?,?,?,?,?)", values)

    def want(self, request: Request) -> None:
        """Note a file to look at, once."""
        values = (request.key, request.kind, str(request.path), request.settings)
        self._db.execute("INSERT OR IGNORE INTO wanted VALUES(?,?,?,?)", values)

    def wanted(self) -> Iterator[Request]:
        """The files to look at that are not found yet."""
        query = (
            "SELECT w.key, kind, path, settings FROM wanted w LEFT JOIN findings f ON w.key=f.key "
            "WHERE f.key IS NULL AND w.key>? ORDER BY w.key LIMIT 100"
        )
        last = ""
        while block := self._db.execute(query, (last,)).fetchall():
            for key, kind, path, settings in block:
                yield Request(key, kind, Path(path), settings)
            last = block[-1][0]

    def commit(self) -> None:
        """Put the findings on disk."""
        self._db.commit()

    def _unwritable(self, error: sqlite3.OperationalError) -> OutputError:
        return OutputError(f"{self._path} cannot be written: {error}. Free some space, then run again.")

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(self._path)
        db.execute(
            "CREATE TABLE IF NOT EXISTS findings"
            "(key TEXT PRIMARY KEY, digest TEXT, n_samples INTEGER, error TEXT, message TEXT)"
        )
        db.execute("CREATE TEMP TABLE wanted(key TEXT PRIMARY KEY, kind TEXT, path TEXT, settings TEXT)")
        db.execute(f"DELETE FROM findings WHERE error NOT IN {_LASTING}")  # noqa: S608
        return db


def request_for(kind: str, path: Path, settings: dict[str, object]) -> Request:
    """What to look at, under a key that changes with the file and with what matters of the settings.

    Raises InputError where there is no such file.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name is impossible"
        what = "recording" if kind == "audio" else "portrait"
        raise InputError(f"{what} {path} cannot be read: {reason}.") from error
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    wanted = {name: settings[name] for name in (_AUDIO_KEYS if kind == "audio" else _PORTRAIT_KEYS)}
    parts = json.dumps([__version__, kind, str(path), stamp, wanted], sort_keys=True)
    return Request(hashlib.sha256(parts.encode()).hexdigest(), kind, path, json.dumps(settings))


def look_at_all(
    checks: Checks, make_engine: MakeEngine, runtime: RuntimeSettings, *, processes: int
) -> Iterator[Finding]:
    """Look at every wanted file in parallel and keep the findings; with 0 processes, in this one."""
    if not processes:
        _engines.clear()
        _set_engine(make_engine, runtime)
        for wanted in checks.wanted():
            found = look_at(wanted)
            checks.keep(wanted.key, found)
            yield found
        checks.commit()
        return
    suspects: list[Request] = []
    requests = checks.wanted()  # a new pool goes on where the broken one stopped
    while True:
        with _Pool(make_engine, runtime, processes) as pool:
            for request, finding in pool.run(requests):
                if finding is None:
                    suspects.append(request)
                else:
                    checks.keep(request.key, finding)
                    yield finding
        if not pool.is_broken:
            break
    checks.commit()
    yield from _look_alone(checks, suspects, make_engine, runtime)
    checks.commit()


def _look_alone(
    checks: Checks, suspects: Iterable[Request], make_engine: MakeEngine, runtime: RuntimeSettings
) -> Iterator[Finding]:
    """Give each file that was with a process when it died a process of its own."""
    for suspect in suspects:
        with _Pool(make_engine, runtime, 1) as pool:
            for request, found in pool.run(iter([suspect])):
                what = "recording" if request.kind == "audio" else "portrait"
                crash = Finding(
                    error="InputError",
                    message=f"the {what} {request.path} crashes its decoder; convert it or leave it out.",
                )
                checks.keep(request.key, found or crash)
                yield found or crash


class _Pool:
    """Processes that look at files; a bounded number of requests is in flight."""

    def __init__(self, make_engine: MakeEngine, runtime: RuntimeSettings, processes: int) -> None:
        self.is_broken = False
        self._limit = processes * _AHEAD
        self._executor = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(make_engine, runtime),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def run(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Finding | None]]:
        """The findings as they come; None for what was in flight when a process died, then it ends."""
        flying: dict[Future[Finding], Request] = {}
        while True:
            while not self.is_broken and len(flying) < self._limit and (request := next(requests, None)):
                try:
                    flying[self._executor.submit(look_at, request)] = request
                except BrokenProcessPool:
                    self.is_broken = True
                    yield request, None
            if not flying:
                return
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                request = flying.pop(future)
                try:
                    yield request, future.result()
                except BrokenProcessPool:
                    self.is_broken = True
                    yield request, None


_engines: dict[str, Engine] = {}
_make: Callable[[str], Engine]


def _begin(make_engine: MakeEngine, runtime: RuntimeSettings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _silence()
    _set_engine(make_engine, runtime)


def _set_engine(make_engine: MakeEngine, runtime: RuntimeSettings) -> None:
    global _make  # noqa: PLW0603 - a process of the pool has no other place for what it was started with

    def make(bundle: str) -> Engine:
        return make_engine(bundle, runtime)

    _make = make


def _silence() -> None:
    """Native decoders print what they think of broken files; people get the finding instead."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


def look_at(request: Request) -> Finding:
    """Look at one file; runs in a process of the pool."""
    found = attempt(str(request.path), partial(_look_at, request))
    if isinstance(found, Finding):
        return found
    is_named = found.is_final or str(request.path) in found.message
    message = found.message if is_named else f"{request.path}: {found.message}"
    return Finding(error=found.kind, message=message)


def _look_at(request: Request) -> Finding:
    from hallo_cli.digest import file_digest

    settings = build(RenderSettings, json.loads(request.settings), where="row")
    digest = file_digest(request.path)
    if request.kind == "audio":
        return Finding(digest, _listen(request.path, settings))
    engine = _engines.get(settings.bundle) or _engines.setdefault(settings.bundle, _make(settings.bundle))
    engine.portrait(request.path, settings)
    return Finding(digest)


def _listen(path: Path, settings: RenderSettings) -> int:
    from hallo_cli.media.audio import read_blocks

    return sum(
        len(block) for block in read_blocks(path, start_s=settings.start_s, duration_s=settings.duration_s)
    )
