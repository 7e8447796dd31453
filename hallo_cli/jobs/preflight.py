"""Looks at a job's inputs in seconds, without the render networks: what is there and what it will cost."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hallo_cli.analysis.loudness import measure, pauses
from hallo_cli.analysis.outlook import grade, light_of, reasons
from hallo_cli.analysis.portrait import sharpness
from hallo_cli.errors import SpeechError
from hallo_cli.jobs import forecast as estimate
from hallo_cli.jobs.bundle_engine import Studio
from hallo_cli.jobs.plan import Job, count_frames
from hallo_cli.media.audio import decode
from hallo_cli.media.image import read_image
from hallo_cli.media.probe import probe
from hallo_cli.media.video import exact_rate, require_encoder
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.writing import reporting_write_errors

CLIPPED_LEVEL = 0.999


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
    outlook: str  # how well the video will do: good, fair or poor
    reasons: tuple[str, ...]  # why no better


@dataclass(frozen=True)
class SpeechFacts:
    """What was heard in the recording."""

    codec: str
    sample_rate: int
    n_channels: int
    duration_s: float  # of the part that is rendered
    loudness_db: float  # of the louder parts, RMS relative to full scale
    peak_db: float
    clipped_share: float  # of the samples
    speech_share: float  # of the time


@dataclass(frozen=True)
class Forecast:
    """What would be rendered, and its price."""

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
    """All that a look at a job gives."""

    portrait: PortraitFacts
    speech: SpeechFacts
    forecast: Forecast
    warnings: tuple[str, ...]


def look_at(job: Job, studio: Studio) -> Preflight:
    """Check a job's inputs. Raises InputError, SettingsError, WeightsError or EncoderError."""
    settings = studio.settle(job.settings)
    require_encoder(settings.codec)
    portrait = look_at_portrait(job.portrait, settings, studio)
    speech = look_at_speech(job.audio, settings)
    forecast = _forecast(job, settings, studio, speech.duration_s)
    warnings = [*_portrait_warnings(portrait), *_speech_warnings(speech), *_disk_warnings(forecast)]
    return Preflight(portrait, speech, forecast, tuple(warnings))


def look_at_portrait(path: Path, settings: RenderSettings, studio: Studio) -> PortraitFacts:
    """The picture and the face that would be used. Raises PortraitError."""
    picture = read_image(path)
    faces = studio.analyser.faces(picture)
    face = studio.analyser.choose(picture, faces, studio.portrait_options(settings), path)
    left, top, right, bottom = (round(float(edge), 1) for edge in face.box)
    clearness, light = sharpness(picture, face), light_of(picture, face)
    size = settings.size or studio.networks.image_size
    against = reasons(face, sharpness=clearness, light=light, size=size)
    return PortraitFacts(
        width=picture.shape[1],
        height=picture.shape[0],
        n_faces=len(faces),
        face_box=(left, top, right, bottom),
        face_size=round(face.size, 1),
        yaw_degrees=round(face.yaw, 1),
        sharpness=round(clearness, 1),
        roll_degrees=round(face.roll, 1),
        light_level=round(light.level, 1),
        outlook=grade(against),
        reasons=tuple(reason.text for reason in against),
    )


def look_at_speech(path: Path, settings: RenderSettings) -> SpeechFacts:
    """The recording's part that would be rendered, read once at constant memory. Raises SpeechError."""
    track = probe(path, what="recording", error=SpeechError).audio
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "audio.f32"
        with reporting_write_errors(target):
            recording = decode(path, target, start_s=settings.start_s, duration_s=settings.duration_s)
        peak, n_clipped = 0.0, 0
        for block in recording.blocks():
            peak = max(peak, float(np.abs(block).max()))
            n_clipped += int((np.abs(block) >= CLIPPED_LEVEL).sum())
        loudness = measure(recording)
        quiet_s = sum(stop - start for start, stop in pauses(recording, loudness))
    assert track is not None
    return SpeechFacts(
        codec=track.codec,
        sample_rate=track.sample_rate,
        n_channels=track.n_channels,
        duration_s=round(recording.duration_s, 3),
        loudness_db=round(_decibels(loudness.level), 1),
        peak_db=round(_decibels(peak), 1),
        clipped_share=round(n_clipped / recording.n_samples, 6),
        speech_share=round(max(0.0, 1 - quiet_s / recording.duration_s), 3),
    )


def _forecast(job: Job, settings: RenderSettings, studio: Studio, duration_s: float) -> Forecast:
    portrait = studio.portrait(job.portrait, settings)
    size = studio.compositor(job.portrait, portrait, settings).size
    n_frames = count_frames(duration_s, float(exact_rate(settings.fps)))
    price = estimate.estimate(studio.load_of(settings))
    disk = estimate.disk_needed(settings, n_frames, size)
    return Forecast(
        width=size[0],
        height=size[1],
        n_frames=n_frames,
        fps=settings.fps,
        n_clips=-(-n_frames // studio.clip_frames),
        seconds=round(price.seconds(n_frames), 1),
        basis=price.basis,
        output_bytes=disk.output_bytes,
        work_bytes=disk.work_bytes,
        free_bytes=estimate.free_bytes(job.output),
    )


def _portrait_warnings(facts: PortraitFacts) -> list[str]:
    found = list(facts.reasons) if facts.outlook == "poor" else []
    if facts.n_faces > 1:
        found.append(f"{facts.n_faces} faces; the largest is used unless --face-index chooses another")
    return found


def _speech_warnings(facts: SpeechFacts) -> list[str]:
    found = []
    if facts.speech_share == 0:
        found.append("the recording is silent: the mouth will stay closed")
    elif facts.loudness_db < -40:
        found.append(f"the speech is very quiet ({facts.loudness_db:g} dB)")
    if facts.clipped_share > 0.001:
        found.append(f"{facts.clipped_share:.1%} of the samples are clipped")
    return found


def _disk_warnings(forecast: Forecast) -> list[str]:
    needed = forecast.output_bytes + forecast.work_bytes
    if forecast.free_bytes < needed:
        return [f"{needed / 1e9:.1f} GB of disk are needed, {forecast.free_bytes / 1e9:.1f} GB are free"]
    return []


def _decibels(level: float) -> float:
    return float(20 * np.log10(level + 1e-12))
