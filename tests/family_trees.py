"""The published trees in small: their files, names and kinds, with random networks 8 channels wide."""

import dataclasses
import shutil
from pathlib import Path

import onnx
import torch
from analysis.test_identity import detector, recognition
from analysis.test_voice_network import separator
from safetensors.torch import load_file, save_file
from small_bundles import published_like, random_networks
from torch import Tensor

from hallo_cli.bundles.bundle import Bundle, read_bundle, tree_manifest
from hallo_cli.bundles.bundle_file import write_manifest
from hallo_cli.bundles.trees import Tree
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import Networks

SPEECH = Path(__file__).parent / "data" / "preprocessing"
FACE_BOX = (222.0, 101.0, 340.0, 219.0)  # of the example portrait, in the detector's 640 pixels
SMALL = published_like(
    face_embedding_dim=512,
    audio_blocks=3,  # those of the tiny wav2vec2
    audio_dim=48,
    locator_input="mask",
    noise="per_clip",
)


def small(tree: Tree) -> NetworkConfig:
    """The tree's configuration in small."""
    return dataclasses.replace(
        SMALL,
        shared_audio_attention=tree.networks.shared_audio_attention,
        motion_thinning=tree.networks.motion_thinning,
    )


def write_tree(tree: Tree, folder: Path) -> Bundle:
    """Write the files as they are published, and the description that a pull leaves beside them."""
    for path in tree.paths.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"stand-in")
    networks = random_networks(small(tree))
    torch.save(published_state(networks), folder / tree.paths["networks"])
    save_file(networks.vae.state_dict(), folder / tree.paths["vae"])
    speech = load_file(SPEECH / "w2v_tiny.safetensors")
    if tree.paths["speech"].endswith(".safetensors"):
        save_file(speech, folder / tree.paths["speech"])
    else:
        torch.save(
            {f"wav2vec2.{name}": value for name, value in speech.items()}, folder / tree.paths["speech"]
        )
    shutil.copyfile(SPEECH / "w2v_tiny_config.json", folder / tree.paths["speech_config"])
    onnx.save(detector(FACE_BOX), folder / tree.paths["face_detector"])
    onnx.save(recognition(), folder / tree.paths["identity"])
    onnx.save(separator(0.5), folder / tree.paths["vocals"])
    write_manifest(folder, dataclasses.replace(tree_manifest(tree, folder), networks=small(tree)))
    return read_bundle(folder)


def published_state(networks: Networks) -> dict[str, Tensor]:
    """What a net.pth holds: float16, no autoencoder."""
    return {
        prefix + name: value.half()
        for prefix, module in networks.by_prefix().items()
        for name, value in module.state_dict().items()
    }
