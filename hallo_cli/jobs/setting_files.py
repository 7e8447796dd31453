"""The files that settings name: full paths of those here, fetched copies of those at addresses, digests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from hallo_cli.errors import InputError, SettingsError
from hallo_cli.jobs.containers import is_transparent
from hallo_cli.media.far import near_path
from hallo_cli.media.files import require_file
from hallo_cli.settings.canvas import colour_of
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.cache import at_home
from hallo_cli.store.digests import file_digest


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


def _near(given: str, what: str) -> str:
    return str(at_home(near_path(given, InputError, what)).absolute())


def _content(file: Path) -> str:
    return f"sha256:{file_digest(file)}"
