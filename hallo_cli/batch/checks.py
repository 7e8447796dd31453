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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.synchronize import Lock
from pathlib import Path
from typing import TYPE_CHECKING, Self

from hallo_cli.batch.failure import attempt
from hallo_cli.batch.findings import FACES, WORDS, Checks, Finding, Request, find_content
from hallo_cli.jobs.engine import Engine
from hallo_cli.jobs.look_limit import look_limit_s, too_slow
from hallo_cli.jobs.plan import Voice
from hallo_cli.media.files import shown
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.settings.values import build

if TYPE_CHECKING:
    from hallo_cli.analysis.hearing import Heard

MakeEngine = Callable[[str, RuntimeSettings], Engine]  # bundle, how to run it
_POLL_S = 0.3
_AHEAD = 4  # requests in flight for each process
_WORTH_A_PROCESS = 12  # files; starting a process takes as long as looking at some


@dataclass
class Looker:
    """Checks files one by one, with one engine for each bundle."""

    make_engine: MakeEngine
    runtime: RuntimeSettings
    database: Path  # of the findings so far
    engines: dict[str, Engine] = field(default_factory=dict)

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
        values = json.loads(request.settings)
        faces = values.pop(FACES, ())
        settings = build(RenderSettings, values, where="row")
        if request.kind == "audio":
            heard = _listen(request.path, settings)
            return Finding(digest, heard.n_samples, notes=heard.warnings())
        if settings.bundle not in self.engines:
            unlimited = dataclasses.replace(self.runtime, look_limit_s=None)  # this process has the limit
            self.engines[settings.bundle] = self.make_engine(settings.bundle, unlimited)
        from hallo_cli.jobs.fitting import canvas_warnings
        from hallo_cli.jobs.group import speaking

        engine = speaking(self.engines[settings.bundle], [Voice(face, request.path) for face in faces])
        portrait = engine.portrait(request.path, settings)
        shown = engine.compositor(request.path, portrait, settings)
        notes = (*portrait.notes, *canvas_warnings(shown))
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
    suspects: list[Request] = []
    requests = checks.wanted()  # a new pool continues after the broken one
    while True:
        with _Pool(looker, processes) as pool:
            for request, finding in pool.run(requests):
                if request is None:
                    yield None
                elif finding is None:
                    suspects.append(request)
                else:
                    checks.keep(request, finding)
                    yield finding
        if not pool.is_broken:
            break
    yield from _look_alone(checks, suspects, looker)


def _look_alone(checks: Checks, suspects: Iterable[Request], looker: Looker) -> Iterator[Finding | None]:
    """Give each file that was with a process when it died a process of its own."""
    for suspect in suspects:
        with _Pool(looker, 1) as pool:
            began = time.monotonic()
            for request, found in pool.run(iter([suspect])):
                if request is None:
                    yield None
                    continue
                finding = found or _end_of(request, looker.limit_s, time.monotonic() - began)
                checks.keep(request, finding)
                yield finding


def _end_of(request: Request, least_s: float | None, lasted_s: float) -> Finding:
    """The finding about a file whose process died while it checked it."""
    word = WORDS[request.kind]
    limit_s = math.inf if least_s is None else look_limit_s(request.path, least_s)
    crashed = f"the {word} {shown(request.path)} crashes its decoder; convert it or leave it out."
    message = too_slow(request.path, word, limit_s) if lasted_s >= limit_s else crashed
    return Finding(error="InputError", message=message)


class _Pool:
    """Processes that check files; a bounded number of requests is in flight."""

    def __init__(self, looker: Looker, processes: int) -> None:
        self.is_broken = False
        self._limit = processes * _AHEAD
        self._executor = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(looker, multiprocessing.get_context("spawn").Lock()),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        looking = [*(self._executor._processes or {}).values()]
        self._executor.shutdown(wait=kind is None, cancel_futures=True)
        for process in looking if kind else ():
            process.kill()  # leaving the program would wait for its look

    def run(self, requests: Iterator[Request]) -> Iterator[tuple[Request | None, Finding | None]]:
        """The findings as they come; None for what was in flight when a process died, then it ends.

        Two None where nothing has come for a while.
        """
        flying: dict[Future[Finding], Request] = {}
        while True:
            while not self.is_broken and len(flying) < self._limit and (request := next(requests, None)):
                try:
                    flying[self._executor.submit(_look, request)] = request
                except BrokenProcessPool:
                    self.is_broken = True
                    yield request, None
            if not flying:
                return
            done = wait(flying, timeout=_POLL_S, return_when=FIRST_COMPLETED).done
            if not done:
                yield None, None
            for future in done:
                request = flying.pop(future)
                try:
                    yield request, future.result()
                except BrokenProcessPool:
                    self.is_broken = True
                    yield request, None


_looker: Looker


def _begin(looker: Looker, large_pictures: Lock) -> None:
    from hallo_cli.media.image import take_turns

    global _looker  # noqa: PLW0603 - a process of the pool has no other place for what it was started with
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _silence()
    take_turns(large_pictures)
    _looker = looker


def _end_with_parent() -> None:
    """End this process when the batch that started it was killed."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _look(request: Request) -> Finding:
    """Check a file; end this process if that takes too long, since native decoders cannot be stopped."""
    if _looker.limit_s is not None:
        faulthandler.dump_traceback_later(look_limit_s(request.path, _looker.limit_s), exit=True)
    try:
        return _looker.look_at(request)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _silence() -> None:
    """Silence the messages of native decoders about broken files; people get the finding instead."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os.close(null)


def _listen(path: Path, settings: RenderSettings) -> Heard:
    from hallo_cli.analysis.hearing import listen_to
    from hallo_cli.jobs.stretch import stretch_of

    stretch, notes = stretch_of(path, settings)
    return listen_to(path, stretch, notes)
