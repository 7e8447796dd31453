"""Identity is measured with the official weights' networks where they are installed, or with named ones."""

import logging
from pathlib import Path

import onnx
import pytest
from analysis.test_identity import detector, recognition

from hallo_cli.analysis.of_bundle import find_identity
from hallo_cli.errors import WeightsError


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like that of the official weights, with tiny face networks, where weights are looked for."""
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path))
    faces = tmp_path / "face_analysis" / "models"
    faces.mkdir(parents=True)
    onnx.save(detector((222, 101, 340, 219)), faces / "scrfd_10g_bnkps.onnx")
    onnx.save(recognition(), faces / "glintr100.onnx")
    (tmp_path / "hallo").mkdir()
    (tmp_path / "hallo" / "net.pth").touch()
    return tmp_path


def test_installed_official_networks_are_taken_without_being_named(official: Path) -> None:
    assert find_identity(None) is not None


def test_folder_can_be_named(
    official: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path_factory.mktemp("empty")))
    assert find_identity(None) is None
    assert find_identity(str(official)) is not None


def test_official_weights_in_part_are_told_of_and_refused_where_they_are_named(
    official: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (official / "face_analysis" / "models" / "glintr100.onnx").unlink()
    with caplog.at_level(logging.WARNING, "hallo_cli"):
        assert find_identity(None) is None
    assert "glintr100.onnx" in caplog.text
    with pytest.raises(WeightsError, match=r"glintr100\.onnx"):
        find_identity("official")


def test_bundle_without_face_networks_is_refused(official: Path) -> None:
    with pytest.raises(WeightsError, match="no file for 'face_detector'"):
        find_identity("embedded")
