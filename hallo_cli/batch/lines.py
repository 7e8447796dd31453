"""Lines of a text file as any program may save it: any line ends; bounded in memory.

UTF-8 or UTF-16; a line that is neither is taken for Windows-1252, in which spreadsheets save CSV.
"""

import codecs
import io
import itertools
import logging
import re
from collections.abc import Iterator
from typing import BinaryIO

from hallo_cli.errors import ManifestError

MAX_LINE = 1 << 20  # characters
_SAVE = "save it as UTF-8 (in Excel: CSV UTF-8)"
_UNDECODED = re.compile("[\ud800-\udfff]")

log = logging.getLogger(__name__)


def read_lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends. Raises ManifestError if the file is no such text."""
    buffered = io.BufferedReader(file)  # type: ignore[type-var]
    encoding = _encoding(buffered.peek(4)[:4])
    # In UTF-8, what cannot be decoded survives until its line's number is known.
    errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
    text, checked = io.TextIOWrapper(buffered, encoding, errors), _Checked()
    try:
        for number in itertools.count(1):
            line = text.readline(MAX_LINE + 2)
            if not line:
                return
            yield number, checked(number, line.removesuffix("\n"))
    except UnicodeDecodeError as error:
        raise ManifestError("the manifest is damaged UTF-16; save it as UTF-8.") from error


def _encoding(head: bytes) -> str:
    """The encoding that a file's first four bytes show. Raises ManifestError for UTF-32."""
    if head in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise ManifestError("the manifest is UTF-32; save it as UTF-8.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[1::2] == b"\0\0" and head[0] and head[2]:  # plain letters in UTF-16
        return "utf-16-le"
    if head[::2] == b"\0\0" and head[1] and head[3]:
        return "utf-16-be"
    return "utf-8-sig"


class _Checked:
    """Makes a line text of acceptable length, and says once that a file is not UTF-8."""

    has_told = False

    def __call__(self, number: int, line: str) -> str:
        """The line as text. Raises ManifestError."""
        where = f"line {number} of the manifest"
        if len(line) > MAX_LINE:
            raise ManifestError(f"{where} is longer than 1 MiB; is it a manifest?")
        if "\0" in line:
            raise ManifestError(f"{where} holds a zero byte; is it a text file?")
        return self._from_windows(where, line) if _UNDECODED.search(line) else line

    def _from_windows(self, where: str, line: str) -> str:
        try:
            text = line.encode("utf-8", "surrogateescape").decode("cp1252")
        except UnicodeDecodeError as error:
            raise ManifestError(f"{where} is neither UTF-8 nor Windows-1252; {_SAVE}.") from error
        if not self.has_told:
            self.has_told = True
            log.warning(
                "%s is not UTF-8: it is read as Windows-1252. If names come out wrong, %s.", where, _SAVE
            )
        return text
