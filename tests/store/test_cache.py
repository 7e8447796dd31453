"""A user without a home goes without a cache, and everything else works."""

from pathlib import Path

import pytest

from hallo_cli.bundles import bundle
from hallo_cli.errors import SettingsError
from hallo_cli.jobs import forecast
from hallo_cli.provenance.certificates import own_identity
from hallo_cli.store import digests
from hallo_cli.store.cache import at_home, cache_path, config_path


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with HOME unset and no entry in the list of users, such as a container's --user 12345."""
    for name in ("HOME", "HALLO_CACHE", "HALLO_MODELS", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)


def test_paths_follow_the_environment_and_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_CACHE", "/c")
    assert cache_path("a", "b") == Path("/c/a/b")
    monkeypatch.delenv("HALLO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_path("a") == Path("/x/hallo/a")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert cache_path() == Path("/h/.cache/hallo")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_nothing_is_cached_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "WORTH_REMEMBERING", 0)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"content")
    assert cache_path("x") is config_path("x") is None
    assert len(digests.file_digest(tmp_path / "file")) == 64
    assert forecast.read_speeds() == {}
    assert bundle.find_bundle("embedded").manifest.name
    assert [name for name, _ in bundle.list_bundles()] == ["embedded"]
    assert own_identity() == own_identity()
    assert at_home(Path("~/x")) == Path("~/x")
    with pytest.raises(SettingsError, match="HALLO_MODELS"):
        bundle.named_folder("new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("place", ["/proc/none", "/dev/null/x"])
def test_cache_that_cannot_be_written_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("HALLO_CACHE", place)
    monkeypatch.setattr(digests, "WORTH_REMEMBERING", 0)
    (tmp_path / "file").write_bytes(b"content")
    assert len(digests.file_digest(tmp_path / "file")) == 64
    forecast.remember(forecast.Workload("weights", "cpu", "float32", 64, 1.0), 1.0)
    assert forecast.read_speeds() == {}
