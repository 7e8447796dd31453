"""Looks at each picture and recording of a batch once, in parallel processes, before anything is rendered.

If a file crashes or blocks the process that checks it, that is the finding about the file.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import json
import math
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from multiprocessing.connection import Connection, wait
from pathlib import Path

from hallo_cli.batch.engines import Engines, MakeEngine
from hallo_cli.batch.failure import attempt
from hallo_cli.batch.findings import FACES, WORDS, Checks, Finding, Request, find_content
from hallo_cli.batch.processes import Process
from hallo_cli.jobs.look_limit import look_limit_s, too_slow
from hallo_cli.jobs.plan import Voice
from hallo_cli.media.files import shown
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.settings.values import build
from hallo_cli.store.locks import locked

_POLL_S = 0.3
_WORTH_A_PROCESS = 12  # files; starting a process takes as long as looking at some


@dataclass
class Looker:
    """Checks files one by one, with one engine for each bundle."""

    make_engine: MakeEngine
    runtime: RuntimeSettings
    database: Path  # of the findings so far

    @cached_property
    def engines(self) -> Engines:
        """The engines; they have no limit of their own."""
        return Engines(self.make_engine, dataclasses.replace(self.runtime, look_limit_s=None))

    @property
    def limit_s(self) -> float | None:
        """As `look_limit_s` has it; None: no limit."""
        return self.runtime.look_limit_s

    def look_at(self, request: Request) -> Finding:
        """The finding about one file, including its faults."""
        found = attempt(str(request.path), partial(self._look_at, request))
        if isinstance(found, Finding):
            return found
        is_named = found.is_final or str(request.path) in found.message
        message = found.message if is_named else f"{request.path}: {found.message}"
        return Finding(error=found.kind, message=message)

    def _look_at(self, request: Request) -> Finding:
        from hallo_cli.store.digests import file_digest

        digest = file_digest(request.path)
        return find_content(self.database, request, digest) or self._examine(request, digest)

    def _examine(self, request: Request, digest: str) -> Finding:
        from hallo_cli.analysis.hearing import listen_to
        from hallo_cli.jobs.group import speaking
        from hallo_cli.jobs.inputs import stretch_of

        values = json.loads(request.settings)
        faces = values.pop(FACES, ())
        settings = build(RenderSettings, values, where="row")
        if request.kind == "audio":
            stretch, notes = stretch_of(request.path, settings)
            heard = listen_to(request.path, stretch, notes)
            return Finding(digest, heard.n_samples, notes=heard.warnings())
        engine = speaking(self.engines[settings.bundle], [Voice(face, request.path) for face in faces])
        portrait = engine.portrait(request.path, settings)
        shown = engine.compositor(request.path, portrait, settings)
        notes = (*portrait.notes, *shown.warnings)
        return Finding(digest, width=shown.size[0], height=shown.size[1], notes=notes)


def look_at_all(
    checks: Checks, make_engine: MakeEngine, runtime: RuntimeSettings, *, processes: int
) -> Iterator[Finding | None]:
    """Look at every wanted file in parallel and keep the findings; with 0 processes, in this one.

    Yields None now and then while it waits, so that the caller can stop it.
    """
    looker = Looker(make_engine, runtime, checks.path)
    try:
        if processes:
            enough = max(1, math.ceil(checks.count_wanted() / _WORTH_A_PROCESS))
            yield from _look_in_processes(checks, looker, min(processes, enough))
        else:
            for wanted in checks.wanted():
                found = looker.look_at(wanted)
                checks.keep(wanted, found)
                yield found
    finally:  # an interrupted check resumes here
        checks.commit()


def _look_in_processes(checks: Checks, looker: Looker, processes: int) -> Iterator[Finding | None]:
    suspects: list[Request] = []  # a process may have died for lack of memory: they are looked at alone
    for look in _looks(checks.wanted(), looker, processes):
        if look is None:
            yield None
        elif look.finding is None:
            suspects.append(look.request)
        else:
            checks.keep(look.request, look.finding)
            yield look.finding
    for look in _looks(iter(suspects), looker, 1):
        if look is None:
            yield None
            continue
        finding = look.finding or _end_of(look.request, looker.limit_s, look.lasted_s)
        checks.keep(look.request, finding)
        yield finding


@dataclass
class _Look:
    """A process looks at a file."""

    request: Request
    process: Process
    began: float = field(default_factory=time.monotonic)
    lasted_s: float = 0.0
    finding: Finding | None = None  # None: the process died


def _looks(requests: Iterator[Request], looker: Looker, processes: int) -> Iterator[_Look | None]:
    """The looks as they end, several at a time; None where nothing has come for a while."""
    idle: list[Process] = []
    looks: dict[object, _Look] = {}  # by their connections
    try:
        while True:
            while len(looks) < processes and (request := next(requests, None)):
                process = idle.pop() if idle else Process("check", _serve_looks, looker)
                process.send(request)
                looks[process.connection] = _Look(request, process)
            if not looks:
                return
            ready = wait([look.process.connection for look in looks.values()], _POLL_S)
            if not ready:
                yield None
            for connection in ready:
                look = looks.pop(connection)
                look.lasted_s = time.monotonic() - look.began
                found = look.process.receive()
                if isinstance(found, Finding):
                    look.finding = found
                    idle.append(look.process)
                else:
                    look.process.kill()
                yield look
    finally:  # a caller that leaves does not wait for the looks
        for process in (*idle, *(look.process for look in looks.values())):
            process.kill()


def _end_of(request: Request, least_s: float | None, lasted_s: float) -> Finding:
    """The finding about a file whose process died while it checked it."""
    word = WORDS[request.kind]
    limit_s = math.inf if least_s is None else look_limit_s(request.path, least_s)
    crashed = f"the {word} {shown(request.path)} crashes its decoder; convert it or leave it out."
    message = too_slow(request.path, word, limit_s) if lasted_s >= limit_s else crashed
    return Finding(error="InputError", message=message)


def _serve_looks(connection: Connection, looker: Looker) -> None:
    """The body of a process: looks at one file after the other."""
    from hallo_cli.media.image import take_turns

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _silence()
    turns = looker.database.with_name("large-pictures.lock")
    take_turns(partial(locked, turns, what="a large picture", patience_s=math.inf))
    while True:
        connection.send(_look(looker, connection.recv()))


def _end_with_parent() -> None:
    """End this process when the batch that started it was killed."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _look(looker: Looker, request: Request) -> Finding:
    """Check a file; end this process if that takes too long, since native decoders cannot be stopped."""
    if looker.limit_s is not None:
        faulthandler.dump_traceback_later(look_limit_s(request.path, looker.limit_s), exit=True)
    try:
        return looker.look_at(request)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _silence() -> None:
    """Silence the messages of native decoders about broken files; people get the finding instead."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)
