"""Sends a file to a web server by HTTP PUT, as signed upload addresses take it."""

from __future__ import annotations

import ssl
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import HTTPHandler, HTTPSHandler, Request, build_opener

from hallo_cli import __version__
from hallo_cli.media.stores import LONGEST_S, SILENCE_S, FinallyRefused, Refused, tried

_TYPES = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm"}
_TAKEN = (200, 201, 204)
_PASSING = (408, 425, 429)  # refusals that a later try may not meet, as those of 500 and more


def put_over_web(file: Path, address: str) -> None:
    """Send all of a file; what the address held is replaced. Raises FarFolderError in one line."""

    def send() -> None:
        with file.open("rb") as content:
            _send(content, file, address)

    tried(address, "written", send)


def _send(content: IO[bytes], file: Path, address: str) -> None:
    headers = {
        "User-Agent": f"hallo/{__version__}",
        "Content-Length": str(file.stat().st_size),
        "Content-Type": _TYPES.get(file.suffix.lower(), "application/octet-stream"),
    }
    wanted = Request(address, data=_InTime(content), method="PUT", headers=headers)  # noqa: S310 - http only
    try:
        with build_opener(_Handler).open(wanted, timeout=SILENCE_S) as answer:
            if answer.status not in _TAKEN:
                raise FinallyRefused(f"the server answers {answer.status} {answer.reason}")
    except HTTPError as answer:
        answer.close()
        kind = Refused if answer.code >= 500 or answer.code in _PASSING else FinallyRefused
        raise kind(f"the server answers {answer.code} {answer.reason}") from None
    except HTTPException as error:
        raise Refused(f"the server broke off ({type(error).__name__})") from None


class _InTime:
    """A file that can be read for LONGEST_S."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content, self._deadline = content, time.monotonic() + LONGEST_S

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises FinallyRefused after the time."""
        if time.monotonic() > self._deadline:
            raise FinallyRefused(f"it took more than {LONGEST_S / 60:g} minutes")
        return self._content.read(size)


class _Connection(HTTPConnection):
    """Hears what a server answers that stops reading in the middle, such as 507."""

    is_broken = False

    def send(self, data: Any) -> None:
        try:
            if not self.is_broken:
                super().send(data)
        except (BrokenPipeError, ConnectionResetError):
            self.is_broken = True

    def getresponse(self) -> HTTPResponse:
        answer = super().getresponse()
        if self.is_broken and answer.status in _TAKEN:
            raise BrokenPipeError(f"the server answers {answer.status}, but did not take all of it")
        return answer


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Handler(HTTPSHandler, HTTPHandler):
    def http_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_Connection, req)

    def https_open(self, req: Request) -> HTTPResponse:
        return self.do_open(_TlsConnection, req, context=ssl.create_default_context())
