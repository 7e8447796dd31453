"""The user's home folder, and the paths of caches and configuration."""

from __future__ import annotations

import os
from pathlib import Path


def cache_path(*parts: str) -> Path | None:
    """A path in $HALLO_CACHE, else in the user's cache folder; None for a user without a home.

    Such a user goes without a cache.
    """
    try:
        if named := os.environ.get("HALLO_CACHE"):
            return Path(named).expanduser().joinpath(*parts)
        root = os.environ.get("XDG_CACHE_HOME")
        return (Path(root) if root else Path.home() / ".cache").joinpath("hallo", *parts)
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return None


def config_path(*parts: str) -> Path | None:
    """A path in the user's folder of configuration; None for a user without a home."""
    try:
        root = os.environ.get("XDG_CONFIG_HOME")
        return (Path(root) if root else Path.home() / ".config").joinpath("hallo", *parts)
    except RuntimeError:
        return None


def at_home(path: Path) -> Path:
    """The path with a leading ~ or ~user expanded if that home exists; else it is part of the name."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path
