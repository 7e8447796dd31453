"""Processes forked from one that has imported everything: they start at once, and die as any other."""

import multiprocessing
import os
import resource
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

import pytest

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["warm_doubles"])


def start_server() -> None:
    """Begin the process that others are forked from; it is told where to import from by its environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
        forkserver.ensure_running()


class Command:
    """A command in a forked process, with pipes for what it prints."""

    def __init__(
        self,
        main: Callable[[], int],
        arguments: list[str],
        *,
        limit_bytes: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        start_server()
        with ExitStack() as ours:
            (printed, out), (said, err) = FORKED.Pipe(duplex=False), FORKED.Pipe(duplex=False)
            for end in (printed, out, said, err):
                ours.enter_context(end)
            variables = {**os.environ, **(environment or {})}
            self._process = FORKED.Process(
                target=_run, args=(main, arguments, variables, limit_bytes, out, err)
            )
            self._process.start()
            self.stdout: IO[str] = os.fdopen(os.dup(printed.fileno()), encoding="utf-8")
            self._stderr: IO[str] = os.fdopen(os.dup(said.fileno()), encoding="utf-8")
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def finish(self) -> tuple[int, str]:
        """Wait for its end, or kill it after five minutes; its status and its standard error."""
        hanging = threading.Timer(300, self.kill)
        hanging.start()
        with self.stdout, self._stderr:
            self.stdout.read()
            said = self._stderr.read()
        hanging.cancel()
        self._process.join(60)
        assert self._process.exitcode is not None
        return self._process.exitcode, said


def _run(
    main: Callable[[], int],
    arguments: list[str],
    variables: dict[str, str],
    limit_bytes: int,
    out: Connection,
    err: Connection,
) -> None:
    os.environ.clear()
    os.environ.update(variables)
    for pipe, number in ((out, 1), (err, 2)):
        os.dup2(pipe.fileno(), number)
        pipe.close()
    if limit_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    sys.argv = ["", *arguments]
    sys.exit(main())
