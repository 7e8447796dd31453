"""Brings the rendered part of a recording to a loudness: measures it (EBU R128), amplifies it, lossless."""

from __future__ import annotations

import json
import logging
import re
from math import isfinite
from pathlib import Path

import ffmpeg

from hallo_cli.errors import EncoderError
from hallo_cli.media.ffmpeg import FLAC, address, run
from hallo_cli.media.joining import Sound
from hallo_cli.media.pcm import pcm

PEAK = -1.5  # dB true peak: room for what AAC adds
TOLERANCE = 0.2  # LU
N_TRIES = 6  # of a gain whose peaks are limited
MAX_GAIN = 40.0  # dB, of those
_FINE_RATE = 192_000  # at which samples show true peaks
_LIMITER = {"limit": 10 ** (PEAK / 20), "attack": 5, "release": 50, "level": 0, "latency": 1}
_BLOCK = 4096  # samples; FLAC takes no more than 65535
_REPORT = re.compile(rb"\{[^{}]*\}")

logger = logging.getLogger(__name__)


def levelled(sound: Sound, lufs: float, target: Path) -> Sound:
    """The rendered part of the sound at a loudness, written to `target` (FLAC), to be encoded from there.

    One gain for the whole part; peaks above PEAK are limited, and the gain rises until the loudness is met.
    Silence is unchanged. Raises SpeechError, EncoderError.
    """
    measured = loudness_and_peak(sound)
    if measured is None:
        return sound
    loudness, peak = measured
    gain = lufs - loudness
    if peak + gain <= PEAK:
        _write(sound, gain, target, is_limited=False)
        return Sound(target, codec="aac")
    for _ in range(N_TRIES):
        _write(sound, gain, target, is_limited=True)
        reached, _ = loudness_and_peak(Sound(target)) or measured
        if abs(lufs - reached) <= TOLERANCE or gain == MAX_GAIN:
            break
        gain = min(gain + lufs - reached, MAX_GAIN)
    if lufs - reached > 1:
        logger.warning("the sound has %.1f LUFS instead of %g: its peaks allow no more", reached, lufs)
    return Sound(target, codec="aac")


def _write(sound: Sound, gain: float, target: Path, *, is_limited: bool) -> None:
    with pcm(sound.file, sound.stretch) as samples:
        loud = samples.as_input().filter("volume", f"{gain:.3f}dB", precision="float")
        if is_limited:
            loud = loud.filter("aresample", _FINE_RATE).filter("alimiter", **_LIMITER)
            loud = loud.filter("aresample", samples.rate)
        loud = loud.filter("asetnsamples", n=_BLOCK, p=0)
        run(ffmpeg.output(loud, address(target), **FLAC), feed=samples.whole())


def loudness_and_peak(sound: Sound) -> tuple[float, float] | None:
    """Loudness in LUFS and true peak in dB of a part of a sound; None for silence.

    Raises SpeechError, EncoderError.
    """
    with pcm(sound.file, sound.stretch) as samples:
        loud = samples.as_input().filter("loudnorm", print_format="json")
        said = run(ffmpeg.output(loud, "-", format="null"), feed=samples.whole(), level="info")
    try:
        found = json.loads(_REPORT.findall(said)[-1])
        loudness, peak = float(found["input_i"]), float(found["input_tp"])
    except (IndexError, KeyError, ValueError) as error:
        raise EncoderError(
            f"ffmpeg did not measure the loudness of {sound.file.name!r} ({error})."
        ) from error
    return (loudness, peak) if isfinite(loudness) and isfinite(peak) else None
