"""Finds the files that settings name: full paths of those here, fetched copies of those at addresses."""

from __future__ import annotations

import dataclasses

from hallo_cli.errors import InputError
from hallo_cli.media.far import near_path
from hallo_cli.settings.canvas import colour_of
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.cache import at_home


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


def _near(given: str, what: str) -> str:
    return str(at_home(near_path(given, InputError, what)).absolute())
