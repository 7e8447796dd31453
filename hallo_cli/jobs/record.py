"""Writes the results of a job: the video and, beside it, OUT.json, the record of how it was made.

The record is written before the video appears and contains the video's digest, which links the two. The
record serves to repeat a render and to recognise a finished job.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallo_cli import __version__
from hallo_cli.errors import InputError, SettingsError
from hallo_cli.jobs.containers import mark_path
from hallo_cli.jobs.inputs import Inputs, SettledJob, changed_file, inspect_inputs
from hallo_cli.jobs.plan import Job, JobPlan, Voice
from hallo_cli.media.files import require_file, shown
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.settings.values import build, to_values
from hallo_cli.store.digests import file_digest
from hallo_cli.store.reading import read_small
from hallo_cli.store.writing import rename, write_whole

if TYPE_CHECKING:
    from hallo_cli.domain import CropBox
    from hallo_cli.media.joining import FinishedVideo

SIDECAR_FORMAT = 1
MAX_TRIES = 100  # other seeds that a batch tries


@dataclass(frozen=True)
class JobResult:
    """A finished job."""

    output: Path
    sidecar: Path
    n_frames: int
    fps: float
    sha256: str  # of the video file
    seconds: float  # this run took
    timings_s: Mapping[str, float]  # by stage, of the run that rendered
    was_done: bool = False  # an earlier run had finished it
    n_taken: int = 0  # frames copied from an earlier render
    kept: Path | None = None  # the work folder, if it was kept


@dataclass(frozen=True)
class Record:
    """The contents of a record that are needed to repeat its render."""

    job: Job
    inputs: Inputs
    sha256: str  # of the video file
    timings_s: Mapping[str, float]  # by stage


def sidecar_path(output: Path) -> Path:
    """OUT.json of OUT.mp4."""
    return output.with_suffix(".json")


def find_finished(job: SettledJob) -> JobResult | None:
    """The result of an earlier run of exactly this job, if it still exists unchanged."""
    path = sidecar_path(job.output)
    try:
        values = _read_values(path)
        made = values["output"]
        if values["fingerprint"] != job.inputs.fingerprint or made["sha256"] != file_digest(job.output):
            return None
        n_frames, fps, timings_s = int(made["n_frames"]), float(made["fps"]), _timings_of(values)
    except (InputError, OSError, KeyError, TypeError, ValueError):
        return None
    return JobResult(job.output, path, n_frames, fps, made["sha256"], 0.0, timings_s, was_done=True)


def is_other_try(job: SettledJob) -> bool:
    """Whether the output was made by this job with one of the next seeds.

    A batch that was killed before it measured the video of another seed leaves such an output.
    """
    try:
        made = read_record(sidecar_path(job.output))
    except (InputError, SettingsError):
        return False
    same_files = (made.inputs.portrait, made.inputs.audio) == (job.inputs.portrait, job.inputs.audio)
    same_weights = made.inputs.weights_id == job.inputs.weights_id
    same_settings = dataclasses.replace(made.job.settings, seed=job.settings.seed) == job.settings
    tries = made.job.settings.seed - job.settings.seed
    return same_files and same_weights and same_settings and 0 < tries <= MAX_TRIES


def _put_mark(output: Path, mark: bytes) -> None:
    """Put a video's mark beside it, and remove the one of a video that was there before."""
    if beside := mark_path(output):
        if mark:
            write_whole(beside, mark)
        else:
            beside.unlink(missing_ok=True)


