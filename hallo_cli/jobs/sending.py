"""Sends a finished video to an address: into an object store, or to a web server by HTTP PUT.

The video is rendered on this machine first, and stays there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hallo_cli.errors import SettingsError
from hallo_cli.jobs.containers import mark_path
from hallo_cli.media.addresses import (
    STORES,
    WEB,
    address_in,
    bare_address,
    has_secret_user,
    is_address,
    scheme_of,
    shown_address,
)
from hallo_cli.media.http_put import put_over_web
from hallo_cli.media.stores import FarFolder


@dataclass(frozen=True)
class Sending:
    """Where a finished video goes; it can be shown, as `str` leaves the query out."""

    address: str

    def __post_init__(self) -> None:
        if scheme_of(self.address) not in (*STORES, *WEB):
            raise SettingsError(
                f"the output {shown_address(self.address)}: videos go to {', '.join(STORES)} addresses, or "
                "to https addresses that take a PUT."
            )
        if has_secret_user(self.address):
            raise SettingsError(
                f"the output {shown_address(self.address)} has a password in it: use a signed address, or s3."
            )

    def __str__(self) -> str:
        return bare_address(self.address)

    @property
    def near(self) -> Path:
        """The file in the current folder that the video is rendered to."""
        return Path(Path(unquote(urlsplit(self.address).path)).name)

    def require_free(self, output: Path) -> None:
        """Raise SettingsError if a store has another file of this name. Raises FarFolderError."""
        if self._folder and self._folder.size_of(output.name) is not None:
            raise SettingsError(
                f"{shown_address(address_in(self._folder.address, output.name))} exists already; add "
                "--overwrite to replace it, or choose another output with -o."
            )

    def send(self, output: Path, sidecar: Path, *, may_replace: bool) -> None:
        """Send a video; into a store after its record and its mark. Raises FarFolderError, SettingsError."""
        if self._folder is None:
            put_over_web(output, self.address)
            return
        if not may_replace:
            if self._folder.size_of(output.name) == output.stat().st_size:
                return
            self.require_free(output)
        for file in filter(None, (sidecar, mark_path(output))):
            if file.exists():
                self._folder.put(file, file.name)
        self._folder.put(output, output.name)

    @property
    def _folder(self) -> FarFolder | None:
        """The store's folder; None for a web server."""
        if scheme_of(self.address) in WEB:
            return None
        return FarFolder(address_in(self.address, ".."))


def place_of(output: str | os.PathLike[str]) -> tuple[Path, Sending | None]:
    """The file to render to, and where it is sent if the output is an address. Raises SettingsError."""
    typed = os.fspath(output)
    if not is_address(typed):
        return Path(output), None
    sending = Sending(typed)
    return sending.near, sending
