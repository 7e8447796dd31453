"""What stands in the way of a video's name: a folder, an input, another render's files."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hallo_cli.errors import OutputError, SettingsError
from hallo_cli.jobs.containers import SUFFIXES, fitting_container, mark_path
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.record import is_record, sidecar_path
from hallo_cli.media.files import shown
from hallo_cli.store.writing import reporting_write_errors


def require_writable(job: Job) -> None:
    """Raise SettingsError or OutputError if the video could not be put under its name."""
    output = job.output
    fitting_container(job.settings, output)
    with reporting_write_errors(output):  # even testing the path may be forbidden
        if output.is_dir():
            raise OutputError(f"the output {shown(output)} is a folder; name a file in it.")
        if not output.parent.exists():
            raise OutputError(
                f"the folder {shown(output.parent)} does not exist; make it, or choose another output."
            )
        if not output.parent.is_dir():
            raise OutputError(f"{shown(output.parent)} is not a folder; choose another output.")
    for path in (output, sidecar_path(output)):
        with reporting_write_errors(path), contextlib.suppress(FileNotFoundError):
            path.lstat()  # for example, the name is too long
        if any(_is_same(path, read) for read in _read_by(job)):
            raise SettingsError(f"{shown(path)} is read by this render; choose another output with -o.")
    with reporting_write_errors(output), tempfile.NamedTemporaryFile(dir=output.parent, prefix=".hallo-"):
        pass


def require_free_name(job: Job) -> None:
    """Raise SettingsError if something else has the video's name or the record's.

    A run that was killed between the two writes leaves a record without its video: it may be replaced.
    """
    sidecar = sidecar_path(job.output)
    for other in (job.output.with_suffix(suffix) for suffix in SUFFIXES):
        if other != job.output and _exists(other) and _exists(sidecar):
            raise SettingsError(f"{shown(sidecar)} is the record of {shown(other)}; choose another output.")
    places = [(job.output, _exists(job.output)), (sidecar, _is_strange(sidecar))]
    if mark := mark_path(job.output):
        places.append((mark, _exists(mark) and not _exists(sidecar)))
    for path, is_taken in places:
        if is_taken:
            raise SettingsError(
                f"{shown(path)} exists and is from another render; add --overwrite to replace it, "
                "or choose another output with -o."
            )


def _read_by(job: Job) -> list[Path]:
    return [job.portrait, job.audio, *(voice.audio for voice in job.voices)]


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _is_strange(sidecar: Path) -> bool:
    """Whether a file has the record's name but is not a record."""
    return _exists(sidecar) and not is_record(sidecar)
