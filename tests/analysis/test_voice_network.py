"""The separation network sees the published spectra; what it says of them comes back as sound."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from hallo_cli.analysis import voice_network
from hallo_cli.analysis.voice_network import COMPENSATION, SPECTRUM, VoiceNetwork
from hallo_cli.domain import Float
from hallo_cli.errors import DeviceMemoryError, WeightsError

LEFT, RIGHT = (1.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 1.0)


def separator(*factors: float, shape: tuple[int, ...] = SPECTRUM) -> onnx.ModelProto:
    """A network with Kim_Vocal_2's ends, which multiplies each of the four channels by a factor."""
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])
        for name in ("input", "output")
    ]
    values = np.array(factors or (1.0,), np.float32).reshape(1, -1, 1, 1)
    node = helper.make_node("Mul", ["input", "factors"], ["output"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [numpy_helper.from_array(values, "factors")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def network(folder: Path, *factors: float) -> VoiceNetwork:
    onnx.save(separator(*factors), folder / "Kim_Vocal_2.onnx")
    return VoiceNetwork(folder / "Kim_Vocal_2.onnx")


def tones(*hertz: float, n_samples: int = 600_000) -> Float:
    """A sum of tones, the same on both sides."""
    times = np.arange(n_samples) / 44_100
    tone = sum(0.2 * np.sin(2 * np.pi * f * times) for f in hertz)
    return np.stack([tone, tone]).astype(np.float32)


def test_parts_fade_into_the_whole_voice(tmp_path: Path) -> None:
    mixture = tones(440, 3000)
    voice = network(tmp_path, 0.5).voice(mixture)
    assert voice.shape == mixture.shape
    assert voice.dtype == np.float32
    # The ends lie beside silence, whose edge holds frequencies that are left out.
    np.testing.assert_allclose(voice[:, 9000:-9000], 0.5 * COMPENSATION * mixture[:, 9000:-9000], atol=2e-4)


def test_short_sound_keeps_its_length(tmp_path: Path) -> None:
    assert network(tmp_path).voice(tones(440, n_samples=5)).shape == (2, 5)


def test_frequencies_that_the_network_does_not_see_are_left_out(tmp_path: Path) -> None:
    heard = network(tmp_path).voice(tones(5, 440, 19_000))[:, 9000:-9000]
    np.testing.assert_allclose(heard, COMPENSATION * tones(440)[:, 9000:-9000], atol=3e-3)


@pytest.mark.parametrize(("factors", "side"), [(LEFT, 0), (RIGHT, 1)])
def test_sides_are_two_channels_each(tmp_path: Path, factors: tuple[float, ...], side: int) -> None:
    voice = network(tmp_path, *factors).voice(tones(440))
    assert np.abs(voice[side]).max() > 0.1
    assert not voice[1 - side].any()


def test_other_networks_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.onnx"
    onnx.save(separator(shape=(4, 2048, 256)), file)
    with pytest.raises(WeightsError, match=r"other\.onnx: another network than Kim_Vocal_2"):
        VoiceNetwork(file)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("Failed to allocate memory for requested buffer of size 67")]
)
def test_lack_of_memory_is_not_told_as_broken_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(voice_network.onnxruntime, "InferenceSession", fail)
    with pytest.raises(DeviceMemoryError, match="out of memory while the voice was separated"):
        VoiceNetwork(tmp_path / "Kim_Vocal_2.onnx")
