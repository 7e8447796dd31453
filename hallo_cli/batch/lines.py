"""Lines of a text file as any program may save it: any line ends; bounded in memory.

UTF-8 or UTF-16; a line that is neither is taken for Windows-1252, in which spreadsheets save CSV.
"""

import codecs
import io
import logging
import re
from collections.abc import Iterator
from typing import BinaryIO

from hallo_cli.errors import ManifestError

MAX_LINE = 1 << 20  # characters
_CHUNK = 1 << 16
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_UTF32 = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_SAVE = "save it as UTF-8 (in Excel: CSV UTF-8)"
_UNDECODED = re.compile("[\ud800-\udfff]")

log = logging.getLogger(__name__)


def read_lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Numbered lines without their ends. Raises ManifestError if the file is no such text."""
    number, rest, checked = 0, "", _Checked()
    for text in _decoded(file):
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            number += 1
            yield number, checked(number, line)
        if len(rest) > MAX_LINE:
            checked(number + 1, rest)
    if rest:
        yield number + 1, checked(number + 1, rest)


def _decoded(file: BinaryIO) -> Iterator[str]:
    head = file.read(4)
    if head in _UTF32:
        raise ManifestError("the manifest is UTF-32; save it as UTF-8.")
    encoding, n_mark = _encoding(head)
    # In UTF-8, what cannot be decoded survives until its line's number is known.
    errors = "surrogateescape" if encoding == "utf-8" else "strict"
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(errors), translate=True)
    try:
        yield decoder.decode(head[n_mark:])
        while chunk := file.read(_CHUNK):
            yield decoder.decode(chunk)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise ManifestError("the manifest is damaged UTF-16; save it as UTF-8.") from error


def _encoding(head: bytes) -> tuple[str, int]:
    """The encoding that a file's first bytes show, and the length of its byte order mark."""
    for mark, encoding in _MARKS.items():
        if head.startswith(mark):
            return encoding, len(mark)
    if head[1::2] == b"\0\0" and head[0] and head[2]:  # plain letters in UTF-16
        return "utf-16-le", 0
    if head[::2] == b"\0\0" and head[1] and head[3]:
        return "utf-16-be", 0
    return "utf-8", 0


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
