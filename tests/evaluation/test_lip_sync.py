"""SyncNet's figures: the network's shapes with random weights, the search for the offset in a known case."""

from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation.talking import portrait_crop

from hallo_cli.analysis.face import CHIN, FOREHEAD, FaceAnalyser
from hallo_cli.domain import Bytes, Float
from hallo_cli.errors import WeightsError
from hallo_cli.evaluation.lip_sync import cepstra, face_squares, lip_sync, summary
from hallo_cli.evaluation.syncnet import SyncNet, load_syncnet

# Cepstra of a chirp's first and sixth step by python_speech_features 0.6, which the published program uses.
FIRST = [
    *(18.187, 28.329, 17.904, 7.640, -3.659, -14.352, -21.247),
    *(-24.831, -23.658, -19.340, -12.451, -5.847, -0.266),
]
SIXTH = [
    *(19.590, 23.275, -0.603, -22.920, -34.035, -28.673, -9.513),
    *(10.555, 21.667, 18.809, 7.159, -6.228, -13.379),
]


@pytest.fixture(scope="module")
def network() -> SyncNet:
    torch.manual_seed(0)
    return SyncNet().eval().requires_grad_(False)


def test_windows_become_embeddings(network: SyncNet) -> None:
    assert network.hear(torch.randn(2, 1, 13, 20)).shape == (2, 1024)
    assert network.see(torch.rand(3, 6, 224, 224)).shape == (2, 1024)


def test_frames_embedded_together_equal_frames_embedded_apart(network: SyncNet) -> None:
    frames = torch.rand(3, 6, 224, 224) * 255
    together = network.see(frames)
    assert (together[1] - network.see(frames[:, 1:])[0]).abs().max() < 1e-4 * together.abs().max()


def test_weights_of_the_published_layout_are_read(network: SyncNet, tmp_path: Path) -> None:
    file = tmp_path / "syncnet_v2.model"
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(state, file, _use_new_zipfile_serialization=False)  # as torch wrote files in 2018
    read = load_syncnet(file)
    assert torch.equal(read.netfclip[3].weight, network.netfclip[3].weight)
    assert not read.training


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1", b"", b"PK\x03\x04 cut"])
def test_file_that_holds_no_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "syncnet_v2.model").write_bytes(content)
    with pytest.raises(WeightsError, match="Fetch https:"):
        load_syncnet(tmp_path / "syncnet_v2.model")


def test_missing_and_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        load_syncnet(tmp_path / "gone")
    torch.save({"netcnnaud.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "part")
    with pytest.raises(WeightsError, match="does not fit"):
        load_syncnet(tmp_path / "part")
    torch.save(Path("code"), tmp_path / "object")
    with pytest.raises(WeightsError, match="not SyncNet's weights"):
        load_syncnet(tmp_path / "object")


def test_cepstra_are_those_the_network_was_trained_with() -> None:
    time = np.arange(1600) / 16_000
    chirp = np.round(8000 * np.sin(2 * np.pi * (200 + 3000 * time) * time)) / 32767
    found = cepstra(chirp.astype(np.float32))
    assert found.shape == (13, 9)
    assert found[:, 0] == pytest.approx(FIRST, abs=2e-3)
    assert found[:, 5] == pytest.approx(SIXTH, abs=2e-3)


class LoudnessNetwork:
    """Sees in a frame's grey level what it hears in the sound's energy."""

    def see(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, :-4].mean((0, 2, 3))[:, None] / 10

    def hear(self, windows: torch.Tensor) -> torch.Tensor:
        return windows[:, 0, 0, :4].mean(1, keepdim=True)


def loud_and_bright(lag: int, n_frames: int = 90) -> tuple[list[Bytes], Float]:
    """Noise of a random level in every frame, and frames as bright as it is loud, `lag` frames late."""
    rng = np.random.default_rng(0)
    level = np.exp(rng.uniform(-6, -1, n_frames))
    noise = rng.standard_normal(n_frames * 640) * np.repeat(level, 640) * 0.3
    energy = cepstra(noise.astype(np.float32))[0]
    grey = [10 * energy[4 * i : 4 * i + 4].mean() for i in range(n_frames - 1)]
    shown = np.roll(np.array([*grey, grey[-1]]), lag).round()
    return [np.full((8, 8, 3), value, np.uint8) for value in shown], noise.astype(np.float32)


@pytest.mark.parametrize("lag", [-7, 0, 3])
def test_offset_is_found_with_its_sign(lag: int) -> None:
    squares, waveform = loud_and_bright(lag)
    found = lip_sync(LoudnessNetwork(), squares, waveform, n_frames=len(squares))
    assert found.syncnet_offset == lag
    assert found.sync_d < 2  # the recording's ends count as nothing, as published
    assert found.sync_c > 1


def test_other_sound_has_a_larger_distance_and_less_confidence() -> None:
    squares, waveform = loud_and_bright(0)
    right = lip_sync(LoudnessNetwork(), squares, waveform, n_frames=len(squares))
    wrong = lip_sync(LoudnessNetwork(), squares, waveform[::-1].copy(), n_frames=len(squares))
    assert wrong.sync_d > 2 * right.sync_d
    assert wrong.sync_c < right.sync_c


def test_figures_are_median_less_minimum_and_minimum() -> None:
    distances = np.full(31, 10.0)
    distances[12] = 7.0
    found = summary(distances)
    assert (found.sync_c, found.sync_d, found.syncnet_offset) == (3.0, 7.0, 3)


def test_too_short_a_video_has_no_figures() -> None:
    squares, waveform = loud_and_bright(0)
    assert lip_sync(LoudnessNetwork(), squares[:5], waveform, n_frames=5) is None
    assert lip_sync(LoudnessNetwork(), squares, waveform[:3000], n_frames=len(squares)) is None


@pytest.fixture(scope="module")
def picture() -> Bytes:
    return np.pad(portrait_crop(), ((80, 80), (80, 80), (0, 0)), mode="edge")


@pytest.mark.parametrize("n_frames", [1, 9])
def test_face_lies_in_every_square_as_published(picture: Bytes, n_frames: int) -> None:
    analyser = FaceAnalyser()
    squares = list(face_squares([picture] * n_frames, analyser))
    assert [square.shape for square in squares] == [(224, 224, 3)] * n_frames
    landmarks = analyser.detect(squares[-1])[0].landmarks
    # The box ends at the chin; below it the square goes on by 0.8 of half its side.
    assert landmarks[CHIN, 1] == pytest.approx(224 * 2 / 2.8, abs=8)
    assert landmarks[FOREHEAD, 1] == pytest.approx(0, abs=14)
