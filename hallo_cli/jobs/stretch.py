"""The part of a recording that is used: analysed, and added to the video."""

from __future__ import annotations

from pathlib import Path

from hallo_cli.analysis.hearing import choose_track
from hallo_cli.media.audio import Stretch
from hallo_cli.settings.schema import RenderSettings


def stretch_of(audio: Path, settings: RenderSettings) -> tuple[Stretch, tuple[str, ...]]:
    """The part of a file's sound that the settings ask for, with warnings. Raises SpeechError."""
    choice = choose_track(audio, settings.audio_track)
    return Stretch(settings.start_s, settings.duration_s, choice.track), choice.notes
