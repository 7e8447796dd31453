"""Recordings are separated in pieces without a trace of the joins; what is missing is named.

audio-separator and its network are stood in for by a double with the library's two calls, which halves.
"""

import sys
import types
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from hallo_cli.analysis import vocals
from hallo_cli.bundles.bundle import Bundle
from hallo_cli.bundles.manifest import BundleManifest, SpeechConfig
from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.media.audio import Stretch
from hallo_cli.models.network_config import NetworkConfig


class HalvingSeparator:
    """Gives half the mixture as the voice; nothing where it is silent."""

    def __init__(self, *, output_dir: str, output_single_stem: str, **_: object) -> None:
        self.folder = Path(output_dir)
        self.stem = output_single_stem

    def load_model(self, name: str) -> None:
        assert name == "Kim_Vocal_2.onnx"

    def separate(self, file: str) -> list[str]:
        rate, samples = wavfile.read(file)
        if not samples.any():
            return []
        name = f"{Path(file).stem}_({self.stem})_Kim_Vocal_2.wav"
        wavfile.write(self.folder / name, rate, (samples // 2).astype(np.int16))
        return [name]


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path, BundleManifest("b", "1", "none", NetworkConfig(), {}))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "models"))
    for role in ("networks", *vocals.ROLES):
        file = tmp_path / "models" / "official" / OFFICIAL.paths[role]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"stand-in")
    return tmp_path / "models" / "official" / OFFICIAL.paths["vocals"]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = types.ModuleType("audio_separator"), types.ModuleType("audio_separator.separator")
    package.__spec__ = ModuleSpec("audio_separator", None)
    module.Separator = HalvingSeparator
    monkeypatch.setitem(sys.modules, "audio_separator", package)
    monkeypatch.setitem(sys.modules, "audio_separator.separator", module)


@pytest.mark.usefixtures("model", "library")
def test_pieces_join_into_the_whole_voice(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocals, "PIECE_S", 2)
    tone = (0.5 * np.sin(np.arange(112_000) / 20)).astype(np.float32)
    wavfile.write(tmp_path / "mixture.wav", 16_000, tone)
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)
    assert recording.n_samples == len(tone)
    # Sixteen bits and two changes of rate in between.
    assert np.abs(recording.read(200, 111_800) - 0.5 * tone[200:111_800]).max() < 2e-3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mixture.wav", "models", "voice.f32"]


@pytest.mark.usefixtures("model", "library")
def test_silence_has_a_silent_voice(tmp_path: Path, bundle: Bundle) -> None:
    wavfile.write(tmp_path / "mixture.wav", 16_000, np.zeros(8000, np.int16))
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)
    assert not recording.read(0, 8000).any()


@pytest.mark.usefixtures("model", "library")
def test_only_the_asked_stretch_is_separated(tmp_path: Path, bundle: Bundle) -> None:
    tone = (0.5 * np.sin(np.arange(48_000) / 20)).astype(np.float32)
    wavfile.write(tmp_path / "mixture.wav", 16_000, tone)
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle, Stretch(1.0, 1.5))
    assert recording.n_samples == 24_000
    assert np.abs(recording.read(200, 23_800) - 0.5 * tone[16_200:39_800]).max() < 2e-3


@pytest.mark.usefixtures("model")
def test_missing_package_is_named(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "audio_separator", None)
    wavfile.write(tmp_path / "mixture.wav", 16_000, np.zeros(800, np.int16))
    with pytest.raises(SettingsError, match=r"hallo-cli\[vocals\].*--no-separate-vocals"):
        vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)


def test_missing_network_is_named(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "nothing"))
    with pytest.raises(WeightsError, match=r"Kim_Vocal_2\.onnx.*hallo models pull"):
        vocals.find_model(bundle)


def test_bundles_made_for_pieces_have_them_separated_apart(bundle: Bundle) -> None:
    assert vocals.Cut.of(bundle) == vocals.Cut(600 * 16_000, 16_000)
    apart = replace(bundle, manifest=replace(bundle.manifest, speech=SpeechConfig(piece_s=60.0)))
    assert vocals.Cut.of(apart) == vocals.Cut(60 * 16_000, 0)


@pytest.mark.usefixtures("model", "library")
def test_pieces_without_overlap_join_end_to_end(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = replace(bundle, manifest=replace(bundle.manifest, speech=SpeechConfig(piece_s=2.0)))
    tone = (0.5 * np.sin(np.arange(80_000) / 20)).astype(np.float32)
    wavfile.write(tmp_path / "mixture.wav", 16_000, tone)
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", apart)
    assert recording.n_samples == len(tone)
    inside = np.r_[200:31_800, 32_200:63_800, 64_200:79_800]  # the change of rate blurs the pieces' ends
    assert np.abs(recording.read(0, 80_000) - 0.5 * tone)[inside].max() < 2e-3
