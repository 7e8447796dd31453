"""The weights a run begins with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from training.toy import KL_NETWORK, NETWORK, write_network

from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.training.config import StartSettings
from hallo_cli.training.init import ADDED, network_config, new_networks, start_networks


def test_new_networks_are_a_function_of_the_seed() -> None:
    ours, theirs, others = (
        new_networks(NETWORK, seed=seed).denoising_unet.state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not torch.equal(ours["conv_in.weight"], others["conv_in.weight"])


def test_new_networks_predict_nothing_at_first() -> None:
    assert not new_networks(NETWORK, seed=0).denoising_unet.conv_out.weight.any()


def test_grafted_networks_begin_silent() -> None:
    state = new_networks(NETWORK, seed=0, is_grafted=True).denoising_unet.state_dict()
    silent = [name for name in state if ".zero_conv_" in name or ".temporal_transformer.proj_out" in name]
    assert silent
    assert not any(state[name].any() for name in silent)


def test_published_parts_are_grafted_where_they_belong(tmp_path: Path) -> None:
    donor = new_networks(KL_NETWORK, seed=7).denoising_unet.state_dict()
    plain = {name: value for name, value in donor.items() if not any(part in name for part in ADDED)}
    motion = {name: value for name, value in donor.items() if ".motion_modules." in name}
    save_file(plain, tmp_path / "unet.safetensors")
    save_file(motion, tmp_path / "motion.safetensors")
    start = StartSettings(
        network=write_network(tmp_path, KL_NETWORK),
        sd15=tmp_path / "unet.safetensors",
        motion=tmp_path / "motion.safetensors",
    )
    networks = start_networks(start, seed=0)
    state = networks.denoising_unet.state_dict()
    assert all(torch.equal(state[name], value) for name, value in (plain | motion).items())
    reference = networks.reference_unet.state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in reference.items())


def test_motion_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_file({"some.motion_modules.0.weight": torch.zeros(1)}, tmp_path / "motion.safetensors")
    start = StartSettings(network=write_network(tmp_path), motion=tmp_path / "motion.safetensors")
    with pytest.raises(WeightsError, match="belongs to no motion module"):
        start_networks(start, seed=0)


def test_new_networks_have_no_quirks_unless_asked_for(tmp_path: Path) -> None:
    silent = NETWORK.to_dict()
    del silent["compat"]
    (tmp_path / "silent.json").write_text(json.dumps(silent))
    for start in (StartSettings(network=tmp_path / "silent.json"), StartSettings(sd15=tmp_path / "unet")):
        assert network_config(start).compat == "sane"
        assert network_config(replace(start, compat="official")).compat == "official"
    assert network_config(StartSettings(official=tmp_path / "net.pth")).compat == "official"


def test_a_start_that_names_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match="start names no networks"):
        start_networks(StartSettings(), seed=0)


def first_stage(folder: Path, *, step: str = "") -> dict[str, dict[str, torch.Tensor]]:
    """The four files of a published first stage of toy networks with identity tokens."""
    networks = new_networks(WITH_IDENTITY, seed=7)
    files = {}
    for prefix, module in networks.by_prefix().items():
        state = {k: v for k, v in module.state_dict().items() if not any(part in k for part in ADDED)}
        if prefix != "audioproj.":
            files[prefix.rstrip(".")] = {k: torch.randn_like(v) for k, v in state.items()}
    folder.mkdir(exist_ok=True)
    for name, state in files.items():
        torch.save(state, folder / f"{name}{step}.pth")
    return files


WITH_IDENTITY = replace(NETWORK, identity_tokens=2, cross_dim=8, face_embedding_dim=8)


@pytest.mark.parametrize("step", ["", "-2000"])
def test_second_stage_begins_with_the_published_first_stages_files(tmp_path: Path, step: str) -> None:
    first_stage(tmp_path / "stage1", step="-500")
    files = first_stage(tmp_path / "stage1", step=step)
    start = StartSettings(network=write_network(tmp_path, WITH_IDENTITY), stage1=tmp_path / "stage1")
    networks = start_networks(start, seed=0)
    for prefix, module in networks.by_prefix().items():
        own = files.get(prefix.rstrip("."), {})
        assert all(torch.equal(module.state_dict()[name], value) for name, value in own.items())
    added = [name for name in networks.denoising_unet.state_dict() if ".zero_conv_" in name]
    assert not any(networks.denoising_unet.state_dict()[name].any() for name in added)


def test_incomplete_first_stage_is_named(tmp_path: Path) -> None:
    first_stage(tmp_path / "stage1")
    start = StartSettings(network=write_network(tmp_path, WITH_IDENTITY), stage1=tmp_path / "stage1")
    torch.save({"conv_in.weight": torch.zeros(1)}, tmp_path / "stage1" / "reference_unet.pth")
    with pytest.raises(WeightsError, match=r"reference_unet\.pth"):
        start_networks(start, seed=0)
    (tmp_path / "stage1" / "reference_unet.pth").unlink()
    with pytest.raises(WeightsError, match=r"neither reference_unet\.pth nor reference_unet-STEP\.pth"):
        start_networks(start, seed=0)
