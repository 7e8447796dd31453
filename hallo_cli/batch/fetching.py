"""Fetches the rows' inputs that lie on a web server or in an object store, some at a time.

Workers on other machines fetch what they lack once more.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from hallo_cli.batch.columns import FILE_SETTINGS
from hallo_cli.batch.findings import WORDS
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.rows import Row
from hallo_cli.batch.task import Task
from hallo_cli.errors import InputError, PortraitError, SpeechError
from hallo_cli.jobs.plan import Voice
from hallo_cli.media.far import near_path

AT_ONCE = 8
_POLL_S = 0.3


def fetch_inputs(queue: Queue) -> Iterator[int]:
    """Fetch each address of the new rows once and give the rows the copies.

    A row whose input cannot be fetched is refused. Yields how many files are there so far, also while it
    waits. Raises SettingsError if a package is missing, OutputError if the cache cannot be written.
    """
    wanted = dict.fromkeys(item for row in queue.rows("new") for item in row.far.items())
    pool = ThreadPoolExecutor(AT_ONCE, "fetch")
    try:
        copies = {item: pool.submit(_fetch, *item) for item in wanted}
        left: Collection[Future[Path]] = copies.values()
        while left:
            done, left = wait(copies.values(), _POLL_S)
            for copy in done:
                if not isinstance(copy.exception(), InputError | None):
                    copy.result()  # no other file can be fetched, either
            yield len(done)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    for row in queue.rows("new"):
        if row.far:
            try:
                queue.place(_near_row(row, {item: copies[item].result() for item in row.far.items()}))
            except InputError as error:
                queue.refuse(row.number, type(error).__name__, str(error))


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


def _near_row(row: Row, copies: Mapping[tuple[str, str], Path]) -> Row:
    near = {**row.inputs, **{column: copy for (column, _), copy in copies.items()}}
    settings = {**row.settings, **{name: str(near.pop(name)) for name in FILE_SETTINGS if name in near}}
    portrait, audio = near.pop("portrait"), near.pop("audio", row.audio)
    return dataclasses.replace(row, portrait=portrait, audio=audio, voices=near, settings=settings)
