"""Recordings are separated in pieces without a trace of the joins; what is missing is named.

audio-separator and its network are stood in for by a double with the library's calls, which halves. The slow
test has the library, where it is installed, and a network that changes nothing.
"""

import hashlib
import json
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
from hallo_cli.bundles.bundle_file import BundleManifest, SpeechConfig
from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.media.audio import Stretch
from hallo_cli.models.network_config import NetworkConfig


class HalvingSeparator:
    """Gives half the mixture as the voice; wants the command ffmpeg, as the library does."""

    def __init__(self, *, model_file_dir: str, **_: object) -> None:
        self.folder = Path(model_file_dir)
        self.check_ffmpeg_installed()

    def check_ffmpeg_installed(self) -> None:
        raise FileNotFoundError("ffmpeg")

    def load_model(self, name: str) -> None:
        lists = json.loads((self.folder / "download_checks.json").read_text())
        assert name in lists["mdx_download_list"].values()
        if (self.folder / name).read_bytes() != b"stand-in":
            raise KeyError("no parameters for this digest")
        self.model_instance = self

    def demix(self, mixture: np.ndarray) -> np.ndarray:
        assert mixture.shape[0] == 2
        assert np.abs(mixture).max() <= 0.901
        return mixture / 2


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path, BundleManifest("b", "1", "none", NetworkConfig(), {}))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "models"))
    for role in ("networks", "vocals", *vocals.PARAMETERS):
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


@pytest.mark.usefixtures("library")
def test_network_that_cannot_be_loaded_is_named(tmp_path: Path, bundle: Bundle, model: Path) -> None:
    model.write_bytes(b"broken")
    wavfile.write(tmp_path / "mixture.wav", 16_000, np.zeros(800, np.int16))
    with pytest.raises(
        WeightsError, match=r"Kim_Vocal_2\.onnx: audio-separator cannot load it .*no parameters"
    ):
        vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)


@pytest.mark.usefixtures("model", "library")
def test_loud_mixture_is_held_down_as_published(tmp_path: Path, bundle: Bundle) -> None:
    tone = np.sin(np.arange(16_000) / 20).astype(np.float32)
    wavfile.write(tmp_path / "mixture.wav", 16_000, tone)
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)
    assert np.abs(recording.read(200, 15_800) - 0.45 * tone[200:15_800]).max() < 4e-3


@pytest.mark.slow
def test_the_library_itself_gives_the_voice_as_loud_as_it_was(
    tmp_path: Path, bundle: Bundle, model: Path
) -> None:
    pytest.importorskip("audio_separator.separator")
    write_network_that_changes_nothing(model)
    tone = (0.3 * np.sin(np.arange(112_000) / 20)).astype(np.float32)
    wavfile.write(tmp_path / "mixture.wav", 16_000, tone)
    recording = vocals.separate(tmp_path / "mixture.wav", tmp_path / "voice.f32", bundle)
    # Versions before 0.41 multiply by the network's compensation; the network's windows blur the ends.
    assert np.abs(recording.read(8_000, 104_000) - tone[8_000:104_000]).max() < 0.3 * 0.02


def write_network_that_changes_nothing(model: Path) -> None:
    import onnx
    from onnx import helper

    shape = ["batch", 4, 3072, 256]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("input", "output")
    ]
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], "g", ends[:1], ends[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), model)
    parameters = {"compensate": 1.009, "mdx_dim_f_set": 3072, "mdx_dim_t_set": 8, "mdx_n_fft_scale_set": 7680}
    known = {hashlib.md5(model.read_bytes()).hexdigest(): {**parameters, "primary_stem": "Vocals"}}
    (model.parent / "mdx_model_data.json").write_text(json.dumps(known))
    (model.parent / "vr_model_data.json").write_text("{}")


def test_missing_network_is_named(tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_MODELS", str(tmp_path / "nothing"))
    with pytest.raises(WeightsError, match=r"Kim_Vocal_2\.onnx.*hallo models pull"):
        vocals.find_network(bundle)


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