def publish(
    job: SettledJob,
    video: FinishedVideo,
    plan: JobPlan,
    made_with: Mapping[str, str],
    timings_s: Mapping[str, float],
    *,
    square: CropBox | None,
) -> JobResult:
    """Write the record and give the finished video its name. Raises OutputError.

    square: the square of the portrait's file that the video shows, or None.
    """
    digest, inputs = file_digest(video.file), job.inputs
    sidecar = sidecar_path(job.output)
    output = {
        "path": str(job.output.absolute()),
        "sha256": digest,
        "n_frames": plan.n_frames,
        "fps": plan.fps,
        "clip_frames": plan.clip_frames,
        "segment_starts": [segment.start for segment in plan.segments],
        "square": None if square is None else [square.left, square.top, square.side],
        "signed_by": video.signed_by or None,
        "sound": {"mode": video.sound, "codec": video.info.audio.codec if video.info.audio else None},
    }
    values = {
        "format": SIDECAR_FORMAT,
        "hallo": __version__,
        "fingerprint": inputs.fingerprint,
        "portrait": {"path": str(job.portrait.absolute()), "sha256": inputs.portrait},
        "audio": {"path": str(job.audio.absolute()), "sha256": inputs.audio},
        "weights": {"id": inputs.weights_id, **made_with},
        "settings": to_values(job.settings),
        "output": output,
        **({"voices": _voices(job)} if job.voices else {}),
        **({"corrects": {"fingerprint": job.corrects, "n_taken": plan.n_taken}} if job.corrects else {}),
        "timings_s": {stage: round(seconds, 3) for stage, seconds in timings_s.items()},
        "machine": {"python": platform.python_version(), "system": platform.platform()},
    }
    write_whole(sidecar, (json.dumps(values, indent=1) + "\n").encode())
    _put_mark(job.output, video.mark)
    rename(video.file, job.output)
    return JobResult(
        job.output,
        sidecar,
        plan.n_frames,
        plan.fps,
        digest,
        timings_s.get("total", 0.0),
        timings_s,
        n_taken=plan.n_taken,
    )


def read_record(sidecar: Path) -> Record:
    """The job that a sidecar describes. Raises InputError if the file is not a record."""
    values = _read_values(sidecar)
    try:
        voices = values.get("voices", ())
        portrait, audio, output = (values[key] for key in ("portrait", "audio", "output"))
        job = Job(
            Path(str(portrait["path"])),
            Path(str(audio["path"])),
            Path(str(output["path"])),
            build(RenderSettings, values["settings"], where=str(sidecar)),
            corrects=str(values.get("corrects", {}).get("fingerprint", "")),
            voices=tuple(Voice(int(voice["face"]), Path(str(voice["path"]))) for voice in voices),
        )
        inputs = Inputs(
            str(portrait["sha256"]),
            str(audio["sha256"]),
            str(values["weights"]["id"]),
            fingerprint=str(values["fingerprint"]),
            pictures="",
            voices=tuple(str(voice["sha256"]) for voice in voices),
        )
        return Record(job, inputs, str(output["sha256"]), _timings_of(values))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{shown(sidecar)} is not a record of a render: {error} is missing.") from error


def _timings_of(values: Mapping[str, Any]) -> dict[str, float]:
    """The seconds of each stage; empty if a record does not tell them, which no result depends on."""
    timings_s = values.get("timings_s")
    if not isinstance(timings_s, dict):
        return {}
    return {stage: float(took) for stage, took in timings_s.items() if isinstance(took, int | float)}


def is_record(sidecar: Path) -> bool:
    """Whether a file is the record of a render, as far as its beginning tells."""
    try:
        return bool(_read_values(sidecar))
    except InputError:
        return False


def require_same_inputs(record: Record, job: Job) -> None:
    """Raise InputError if a repeated render's inputs are no longer those of the record.

    A job that corrects the record has another recording.
    """
    before, now = record.inputs, inspect_inputs(job, record.inputs.weights_id)
    if job.corrects == before.fingerprint:
        now = dataclasses.replace(now, audio=before.audio)
    if changed := changed_file(job, now, before):
        raise InputError(f"{changed} has changed. Restore it, or render again without --from.")


def _voices(job: SettledJob) -> list[dict[str, object]]:
    return [
        {"face": voice.face, "path": str(voice.audio.absolute()), "sha256": digest}
        for voice, digest in zip(job.voices, job.inputs.voices, strict=True)
    ]


def _read_values(sidecar: Path) -> dict[str, Any]:
    file = require_file(sidecar, InputError, "record")
    try:
        values = json.loads(read_small(file))
        if not isinstance(values, dict) or values.get("format") != SIDECAR_FORMAT:
            raise ValueError(f"its format is not {SIDECAR_FORMAT}")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{shown(sidecar)} is not a record of a render ({error}).") from error
    return values
