"""Brings the rendered part of a recording to a loudness (EBU R128) in two passes, lossless."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path

import ffmpeg

from hallo_cli.errors import EncoderError
from hallo_cli.media.ffmpeg import DETERMINISTIC, address, run
from hallo_cli.media.joining import Sound
from hallo_cli.media.pcm import pcm

PEAK = -1.5  # dB true peak: room for what AAC adds
RANGE = 20.0  # LU: speech with less keeps its dynamics
_REPORT = re.compile(rb"\{[^{}]*\}")


def levelled(sound: Sound, lufs: float, target: Path) -> Sound:
    """The rendered part of the sound at a loudness, written to `target` (FLAC), to be encoded from there.

    One gain for the whole part if its peaks allow that, else dynamic compression. Silence is unchanged.
    Raises SpeechError, EncoderError.
    """
    measured = _measure(sound, lufs)
    if measured is None:
        return sound
    settings = {f"measured_{key}": value for key, value in measured.items()}
    with pcm(sound.file, sound.stretch) as samples:
        loud = samples.as_input().filter("loudnorm", I=lufs, TP=PEAK, LRA=RANGE, linear="true", **settings)
        same_rate = loud.filter("aresample", samples.rate)  # loudnorm may give 192 kHz
        written = ffmpeg.output(same_rate, address(target), format="flac", sample_fmt="s32", **DETERMINISTIC)
        run(written, feed=samples.whole())
    return Sound(target, codec="aac")


def loudness_of(sound: Sound) -> float | None:
    """The loudness of a part of a sound in LUFS; None for silence. Raises SpeechError, EncoderError."""
    measured = _measure(sound, -16.0)
    return None if measured is None else float(measured["I"])


def _measure(sound: Sound, lufs: float) -> Mapping[str, str] | None:
    """loudnorm's figures of the part: I, TP, LRA and thresh; None for silence."""
    with pcm(sound.file, sound.stretch) as samples:
        loud = samples.as_input().filter("loudnorm", I=lufs, TP=PEAK, LRA=RANGE, print_format="json")
        said = run(ffmpeg.output(loud, "-", format="null"), feed=samples.whole(), level="info")
    try:
        found = json.loads(_REPORT.findall(said)[-1])
        names = {"I": "input_i", "TP": "input_tp", "LRA": "input_lra", "thresh": "input_thresh"}
        figures = {name: float(found[key]) for name, key in names.items()}
    except (IndexError, KeyError, ValueError) as error:
        raise EncoderError(
            f"ffmpeg did not measure the loudness of {sound.file.name!r} ({error})."
        ) from error
    if not all(map(isfinite, figures.values())):
        return None
    return {name: f"{figure:.2f}" for name, figure in figures.items()}
