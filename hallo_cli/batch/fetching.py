"""Fetches the rows' inputs that lie on a web server or in an object store, some at a time.

Workers on other machines fetch what they lack once more.
"""

import dataclasses
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from hallo_cli.batch.columns import FILE_SETTINGS
from hallo_cli.batch.findings import WORDS
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.rows import Row
from hallo_cli.batch.task import Task
from hallo_cli.errors import HalloError, InputError, PortraitError, SpeechError
from hallo_cli.jobs.plan import Voice
from hallo_cli.media.far import near_path

AT_ONCE = 8
_POLL_S = 0.3
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
        flying = {pool.submit(_fetch, *item): item for item in wanted}
        while flying:
            done = wait(flying, timeout=_POLL_S, return_when=FIRST_COMPLETED).done
            found |= {flying.pop(future): _result(future) for future in done}
            yield len(found)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    for row in queue.rows("new"):
        if row.far:
            _place(queue, row, found)


def near_task(task: Task) -> Task:
    """The task with files of this machine, where those that were fetched for it are on another one.

    Raises InputError, SettingsError, OutputError.
    """
    files = {"portrait": task.portrait, "audio": task.audio}
    files |= {name: Path(file) for name in FILE_SETTINGS if (file := getattr(task.settings, name))}
    files |= {f"face_{voice.face}": voice.audio for voice in task.voices}
    missing = {column: far for column, far in task.far.items() if not files[column].exists()}
    if not missing:
        return task
    from hallo_cli.media.composing import mixed

    files |= {column: _fetch(column, address) for column, address in missing.items()}
    voices = tuple(Voice(voice.face, files[f"face_{voice.face}"]) for voice in task.voices)
    chosen = {name: str(files[name]) for name in FILE_SETTINGS if name in missing}
    return dataclasses.replace(
        task,
        portrait=files["portrait"],
        audio=mixed([voice.audio for voice in voices]) if voices else files["audio"],
        voices=voices,
        settings=dataclasses.replace(task.settings, **chosen),  # type: ignore[arg-type]
    )


def _fetch(column: str, address: str) -> Path:
    if column in FILE_SETTINGS:
        return near_path(address, InputError, column)
    is_portrait = column == "portrait"
    error = PortraitError if is_portrait else SpeechError
    return near_path(address, error, WORDS["portrait" if is_portrait else "audio"])


def _result(future: Future[Path]) -> Path | HalloError:
    try:
        return future.result()
    except InputError as error:
        return error


def _place(queue: Queue, row: Row, found: _Found) -> None:
    near, settings = row.inputs, dict(row.settings)
    for column, address in row.far.items():
        copy = found[column, address]
        if isinstance(copy, HalloError):
            queue.refuse(row.number, type(copy).__name__, str(copy))
            return
        if column in FILE_SETTINGS:
            settings[column] = str(copy)
        else:
            near[column] = copy
    portrait, audio = near.pop("portrait"), near.pop("audio", row.audio)
    queue.place(dataclasses.replace(row, portrait=portrait, audio=audio, voices=near, settings=settings))
