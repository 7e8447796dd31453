"""Recordings are separated in pieces without a trace of the joins; what is missing is named.

The network is a small one that halves.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from analysis.test_voice_network import separator
from scipy.io import wavfile

from hallo_cli.analysis import vocals
from hallo_cli.analysis.voice_network import COMPENSATION
from hallo_cli.bundles.bundle import Bundle
from hallo_cli.bundles.bundle_file import BundleManifest, SpeechConfig
from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.errors import WeightsError
from hallo_cli.media.sound_track import Stretch
from hallo_cli.models.network_config import NetworkConfig


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path, BundleManifest("b", "1", "none", NetworkConfig(), {}))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "models"))
    networks, file = (tmp_path / "models" / "official" / OFFICIAL.paths[r] for r in ("networks", "vocals"))
    for path in (networks, file):
        path.parent.mkdir(parents=True)
    networks.write_bytes(b"stand-in")
    onnx.save(separator(0.5 / COMPENSATION), file)
    return file


@pytest.mark.usefixtures("model")
def test_pieces_join_into_the_whole_voice(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocals, "PIECE_S", 2)
    tone = (0.5 * np.sin(np.arange(112_000) / 20)).astype(np.float32)
    wavfile.write(tmp_path / "mixture.wav", 16_000, tone)
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)
    assert recording.n_samples == len(tone)
    # Sixteen bits and two changes of rate in between; abrupt ends hold frequencies that are left out.
    assert np.abs(recording.read(200, 111_800) - 0.5 * tone[200:111_800]).max() < 8e-3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mixture.wav", "models", "voice.f32"]


@pytest.mark.usefixtures("model")
def test_silence_has_a_silent_voice(tmp_path: Path, bundle: Bundle) -> None:
    wavfile.write(tmp_path / "mixture.wav", 16_000, np.zeros(8000, np.int16))
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)
    assert not recording.read(0, 8000).any()


@pytest.mark.usefixtures("model")
def test_only_the_asked_stretch_is_separated(tmp_path: Path, bundle: Bundle) -> None:
    tone = (0.5 * np.sin(np.arange(48_000) / 20)).astype(np.float32)
    wavfile.write(tmp_path / "mixture.wav", 16_000, tone)
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle, Stretch(1.0, 1.5))
    assert recording.n_samples == 24_000
    assert np.abs(recording.read(200, 23_800) - 0.5 * tone[16_200:39_800]).max() < 8e-3


def test_network_that_cannot_be_loaded_is_named(tmp_path: Path, bundle: Bundle, model: Path) -> None:
    model.write_bytes(b"broken")
    wavfile.write(tmp_path / "mixture.wav", 16_000, np.zeros(800, np.int16))
    with pytest.raises(WeightsError, match=r"Kim_Vocal_2\.onnx: the voice cannot be separated with it"):
        vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)


@pytest.mark.usefixtures("model")
def test_loud_mixture_is_held_down_as_published(tmp_path: Path, bundle: Bundle) -> None:
    tone = np.sin(np.arange(16_000) / 20).astype(np.float32)
    wavfile.write(tmp_path / "mixture.wav", 16_000, tone)
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)
    assert np.abs(recording.read(200, 15_800) - 0.45 * tone[200:15_800]).max() < 15e-3


def test_missing_network_is_named(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "nothing"))
    with pytest.raises(WeightsError, match=r"Kim_Vocal_2\.onnx.*hallo models pull"):
        vocals.find_network(bundle)


def test_bundles_made_for_pieces_have_them_separated_apart(bundle: Bundle) -> None:
    assert vocals.Cut.of(bundle) == vocals.Cut(600 * 16_000, 16_000)
    apart = replace(bundle, manifest=replace(bundle.manifest, speech=SpeechConfig(piece_s=60.0)))
    assert vocals.Cut.of(apart) == vocals.Cut(60 * 16_000, 0)


@pytest.mark.usefixtures("model")
def test_pieces_without_overlap_join_end_to_end(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = replace(bundle, manifest=replace(bundle.manifest, speech=SpeechConfig(piece_s=2.0)))
    tone = (0.5 * np.sin(np.arange(80_000) / 20)).astype(np.float32)
    wavfile.write(tmp_path / "mixture.wav", 16_000, tone)
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", apart)
    assert recording.n_samples == len(tone)
    inside = np.r_[200:31_800, 32_200:63_800, 64_200:79_800]  # the change of rate blurs the pieces' ends
    assert np.abs(recording.read(0, 80_000) - 0.5 * tone)[inside].max() < 8e-3
