"""The training forward pass against the reference implementation, in all its drop cases."""

import json
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hallo_cli.models.conditioners import AudioProjection, FaceLocator, ImageProjection
from hallo_cli.models.denoising_unet import DenoisingUNet
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.reference_unet import ReferenceUNet
from hallo_cli.training.forward import Conditions, TrainedNetworks
from hallo_cli.training.objective import Drops

FOLDER = Path(__file__).parent.parent / "data" / "golden" / "pipeline"
GOLDEN = load_file(FOLDER / "training.safetensors")
PARAMS = json.loads((FOLDER / "golden.json").read_text())
QUIET_ENDS = ("to_out.0.weight", "ff.net.2.weight", "conv2.weight", "proj_out.weight")


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    seed = crc32(f"{PARAMS['params']['seed']}:{name}".encode())
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def parameter(name: str, shape: tuple[int, ...]) -> Tensor:
    numbers = draw(name, shape)
    if len(shape) == 1:
        return torch.from_numpy(1 + 0.1 * numbers if name.endswith("weight") else 0.1 * numbers)
    is_last = name.endswith("conv_out.weight") and "locator" not in name
    gain = 0.4 if name.endswith(QUIET_ENDS) or "zero_conv" in name or is_last else 1.0
    return torch.from_numpy(numbers * np.float32(gain / np.sqrt(np.prod(shape[1:]))))


def config() -> NetworkConfig:
    params, audio = PARAMS["params"], PARAMS["params"]["aud"]
    return NetworkConfig(
        channels=tuple(params["ch"]),
        cross_dim=params["cross"],
        audio_dim=audio["channels"],
        audio_hidden=audio["intermediate_dim"],
        audio_tokens=audio["context_tokens"],
        audio_token_dim=audio["output_dim"],
        vae=PARAMS["vae"],
        round_features=False,
    )


class NetworksDouble:
    """The attributes of `Networks` that training reads."""

    def __init__(self, network: NetworkConfig) -> None:
        self.config = network
        self.reference_unet = ReferenceUNet(network)
        self.denoising_unet = DenoisingUNet(network)
        self.face_locator = FaceLocator(network)
        self.image_projection = ImageProjection(network)
        self.audio_projection = AudioProjection(network)


@pytest.fixture(scope="module")
def networks() -> TrainedNetworks:
    trained = TrainedNetworks(NetworksDouble(config()))  # type: ignore[arg-type]
    with torch.no_grad():
        for name, value in trained.named_parameters():
            value.copy_(parameter(name, tuple(value.shape)))
    return trained


def conditions(*, image: bool, audio: bool) -> Conditions:
    def read(name: str, *shape: int) -> Tensor:
        return torch.from_numpy(draw(f"train.{name}", shape))

    masks = tuple(
        torch.stack(
            [read(f"{region}{level}", 8, (16 >> level) ** 2).sigmoid() for region in ("full", "face", "lip")],
            -1,
        )
        for level in range(4)
    )
    nothing = torch.zeros(2, dtype=torch.bool)
    return Conditions(
        pictures=read("ref", 6, 4, 16, 16).unflatten(0, (2, 3)),
        located=(read("mask", 2, 3, 4, 128, 128) > 0).float().transpose(1, 2).flatten(0, 1),
        located_rows=torch.arange(8),
        masks=masks,
        n_frames=4,
        drops=Drops(0 if image else 2, nothing, nothing if audio else ~nothing, nothing),
        identity=read("face_emb", 2, 512),
        audio=read("audio", 2, 4, 5, 12, 16).flatten(0, 1),
    )


@pytest.mark.parametrize(
    ("case", "image", "audio"),
    [
        ("conditional", True, True),
        ("no_image", False, True),
        ("no_audio", True, False),
        ("neither", False, False),
    ],
)
def test_prediction_equals_the_reference(
    networks: TrainedNetworks, case: str, image: bool, audio: bool
) -> None:
    noisy = torch.from_numpy(draw("train.noisy", (2, 4, 4, 16, 16))).transpose(1, 2).flatten(0, 1)
    timesteps = torch.tensor([37, 870]).repeat_interleave(4)
    with torch.no_grad():
        ours = networks(noisy, timesteps, conditions(image=image, audio=audio))
    ours = ours.unflatten(0, (2, 4)).transpose(1, 2)
    # fp32 in another order of operations; the predictions' standard deviation is about 0.24
    torch.testing.assert_close(ours, GOLDEN[f"prediction.{case}"], atol=1e-4, rtol=0)
