"""Fetches the rows' inputs that lie on a web server or in an object store, some at a time."""

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from hallo_cli.batch.findings import WORDS
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.rows import Row
from hallo_cli.errors import HalloError, InputError, PortraitError, SpeechError
from hallo_cli.media.far import near_path

AT_ONCE = 8
_POLL_S = 0.3
_ERRORS: dict[str, type[InputError]] = {"portrait": PortraitError, "audio": SpeechError}
_Input = tuple[str, str]  # column, address
_Found = dict[_Input, Path | HalloError]


def fetch_inputs(queue: Queue) -> Iterator[int]:
    """Fetch each address of the new rows once and give the rows the copies.

    A row whose input cannot be fetched is refused. Yields how many files are there so far, also while it
    waits. Raises SettingsError if a package is missing, OutputError if the cache cannot be written.
    """
    wanted = list(dict.fromkeys(item for row in queue.rows("new") for item in row.far.items()))
    found: _Found = {}
    pool = ThreadPoolExecutor(AT_ONCE, "fetch")
    try:
        flying = {pool.submit(near_path, item[1], _ERRORS[item[0]], WORDS[item[0]]): item for item in wanted}
        while flying:
            done = wait(flying, timeout=_POLL_S, return_when=FIRST_COMPLETED).done
            found |= {flying.pop(future): _result(future) for future in done}
            yield len(found)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    for row in queue.rows("new"):
        if row.far:
            _place(queue, row, found)


def _result(future: Future[Path]) -> Path | HalloError:
    try:
        return future.result()
    except InputError as error:
        return error


def _place(queue: Queue, row: Row, found: _Found) -> None:
    near = {column: found[column, address] for column, address in row.far.items()}
    for error in near.values():
        if isinstance(error, HalloError):
            queue.refuse(row.number, type(error).__name__, str(error))
            return
    paths = {"portrait": row.portrait, "audio": row.audio, **near}
    queue.place(row.number, Path(str(paths["portrait"])), Path(str(paths["audio"])))
