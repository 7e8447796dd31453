"""An object store in memory, as a fixture: what `s3://bucket` means."""

from collections.abc import Iterator

import pytest

from hallo_cli.media import stores


class Store:
    """What is in the store, and how it fails."""

    def __init__(self) -> None:
        from fsspec.implementations.memory import MemoryFileSystem

        self.files = MemoryFileSystem()
        self.refusal: Exception | None = None

    def of(self, address: str) -> tuple["Store", str]:
        return self, f"/{address.removeprefix('s3://')}"

    def __getattr__(self, name: str) -> object:
        if self.refusal and name in ("put_file", "pipe_file"):
            raise self.refusal
        return getattr(self.files, name)

    @property
    def names(self) -> set[str]:
        return {name.removeprefix("/bucket/week/") for name in self.files.find("/bucket")}

    def remove(self, pattern: str) -> None:
        for name in self.files.glob(f"/bucket/week/{pattern}"):
            self.files.rm(name)


@pytest.fixture(name="store")
def storing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    made = Store()
    made.files.store.clear()  # it is the process's
    monkeypatch.setattr(stores, "store_of", made.of)
    monkeypatch.setattr(stores, "PAUSES_S", ())
    yield made
    made.files.store.clear()
