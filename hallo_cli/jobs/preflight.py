"""Checks a job's inputs in seconds, without the render networks, and predicts time and disk."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hallo_cli.analysis.hearing import listen_to
from hallo_cli.analysis.outlook import grade
from hallo_cli.analysis.portrait import notes_of
from hallo_cli.errors import SpeechError
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.forecast import disk_needed, disk_warnings, estimate, free_bytes
from hallo_cli.jobs.inputs import stretch_of
from hallo_cli.jobs.look_limit import look_within
from hallo_cli.jobs.plan import Job, count_frames
from hallo_cli.media.files import shown
from hallo_cli.media.probe import probe
from hallo_cli.media.video import require_encoder
from hallo_cli.media.video_format import exact_rate
from hallo_cli.settings.schema import RenderSettings


@dataclass(frozen=True)
class PortraitFacts:
    """What was found in the picture."""

    width: int
    height: int
    n_faces: int
    face_box: tuple[float, float, float, float]  # left, top, right, bottom, in pixels
    face_size: float  # pixels, the longer side of the face's outline
    yaw_degrees: float
    sharpness: float  # below 30 is blurred
    roll_degrees: float
    light_level: float  # mean grey level of the face, 0..255
    outlook: str  # expected quality of the video: good, fair or poor
    reasons: tuple[str, ...]  # the reasons if not good
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class SpeechFacts:
    """What was found in the recording."""

    codec: str
    sample_rate: int
    n_channels: int
    duration_s: float  # of the part that is rendered
    loudness_db: float  # of the louder parts, RMS relative to full scale
    peak_db: float
    clipped_share: float  # of the samples
    speech_share: float  # of the time
    track: int  # of the file's sound tracks
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Forecast:
    """What would be rendered, with time and disk."""

    width: int
    height: int
    n_frames: int
    fps: float
    n_clips: int
    seconds: float
    basis: str  # of the seconds: measured, scaled, guess
    output_bytes: int
    work_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Preflight:
    """All results of checking a job."""

    portrait: PortraitFacts
    speech: SpeechFacts
    forecast: Forecast
    warnings: tuple[str, ...]


def look_at(job: Job, engine: BundleEngine) -> Preflight:
    """Check a job's inputs. Raises InputError, SettingsError, WeightsError or EncoderError."""
    settings = engine.resolve_settings(job.settings)
    require_encoder(settings.codec)
    portrait = look_at_portrait(job.portrait, settings, engine)
    look = partial(look_at_speech, job.audio, settings)
    speech = look_within(engine.runtime.look_limit_s, job.audio, "recording", look)
    shown = engine.compositor(job.portrait, engine.portrait(job.portrait, settings), settings)
    forecast = _forecast(job, settings, engine, speech.duration_s, shown.size)
    needed = forecast.output_bytes + forecast.work_bytes
    warnings = [
        *portrait.warnings,
        *shown.warnings,
        *speech.warnings,
        *disk_warnings(needed, forecast.free_bytes),
    ]
    return Preflight(portrait, speech, forecast, tuple(warnings))


def look_at_portrait(path: Path, settings: RenderSettings, engine: BundleEngine) -> PortraitFacts:
    """The picture and the face that would be used. Raises PortraitError."""
    options = engine.portrait_options(settings)
    look = partial(engine.analyser.look, path, options)
    sight = look_within(engine.runtime.look_limit_s, path, "portrait", look)
    face = sight.face
    left, top, right, bottom = (round(float(edge), 1) for edge in face.box)
    against = sight.reasons(options.size)
    return PortraitFacts(
        width=sight.picture.shape[1],
        height=sight.picture.shape[0],
        n_faces=len(sight.faces),
        face_box=(left, top, right, bottom),
        face_size=round(face.size, 1),
        yaw_degrees=round(face.yaw, 1),
        sharpness=round(sight.sharpness, 1),
        roll_degrees=round(face.roll, 1),
        light_level=round(sight.light.level, 1),
        outlook=grade(against),
        reasons=tuple(reason.text for reason in against),
        warnings=notes_of(sight, options),
    )


def look_at_speech(path: Path, settings: RenderSettings) -> SpeechFacts:
    """The recording's part that would be rendered, read once at constant memory. Raises SpeechError."""
    stretch, notes = stretch_of(path, settings)
    heard = listen_to(path, stretch, notes)
    track = probe(path, what="recording", error=SpeechError, audio_track=stretch.track).audio
    if track is None:
        raise SpeechError(f"The file {shown(path)} has no sound track. Give a recording of speech.")
    return SpeechFacts(
        codec=track.codec,
        sample_rate=track.sample_rate,
        n_channels=track.n_channels,
        track=stretch.track,
        duration_s=round(heard.duration_s, 3),
        loudness_db=heard.loudness_db,
        peak_db=heard.peak_db,
        clipped_share=heard.clipped_share,
        speech_share=heard.speech_share,
        warnings=heard.warnings(),
    )


def _forecast(
    job: Job, settings: RenderSettings, engine: BundleEngine, duration_s: float, size: tuple[int, int]
) -> Forecast:
    assert settings.clip_frames is not None, "the settings are resolved"
    n_frames = count_frames(duration_s, float(exact_rate(settings.fps)))
    price = estimate(engine.workload_of(settings))
    disk = disk_needed(settings, n_frames, size)
    return Forecast(
        width=size[0],
        height=size[1],
        n_frames=n_frames,
        fps=settings.fps,
        n_clips=-(-n_frames // settings.clip_frames),
        seconds=round(price.seconds(n_frames), 1),
        basis=price.basis,
        output_bytes=disk.output_bytes,
        work_bytes=disk.work_bytes,
        free_bytes=free_bytes(job.output),
    )
