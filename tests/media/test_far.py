import io
from pathlib import Path

import pytest
from file_server import Server, serving  # noqa: F401

from hallo_cli.errors import PortraitError, SettingsError, SpeechError
from hallo_cli.media import far
from hallo_cli.media.addresses import bare_address, require_fetchable, stem_of
from hallo_cli.media.far import near_path

SECRET = "X-Signature=abc123"


def fetch(address: str) -> Path:
    return near_path(address, SpeechError, "recording")


def test_file_is_fetched_once_and_again_when_it_has_changed(server: Server) -> None:
    address = server.address(f"/a.wav?{SECRET}")
    first = fetch(address)
    assert first.read_bytes() == server.files["/a.wav"]
    assert first.suffix == ".wav"
    assert fetch(address) == first
    server.files["/a.wav"] = b"other"
    assert fetch(address).read_bytes() == b"other"
    assert server.answers == [200, 304, 200]


def test_nothing_that_is_kept_or_said_holds_the_signature(server: Server, tmp_path: Path) -> None:
    fetch(server.address(f"/a.wav?{SECRET}"))
    with pytest.raises(SpeechError) as caught:
        fetch(server.address(f"/b.wav?{SECRET}"))
    assert "abc123" not in str(caught.value)
    for file in (tmp_path / "cache/far").iterdir():
        assert "abc123" not in file.name
        assert b"abc123" not in file.read_bytes()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/none.wav", "the server answers 404"),
        ("/secret.wav", "the server answers 403"),
        ("/empty", "is empty"),
    ],
)
def test_refusals_are_told_in_one_line(server: Server, path: str, said: str) -> None:
    server.files |= {"/secret.wav": b"secret", "/empty": b""}
    with pytest.raises(SpeechError, match=said) as caught:
        fetch(server.address(path))
    assert len(str(caught.value).splitlines()) == 1


def test_unreachable_server_is_told(server: Server) -> None:
    server.server_close()
    with pytest.raises(
        PortraitError, match=r"cannot be fetched: Connection refused|cannot be fetched: .*111"
    ):
        near_path("http://127.0.0.1:9/a.jpg", PortraitError, "portrait")


def test_broken_connection_keeps_nothing(server: Server, tmp_path: Path) -> None:
    server.claimed = 10
    with pytest.raises(SpeechError, match="cannot be fetched"):
        fetch(server.address("/a.wav"))
    assert not list((tmp_path / "cache/far").iterdir())


def test_too_large_a_file_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(far, "MAX_BYTES", 100)
    with pytest.raises(SpeechError, match="it has more than"):
        fetch(server.address("/a.wav"))
    assert not list((tmp_path / "cache/far").iterdir())


def test_file_of_just_the_limit_is_fetched(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    n_bytes = len(server.files["/a.wav"])
    monkeypatch.setattr(far, "MAX_BYTES", n_bytes)
    assert fetch(server.address("/a.wav")).stat().st_size == n_bytes
    server.files["/b.wav"] = server.files["/a.wav"] + b"!"
    with pytest.raises(SpeechError, match="it has more than"):
        fetch(server.address("/b.wav"))


def test_too_slow_a_file_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far, "LONGEST_S", -1.0)
    with pytest.raises(SpeechError, match="it took more than"):
        fetch(server.address("/a.wav"))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://ann:secret@host.example/a.wav", "'https://host.example/a.wav' has a password in it"),
        ("sftp://ann:secret@host.example/a.wav", "'sftp://host.example/a.wav' has a password in it"),
        ("https://secret@host.example/a.wav", "'https://host.example/a.wav' has a password in it"),
        ("foo://host.example/a.wav", "'foo://host.example/a.wav': only https"),
        ("file:///etc/hostname", "only https"),
        ("memory://a.wav", "only https"),
        ("rtsp://host.example/a", "only https, http, s3, gs, "),
    ],
)
def test_other_addresses_are_refused(address: str, said: str) -> None:
    with pytest.raises(SpeechError, match=said) as caught:
        fetch(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "sftp://ann@host.example/a.wav",
        "oci://bucket@namespace/a.wav",
        "abfs://container@account.dfs.core.windows.net/a.wav",
    ],
)
def test_users_of_servers_and_buckets_of_accounts_may_be_named(address: str) -> None:
    require_fetchable(address, SpeechError, "recording")
    assert bare_address(f"{address}?signature=x") == address


def test_chained_address_is_refused() -> None:
    with pytest.raises(SpeechError, match="'::' must not be in an address"):
        fetch("s3://bucket/a::file:///etc/hostname")


def test_missing_package_of_a_store_names_the_extra(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def lacks(address: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lacks)
    with pytest.raises(SettingsError, match=r"hallo-cli\[far\]"):
        fetch("s3://bucket/a.wav")


def test_store_is_read_through_fsspec(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/a.wav", b"from a store")
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda address: (memory, address.removeprefix("s3:/")))
    assert fetch("s3://bucket/a.wav").read_bytes() == b"from a store"
    with pytest.raises(SpeechError, match="it does not exist"):
        fetch("s3://bucket/none.wav")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError("timed out"), "cannot be fetched: timed out"),
        (PermissionError("denied"), "cannot be fetched: access is denied"),
    ],
)
def test_store_that_breaks_while_it_is_read_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    import fsspec

    class Breaking(io.BytesIO):
        def read(self, *arguments: object) -> bytes:
            raise error

    memory = fsspec.filesystem("memory")
    memory.pipe("/bucket/b.wav", b"from a store")
    monkeypatch.setattr(memory, "open", lambda *arguments, **options: Breaking())
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda address: (memory, address.removeprefix("s3:/")))
    with pytest.raises(SpeechError, match=said):
        fetch("s3://bucket/b.wav")


def test_names_come_without_query() -> None:
    assert stem_of(f"https://host.example/faces/anna%20b.jpg?{SECRET}") == "anna b"
    assert stem_of("faces/anna.jpg") == "anna"
