"""A job's inputs: the files that it and its settings name, their digests, the names that follow."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.errors import InputError, PortraitError, SettingsError, SpeechError
from hallo_cli.jobs.containers import is_transparent
from hallo_cli.jobs.look_limit import LOOK_S, look_within
from hallo_cli.jobs.plan import Job, fingerprint
from hallo_cli.media.far import near_path
from hallo_cli.media.files import require_file, shown
from hallo_cli.settings.canvas import colour_of
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.cache import at_home
from hallo_cli.store.digests import file_digest

if TYPE_CHECKING:
    from hallo_cli.jobs.engine import Engine
    from hallo_cli.media.sound_track import Stretch


@dataclass(frozen=True)
class Inputs:
    """The digests of a job's inputs, weights and settings."""

    portrait: str  # SHA-256 of the picture file
    audio: str  # SHA-256 of the recording's file
    weights_id: str
    fingerprint: str
    pictures: str  # the same for all sound settings: names the work folder
    voices: tuple[str, ...] = ()  # SHA-256 of the recordings of `Job.voices`


@dataclass(frozen=True)
class SettledJob(Job):
    """A job whose settings leave nothing to choose, with the digests of what it is made from."""

    inputs: Inputs = field(kw_only=True)


def settled(job: Job, engine: Engine) -> SettledJob:
    """The job as this engine renders it.

    Raises SettingsError, WeightsError, and PortraitError or SpeechError if a file cannot be read.
    """
    job = dataclasses.replace(job, settings=engine.resolve_settings(job.settings))
    return SettledJob(**vars(job), inputs=inspect_inputs(job, engine.weights_id))


def inspect_inputs(job: Job, weights_id: str) -> Inputs:
    """Digests of the inputs. Raises PortraitError or SpeechError if a file cannot be read."""
    portrait = _digest(job.portrait, "portrait", PortraitError)
    audio = _digest(job.audio, "recording", SpeechError)
    voices = tuple(_digest(voice.audio, "recording", SpeechError) for voice in job.voices)
    return named(job, Inputs(portrait, audio, weights_id, "", "", voices))


def named(job: Job, files: Inputs) -> Inputs:
    """The digests of the files, with the names that follow from them."""
    voices = (f"{voice.face}={digest}" for voice, digest in zip(job.voices, files.voices, strict=True))
    more = (*filter(None, [job.corrects]), *voices)
    name, pictures = (
        fingerprint(
            portrait=files.portrait,
            audio=files.audio,
            weights_id=files.weights_id,
            settings=values,
            more=more,
        )
        for values in (by_content(job.settings), picture_settings(job.settings))
    )
    return dataclasses.replace(files, fingerprint=name, pictures=pictures)


def picture_settings(settings: RenderSettings) -> RenderSettings:
    """The settings without those that count only when the segments are joined."""
    settings = by_content(settings)
    return dataclasses.replace(settings, audio_codec="auto", loudness=None, subtitles=None, burn=False)


def changed_file(job: Job, now: Inputs, before: Inputs) -> str:
    """The input that is another one than before, for people; empty if there is none."""
    if now.portrait != before.portrait:
        return f"the portrait {shown(job.portrait)}"
    if now.audio != before.audio:
        return f"the recording {shown(job.audio)}"
    return "" if now.voices == before.voices else "a face's recording"


def require_unchanged(job: Job, inputs: Inputs) -> None:
    """Raise InputError if an input is no longer what it was when the job began."""
    now = inspect_inputs(job, inputs.weights_id)
    changed = changed_file(job, now, inputs)
    background, subtitles = job.settings.background, job.settings.subtitles
    if not changed and inputs.pictures not in ("", now.pictures):
        changed = f"the background {shown(Path(background))}"
    if not changed and inputs.fingerprint not in ("", now.fingerprint):
        changed = f"the {'subtitles' if subtitles else 'background'} {shown(Path(subtitles or background))}"
    if changed:
        raise InputError(
            f"{changed} was replaced while it was being used. Run the same command again, "
            "and do not change the file while it runs."
        )


def stretch_of(audio: Path, settings: RenderSettings) -> tuple[Stretch, tuple[str, ...]]:
    """The part of a file's sound that the settings ask for, with warnings. Raises SpeechError."""
    from hallo_cli.analysis.hearing import choose_track
    from hallo_cli.media.sound_track import Stretch

    choice = choose_track(audio, settings.audio_track)
    return Stretch(settings.start_s, settings.duration_s, choice.track), choice.notes


def with_near_files(settings: RenderSettings) -> RenderSettings:
    """The settings with absolute paths of background and subtitles; whether they exist is not checked.

    Raises InputError if an address cannot be fetched, SettingsError if that needs another package.
    """
    background, subtitles = settings.background, settings.subtitles
    if colour_of(background) is None:
        background = _near(background, "background")
    if subtitles is not None:
        subtitles = _near(subtitles, "subtitles")
    return dataclasses.replace(settings, background=background, subtitles=subtitles)


def by_content(settings: RenderSettings) -> RenderSettings:
    """The settings with digests of files instead of their paths, to be hashed.

    Raises SettingsError if the background is neither a colour nor a file, InputError if the subtitles are not
    valid.
    """
    if settings.subtitles is not None:
        words = require_file(Path(settings.subtitles), InputError, "subtitles")
        settings = dataclasses.replace(settings, subtitles=_content(words))
    if is_transparent(settings) or settings.canvas is None or settings.fit != "pad":
        return settings
    if colour_of(settings.background):
        return settings
    return dataclasses.replace(settings, background=_content(picture_file(settings.background)))


def picture_file(text: str) -> Path:
    """The picture that a background names. Raises SettingsError if there is none."""
    try:
        return require_file(Path(text), InputError, "background")
    except InputError as error:
        raise SettingsError(
            f"--background {text!r} is neither a colour (black, white, green, #ff8800) nor a picture: {error}"
        ) from error


def work_name(job: Job, name: str) -> str:
    """Name of a job's folder, from the output and the fingerprint; holds nothing of the user's text."""
    return f"{work_prefix(job)}{name[:12]}"


def work_prefix(job: Job) -> str:
    """What the folders of all jobs with this output begin with."""
    output = os.fsencode(job.output.absolute())
    return f".hallo-{hashlib.sha256(output).hexdigest()[:12]}-"


def _digest(path: Path, what: str, error: type[InputError]) -> str:
    try:
        file = require_file(path, error, what)
        return look_within(LOOK_S, file, what, partial(file_digest, file))
    except OSError as reason:
        raise error(f"the {what} {shown(path)} cannot be read ({reason.strerror or reason}).") from reason


def _near(given: str, what: str) -> str:
    return str(at_home(near_path(given, InputError, what)).absolute())


def _content(file: Path) -> str:
    return f"sha256:{file_digest(file)}"
