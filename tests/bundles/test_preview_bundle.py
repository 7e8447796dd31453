from pathlib import Path

import pytest
import torch

import hallo_cli
from hallo_cli.bundles.bundle import Bundle, find_bundle
from hallo_cli.bundles.networks import load_networks
from hallo_cli.training.init import read_network_config

PACKAGE = Path(hallo_cli.__file__).parent


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return find_bundle("embedded")


def test_it_is_small_enough_to_ship(bundle: Bundle) -> None:
    assert sum(path.stat().st_size for path in bundle.path.iterdir()) <= 28e6


def test_every_file_is_whole(bundle: Bundle) -> None:
    assert {bundle.verified(role).name for role in bundle.manifest.files} == {
        "networks.safetensors",
        "vae.safetensors",
        "speech.safetensors",
    }


def test_its_networks_are_those_of_the_recipe(bundle: Bundle) -> None:
    recipe = read_network_config(PACKAGE / "workshop" / "recipes" / "preview_network.toml")
    assert bundle.manifest.networks == recipe


def test_its_weights_are_finite_and_trained(bundle: Bundle) -> None:
    networks = load_networks(bundle, device="cpu", dtype=torch.float32)
    values = [value for value in networks.denoising_unet.state_dict().values() if value.is_floating_point()]
    assert all(value.isfinite().all() for value in values)
    assert networks.denoising_unet.conv_out.weight.abs().max() > 0  # zero before the first step


def test_the_model_card_and_the_notice_name_the_data(bundle: Bundle) -> None:
    card = (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    notice = (PACKAGE / "NOTICE").read_text(encoding="utf-8")
    for text in (card, notice):
        assert "synthetic heads" in text
        assert "EfficientNet-lite0" in text
    assert "@" not in card  # no placeholder left
