import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from certificates import make_certificate

from hallo_cli.errors import SettingsError
from hallo_cli.provenance.certificates import own_file, own_identity, read_identity


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def test_own_certificate_is_made_once(home: Path) -> None:
    first = own_identity()
    assert own_identity() == first
    assert first.name.startswith("signer ")


def test_own_key_is_for_its_owners_eyes(home: Path) -> None:
    own_identity()
    file = own_file()
    assert file is not None
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["signing.pem"]


def test_processes_that_begin_together_sign_with_one_certificate(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        digests = {one.digest for one in pool.map(lambda _: own_identity(), range(8))}
    assert len(digests) == 1


def test_certificate_that_cannot_be_kept_is_made_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert own_identity().algorithm == "ES256"
    assert own_identity() == own_identity()
    assert caplog.text.count("cannot be kept") == 1


@pytest.mark.parametrize(
    ("kind", "algorithm"), [("p256", "ES256"), ("p384", "ES384"), ("ed25519", "ED25519"), ("rsa", "PS256")]
)
def test_users_certificate_is_read(tmp_path: Path, kind: str, algorithm: str) -> None:
    identity = read_identity(make_certificate(tmp_path / "mine.pem", kind=kind))
    assert (identity.algorithm, identity.name) == (algorithm, "Example Films")


def test_what_is_no_certificate_is_told(tmp_path: Path) -> None:
    for content in (b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        (tmp_path / "mine.pem").write_bytes(content)
        with pytest.raises(SettingsError, match="Give a PEM file"):
            read_identity(tmp_path / "mine.pem")


def test_file_that_is_no_pem_is_told_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(SettingsError, match=r"cannot be used \(it holds no private key in PEM\)"):
        read_identity(tmp_path / "a.png")
    key = make_certificate(tmp_path / "mine.pem").read_text()
    (tmp_path / "key.pem").write_text(key.partition("-----BEGIN CERTIFICATE")[0])
    with pytest.raises(SettingsError, match=r"\(it holds no certificate in PEM\)"):
        read_identity(tmp_path / "key.pem")


def test_missing_certificate_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_identity(tmp_path / "gone.pem")


def test_expired_certificate_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="expired on 20"):
        read_identity(make_certificate(tmp_path / "old.pem", days=-1))


def test_key_of_another_certificate_is_told(tmp_path: Path) -> None:
    one = make_certificate(tmp_path / "one.pem").read_text()
    other = make_certificate(tmp_path / "other.pem").read_text()
    mixed = tmp_path / "mixed.pem"
    mixed.write_text(one[: one.index("-----BEGIN CERT")] + other[other.index("-----BEGIN CERT") :])
    with pytest.raises(SettingsError, match="does not belong to its key"):
        read_identity(mixed)
