"""Brings the rendered stretch of a recording to a loudness (EBU R128) in two passes, without loss."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import ffmpeg

from hallo_cli.errors import EncoderError, SpeechError
from hallo_cli.media.ffmpeg import DETERMINISTIC, address, find_ffmpeg, last_words, starting_ffmpeg
from hallo_cli.media.joining import Sound
from hallo_cli.media.probe import probe

PEAK = -1.5  # dB true peak: room for what AAC adds
RANGE = 20.0  # LU: speech keeps its dynamics unless it has more
_REPORT = re.compile(rb"\{[^{}]*\}")


def levelled(sound: Sound, lufs: float, target: Path) -> Sound:
    """The sound's stretch at a loudness, written to `target` (FLAC), to be encoded from there.

    One gain for the whole stretch where its peaks allow that, else it is compressed as much as it takes.
    Silence stays as it is. Raises SpeechError, EncoderError.
    """
    measured = _measure(sound, lufs)
    if measured is None:
        return sound
    track = probe(sound.file, what="recording", error=SpeechError).audio
    assert track is not None  # it was measured
    settings = {f"measured_{key}": value for key, value in measured.items()}
    loud = _stretch(sound).filter("loudnorm", I=lufs, TP=PEAK, LRA=RANGE, linear="true", **settings)
    _run(
        ffmpeg.output(
            loud.filter("aresample", track.sample_rate),  # loudnorm may give 192 kHz
            address(target),
            format="flac",
            sample_fmt="s32",
            **DETERMINISTIC,
        )
    )
    return Sound(target, codec="aac")


def loudness_of(sound: Sound) -> float | None:
    """The loudness of a sound's stretch in LUFS; None for silence. Raises EncoderError."""
    measured = _measure(sound, -16.0)
    return None if measured is None else float(measured["I"])


def _measure(sound: Sound, lufs: float) -> Mapping[str, str] | None:
    """loudnorm's figures of the stretch: I, TP, LRA, thresh, and its offset; None for silence."""
    loud = _stretch(sound).filter("loudnorm", I=lufs, TP=PEAK, LRA=RANGE, print_format="json")
    reports = _REPORT.findall(_run(ffmpeg.output(loud, "-", format="null")))
    try:
        found = json.loads(reports[-1])
        names = {"I": "input_i", "TP": "input_tp", "LRA": "input_lra", "thresh": "input_thresh"}
        figures = {name: float(found[key]) for name, key in names.items()}
    except (IndexError, KeyError, ValueError) as error:
        raise EncoderError(f"ffmpeg did not say how loud {sound.file.name!r} is ({error}).") from error
    if not all(map(isfinite, figures.values())):
        return None
    return {name: f"{figure:.2f}" for name, figure in figures.items()}


def _stretch(sound: Sound) -> Any:
    """The stretch that is heard; timestamps are made anew, as analysis takes the sound as continuous."""
    recording = ffmpeg.input(address(sound.file), protocol_whitelist="file")["a:0"]
    cut = recording.filter("asetpts", "N/SR/TB").filter("atrim", start=sound.start_s)
    cut = cut.filter("asetpts", "PTS-STARTPTS")
    return cut if sound.duration_s is None else cut.filter("atrim", end=sound.duration_s)


def _run(output: Any) -> bytes:
    """Run ffmpeg; what it said on standard error. Raises EncoderError."""
    quiet = output.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "info")
    command = ffmpeg.compile(quiet, cmd=str(find_ffmpeg()), overwrite_output=True)
    with starting_ffmpeg():
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, start_new_session=True
        )
    if done.returncode != 0:
        raise EncoderError(f"ffmpeg cannot set the loudness: {last_words(done.stderr)}")
    return done.stderr
