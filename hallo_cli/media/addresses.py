"""Web addresses as text: which are fetched, how they are joined, and how they are shown.

Addresses are never kept or shown with their query, which may hold a signature.
"""

from __future__ import annotations

import os
import posixpath
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from hallo_cli.errors import HalloError, printable
from hallo_cli.media.files import WEB_ADDRESS

WEB = ("https", "http")
STORES = ("s3", "gs", "gcs", "az", "abfs", "oss", "oci", "tos")  # fsspec's; files come whole or not at all
BUCKETS_AT = ("az", "abfs", "oci")  # BUCKET@ACCOUNT is one place of these stores
SERVERS = ("sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs")  # fsspec's, whose half-written files can be seen


def is_address(typed: str) -> bool:
    """Whether a text is a web address, and no file of this name exists."""
    return bool(WEB_ADDRESS.match(typed)) and not os.path.lexists(typed)


def require_fetchable(address: str, error: type[HalloError], what: str) -> None:
    """Raise `error` if files of such an address are never fetched."""
    scheme = scheme_of(address)
    if scheme not in (*WEB, *STORES, *SERVERS):
        known = ", ".join((*WEB, *STORES, *SERVERS))
        raise error(f"the {what} {shown_address(address)}: only {known} addresses are fetched.")
    if has_secret_user(address):
        raise error(f"the {what} {shown_address(address)} has a password in it: use a signed address, or s3.")


def has_secret_user(address: str) -> bool:
    """Whether what is before an @ in an address may be a password or a token."""
    user, at, _ = urlsplit(address).netloc.rpartition("@")
    return bool(at) and (":" in user or scheme_of(address) not in (*SERVERS, *BUCKETS_AT))


def address_in(folder: str, written: str) -> str:
    """The address of a file that is written relative to the address of a folder."""
    parts = urlsplit(folder)
    name = quote(written) if scheme_of(folder) in WEB else written
    path = posixpath.normpath(posixpath.join(parts.path or "/", name))
    return f"{parts.scheme}://{parts.netloc}{path}"


def is_within(address: str, folder: str) -> bool:
    """Whether a file lies in a folder or below it; both are addresses."""
    inner, outer = urlsplit(address), urlsplit(folder)
    if (inner.scheme.lower(), inner.netloc) != (outer.scheme.lower(), outer.netloc):
        return False
    below, above = (posixpath.normpath(unquote(parts.path) or "/") for parts in (inner, outer))
    return below.startswith(f"{above.rstrip('/')}/")


def scheme_of(address: str) -> str:
    """What an address begins with, in small letters."""
    return urlsplit(address).scheme.lower()


def bare_address(address: str) -> str:
    """An address without its query, and without a user that may be secret."""
    parts = urlsplit(address)
    place = parts.netloc.rpartition("@")[2] if has_secret_user(address) else parts.netloc
    return f"{parts.scheme}://{place}{parts.path}"


def shown_address(address: str) -> str:
    """An address as one printable line, without what may be secret."""
    return repr(printable(bare_address(address)[:300]))


def stem_of(given: str) -> str:
    """The name of a file or an address without folder, ending and query."""
    return Path(unquote(urlsplit(given).path) if WEB_ADDRESS.match(given) else given).stem[:100]
