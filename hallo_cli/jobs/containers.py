"""What the ending of an output means: MP4, or WebM and QuickTime, which keep a portrait's transparency."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hallo_cli.errors import SettingsError
from hallo_cli.media.files import shown
from hallo_cli.media.video_format import ALPHA_CODECS
from hallo_cli.settings.schema import RenderSettings

SUFFIXES = (".mp4", ".webm", ".mov")
_OF_SUFFIX = {f".{container}": codec for codec, container in ALPHA_CODECS.items()}
_NOT_SET = RenderSettings().codec


def mark_path(output: Path) -> Path | None:
    """Where the signed mark of a video lies that cannot hold it; None: it is in the video."""
    return output.with_suffix(".c2pa") if output.suffix.lower() == ".webm" else None


def is_transparent(settings: RenderSettings) -> bool:
    """Whether the video has an alpha channel."""
    return settings.codec in ALPHA_CODECS


def fitting_container(settings: RenderSettings, output: Path) -> RenderSettings:
    """The settings with the codec that the output's ending needs.

    Raises SettingsError if the ending is unknown, or holds no video of these settings.
    """
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingsError(
            f"the output {shown(output)} must end in .mp4, or .webm or .mov for transparency."
        )
    wanted = _OF_SUFFIX.get(suffix)
    if wanted and settings.codec == _NOT_SET:
        settings = dataclasses.replace(settings, codec=wanted)
    if (wanted or settings.codec) != settings.codec or (not wanted and is_transparent(settings)):
        fits = f"{wanted} only" if wanted else "H.264 and H.265"
        raise SettingsError(
            f"{suffix} takes {fits}: leave --codec {settings.codec} out, or rename the output."
        )
    if wanted:
        _require_transparent(settings, suffix)
    return settings


def _require_transparent(settings: RenderSettings, suffix: str) -> None:
    if settings.canvas is not None and settings.fit == "blur":
        raise SettingsError(f"--fit blur is opaque, and {suffix} is for transparency: use pad, crop or .mp4.")
    if settings.subtitles is not None and settings.burn:
        raise SettingsError(f"--burn cannot draw on {suffix}: use --soft, or .mp4.")
    if suffix == ".webm" and settings.audio_codec != "auto":
        raise SettingsError("the sound of .webm is always Opus: leave --audio-codec out.")
