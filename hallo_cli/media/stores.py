"""Object stores: opens their files for reading, and puts whole files into one of their folders.

fsspec and the store's own client do the work; both are optional packages.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hallo_cli.errors import FarFolderError, HalloError, SettingsError, printable
from hallo_cli.media.addresses import STORES, address_in, scheme_of, shown_address
from hallo_cli.media.files import reason_of
from hallo_cli.store.writing import replacing

PAUSES_S = (2.0, 10.0)  # before a failed access is tried again
SILENCE_S = 30.0  # until a server that says nothing is given up
LONGEST_S = 1800.0  # that a file may take
CHUNK = 1 << 20
_PACKAGES = {
    "s3": "'hallo-cli[far]'",
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs"), "adlfs"),
    **{"oss": "ossfs", "oci": "ocifs", "tos": "tosfs", "smb": "smbprotocol", "hdfs": "pyarrow"},
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
}
_Value = TypeVar("_Value")


class Refused(Exception):
    """What a server, a store or a limit says, for the message."""

    is_final = False  # asking again cannot help


class FinallyRefused(Refused):
    """The answer stays the same."""

    is_final = True


@dataclass(frozen=True)
class FarFolder:
    """A folder of an object store. Files come into it whole or not at all; names are relative to it.

    Every method raises FarFolderError, in one line, if the store cannot be reached or refuses.
    """

    address: str

    def __post_init__(self) -> None:
        if scheme_of(self.address) not in STORES:
            raise SettingsError(
                f"{shown_address(self.address)} cannot hold the videos of a batch: give a folder, or an "
                f"address of a store that lists its files and replaces them whole ({', '.join(STORES)})."
            )

    def sizes(self, below: str = "") -> dict[str, int]:
        """The bytes of each file in the folder, or in one below it, by name."""

        def find() -> dict[str, int]:
            files, path = store_of(address_in(self.address, below or "."))
            files.invalidate_cache()
            try:
                found = files.find(path, detail=True)
            except FileNotFoundError:
                return {}
            _, whole = store_of(self.address)
            start = len(whole.rstrip("/")) + 1
            return {name[start:]: int(facts.get("size") or 0) for name, facts in found.items()}

        return tried(self.address, "read", find)

    def size_of(self, name: str) -> int | None:
        """The bytes of a file; None if there is none of this name."""

        def look() -> int | None:
            files, path = store_of(address_in(self.address, name))
            files.invalidate_cache()
            try:
                return int(files.info(path).get("size") or 0)
            except FileNotFoundError:
                return None

        return tried(self.address, "read", look)

    def put(self, file: Path, name: str) -> None:
        """Put a file in under a name; the store shows it when all of it is there."""
        size = file.stat().st_size

        def put() -> None:
            files, path = store_of(address_in(self.address, name))
            files.put_file(str(file), path)
            files.invalidate_cache()
            if (there := files.info(path).get("size")) != size:
                raise Refused(f"{there} of {size} bytes are there")

        tried(self.address, "written", put)

    def write(self, name: str, content: bytes) -> None:
        """Put content in under a name."""

        def write() -> None:
            files, path = store_of(address_in(self.address, name))
            files.pipe_file(path, content)

        tried(self.address, "written", write)

    def get(self, name: str, target: Path, *, max_bytes: int) -> None:
        """Copy a file to `target`, which is replaced when all of it is there."""

        def get() -> None:
            files, path = store_of(address_in(self.address, name))
            n_bytes = 0
            with files.open(path, "rb") as content, replacing(target) as file:
                while block := content.read(CHUNK):
                    n_bytes += len(block)
                    if n_bytes > max_bytes:
                        raise FinallyRefused(f"{name} has more than {max_bytes} bytes")
                    file.write(block)

        tried(self.address, "read", get)


def tried(address: str, verb: str, access: Callable[[], _Value]) -> _Value:
    """The result of an access that is repeated after failures which may pass. Raises FarFolderError."""
    for pause_s in (*PAUSES_S, None):
        try:
            with reporting(scheme_of(address)):
                return access()
        except Refused as reason:
            if pause_s is None or reason.is_final:
                raise FarFolderError(
                    f"{shown_address(address)} cannot be {verb}: {reason}. Check the address, the keys and "
                    "the room there, then run the same command again: finished work is kept."
                ) from None  # the cause may show the keys
            time.sleep(pause_s)
    raise AssertionError


def store_of(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it. Raises whatever its client raises."""
    if "::" in address:  # fsspec would take what follows for another address, such as a file of this machine
        raise FinallyRefused("'::' must not be in an address")
    import fsspec.core

    files, path = fsspec.core.url_to_fs(address)
    return files, str(path)


@contextlib.contextmanager
def reporting(scheme: str) -> Iterator[None]:
    """Raise only `Refused` and errors of ours: if a package is missing, SettingsError.

    Each store's client has exceptions of its own.
    """
    try:
        yield
    except (Refused, HalloError):
        raise
    except ImportError:
        package = _PACKAGES.get(scheme, "fsspec")
        raise SettingsError(
            f"{scheme} addresses need another package: run pip install {package}, or use files here."
        ) from None
    except (FileNotFoundError, PermissionError) as error:
        raise FinallyRefused(_refusal_of(error)) from None
    except Exception as error:  # noqa: BLE001 - of any package
        raise Refused(_refusal_of(error)) from None


def _refusal_of(error: BaseException) -> str:
    """The reason that an error gives, for a message."""
    cause = getattr(error, "reason", None)  # of URLError
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, PermissionError):
        return "access is denied"
    return printable(reason_of(cause if isinstance(cause, BaseException) else error))
