"""`hallo check`: predicts what a render would use, make and cost, without rendering."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.api import Renderer, compose
from hallo_cli.cli.console import answer, say
from hallo_cli.cli.options import AS_JSON, argument, option
from hallo_cli.cli.progress import clock
from hallo_cli.errors import SettingsError
from hallo_cli.jobs.inputs import settled
from hallo_cli.jobs.plan import Job
from hallo_cli.settings.resolve import Sources, resolve
from hallo_cli.settings.values import to_values
from hallo_cli.store.cache import at_home
from hallo_cli.store.writing import write_whole

if TYPE_CHECKING:
    from hallo_cli.jobs.preflight import Preflight
    from hallo_cli.provenance.consent_file import Consent

SCHEMA = 1
BASES = {
    "measured": "as measured on this machine",
    "scaled": "scaled from another render on this machine",
    "guess": "a rough guess: nothing was rendered with these weights on this machine yet",
}


def command(
    portrait: str = argument(..., "A picture with a face.", metavar="PORTRAIT"),
    audio: str = argument(..., "Speech: a sound or video file, or - for standard input.", metavar="AUDIO"),
    as_json: bool = AS_JSON,
    still: Path | None = option(
        None, "Also draw a picture: the crop, what moves and the video's frame.", metavar="OUT.png"
    ),
    *,
    given: Sources,
) -> None:
    """Predict what a render would use, make and cost.

    Example:
        hallo check portrait.jpg speech.wav

    It takes seconds and needs no GPU. The settings are those of hallo render. Exit status: 4 if an input
    cannot be used, 5 if weights are missing.
    """
    renderer = Renderer.of(resolve(given))
    job = renderer.job(portrait, compose([audio]), "out.mp4")
    if still is not None:
        _require_picture_name(still, job.portrait)
    found = report(job, renderer, as_json=as_json)
    if still is not None:
        from hallo_cli.jobs.still import draw_still

        write_whole(at_home(still), draw_still(job, renderer.engine, found.portrait).page())


def _require_picture_name(still: Path, portrait: Path) -> None:
    if still.suffix.lower() != ".png":
        raise SettingsError(f"--still {str(still)!r} must end in .png.")
    if at_home(still).resolve() == portrait.resolve():
        raise SettingsError(f"--still {str(still)!r} would replace the portrait. Give another name.")


def report(job: Job, renderer: Renderer, *, as_json: bool) -> Preflight:
    """Check a job, print what was found, and return it. Raises ConsentError if --consent forbids it."""
    from hallo_cli.jobs.preflight import look_at

    given = _consents(job, renderer)
    found = look_at(job, renderer.engine)
    settings = to_values(renderer.engine.resolve_settings(job.settings))
    if as_json:
        consents = [{"of": one.of, "who": one.who, "until": one.until} for one in given]
        rows = {"schema": SCHEMA, **dataclasses.asdict(found), "settings": settings, "consents": consents}
        answer(json.dumps(rows))
        return found
    for line in _lines(found):
        answer(line)
    for one in given:
        end = f"until {one.until}" if one.until else "without end"
        answer(f"consent    {one.of} by {one.who!r}, {end}")
    chosen = [key for key in settings if renderer.resolved.origins[key] != "default"]
    if chosen:
        answer("settings   " + ", ".join(f"{key} {settings[key]}" for key in chosen))
    for warning in found.warnings:
        say(f"warning: {warning}")
    return found


def _consents(job: Job, renderer: Renderer) -> tuple[Consent, ...]:
    """The consents that the render would need; none without --consent."""
    from hallo_cli.jobs.marking import Marking

    if renderer.resolved.runtime.consent is None:
        return ()
    return Marking.of(renderer.resolved.runtime).consents(settled(job, renderer.engine))


def _lines(found: Preflight) -> list[str]:
    from hallo_cli.analysis.outlook import MIN_SHARPNESS

    portrait, speech, forecast = found.portrait, found.speech, found.forecast
    left, top, right, bottom = portrait.face_box
    faces = "one face" if portrait.n_faces == 1 else f"{portrait.n_faces} faces"
    parts = {
        "portrait": (
            f"{portrait.width} x {portrait.height}, {faces}",
            f"at {left:.0f},{top:.0f} to {right:.0f},{bottom:.0f} ({portrait.face_size:.0f} pixels)",
            f"turned {portrait.yaw_degrees:.0f} degrees",
            f"sharpness {portrait.sharpness:.0f} (blurred below {MIN_SHARPNESS:.0f})",
        ),
        "outlook": (": ".join([portrait.outlook, *filter(None, ["; ".join(portrait.reasons)])]),),
        "recording": (
            f"{speech.duration_s:.2f} s of {speech.codec}",
            f"{speech.sample_rate} Hz",
            {1: "mono", 2: "stereo"}.get(speech.n_channels, f"{speech.n_channels} channels"),
            f"speech {speech.speech_share:.0%} of the time at {speech.loudness_db:.0f} dB",
            f"peak {speech.peak_db:.0f} dB",
            f"clipped {speech.clipped_share:.2%}",
        ),
        "result": (
            f"{forecast.width} x {forecast.height}",
            f"{forecast.n_frames} frames at {forecast.fps:g} a second in {forecast.n_clips} clips",
        ),
        "time": (f"{clock(forecast.seconds)} and the time to load the networks", BASES[forecast.basis]),
        "disk": (
            describe_disk(forecast.output_bytes, forecast.work_bytes),
            f"{forecast.free_bytes / 1e9:.1f} GB free",
        ),
    }
    return [f"{name:<10} {', '.join(facts)}" for name, facts in parts.items()]


def describe_disk(output_bytes: int, work_bytes: int) -> str:
    """As in "88 MB while rendering, 0.2 MB in the end"."""
    needed = output_bytes + work_bytes
    return f"{needed / 1e6:.0f} MB while rendering, {output_bytes / 1e6:.1f} MB in the end"
