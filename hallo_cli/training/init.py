"""The networks before the first step: new ones, or those of published files, a bundle or another run."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hallo_cli.bundles.bundle import find_bundle
from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.models.network_config import Compat, NetworkConfig
from hallo_cli.models.tensor_file import map_tensors
from hallo_cli.models.weights import Networks, fill, ignored_reason, initial_networks
from hallo_cli.training.checkpoint import RunFolder
from hallo_cli.training.config import StartSettings

ADDED = (".audio_modules.", ".motion_modules.")  # what Hallo adds to Stable Diffusion's UNet
FIRST_STAGE = ("reference_unet", "denoising_unet", "face_locator", "imageproj")  # files of its result


def read_network_config(path: Path, compat: Compat = "sane") -> NetworkConfig:
    """A NetworkConfig from a TOML or JSON file, `compat` where it says none. Raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"start.network: {path} cannot be read ({error})") from error
    try:
        return NetworkConfig.from_dict({"compat": compat, **values})
    except WeightsError as error:
        raise SettingsError(f"start.network: {path}: {error}") from error


def network_config(start: StartSettings) -> NetworkConfig:
    """The configuration that a run's start names. Raises SettingsError if it names none."""
    if start.network is not None:
        return read_network_config(start.network, start.compat)
    if start.run is not None:
        return RunFolder(start.run).network()
    if start.bundle is not None:
        return find_bundle(start.bundle).manifest.networks
    if start.official is not None or start.stage1 is not None:
        return NetworkConfig.official()
    if start.sd15 is not None:
        return dataclasses.replace(NetworkConfig.official(), compat=start.compat)
    raise SettingsError("start names no networks: give start.network, bundle, run, official, stage1 or sd15")


def start_networks(start: StartSettings, *, seed: int) -> Networks:
    """All networks on the CPU in float32 as the run begins. Raises SettingsError or WeightsError."""
    is_grafted = start.sd15 is not None or start.stage1 is not None
    networks = new_networks(network_config(start), seed=seed, is_grafted=is_grafted)
    if start.sd15 is not None:
        load_stable_diffusion(networks, start.sd15)
    if start.stage1 is not None:
        load_first_stage(networks, start.stage1)
    if start.official is not None:
        fill(networks.by_prefix(), start.official, device="cpu", dtype=torch.float32)
    if start.bundle is not None:
        bundle = find_bundle(start.bundle)
        fill(networks.by_prefix(), bundle.verified("networks"), device="cpu", dtype=torch.float32)
        fill({"": networks.vae}, bundle.verified("vae"), device="cpu", dtype=torch.float32)
    if start.run is not None:
        load_run(networks, start.run)
    if start.motion is not None:
        load_animatediff(networks, start.motion)
    if start.vae is not None:
        fill({"": networks.vae}, start.vae, device="cpu", dtype=torch.float32)
    return networks


def new_networks(config: NetworkConfig, *, seed: int, is_grafted: bool = False) -> Networks:
    """Networks with new weights, the same for the same seed.

    What is added to a network begins silent: the motion modules always, and where the rest is pretrained
    (`is_grafted`) the audio attention and the face locator too, as in the paper's zero convolutions.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = initial_networks(config)
    silent: list[nn.Module] = [networks.denoising_unet.conv_out]
    if config.control_channel is not None:
        silent.append(networks.face_locator.controls[-1])
    for name, module in networks.denoising_unet.named_modules():
        if name.endswith(".temporal_transformer.proj_out") or (is_grafted and ".zero_conv_" in name):
            silent.append(module)
    for module in (*silent, *([networks.face_locator.conv_out] if is_grafted else [])):
        for value in module.parameters():
            nn.init.zeros_(value)
    return networks


def load_stable_diffusion(networks: Networks, path: Path) -> None:
    """Stable Diffusion 1.5's UNet into both UNets, wherever they have its layers. Raises WeightsError."""
    tensors = map_tensors(path)
    for unet in (networks.reference_unet, networks.denoising_unet):
        names = [name for name in unet.state_dict() if not any(part in name for part in ADDED)]
        _copy(unet, names, tensors, path)


def load_animatediff(networks: Networks, path: Path) -> None:
    """AnimateDiff's motion modules (mm_sd_v15_v2) into the denoising UNet. Raises WeightsError."""
    tensors = map_tensors(path)
    unet = networks.denoising_unet
    names = [name for name in unet.state_dict() if ".motion_modules." in name]
    unknown = [key for key in tensors if key not in names and ignored_reason(f"denoising_unet.{key}") is None]
    if unknown:
        raise WeightsError(
            f"{path}: {unknown[0]} belongs to no motion module of this model: give mm_sd_v15_v2"
        )
    _copy(unet, names, tensors, path)


def load_first_stage(networks: Networks, folder: Path) -> None:
    """The four files of the published first stage: all but audio and motion modules. Raises WeightsError."""
    modules = {prefix.rstrip("."): module for prefix, module in networks.by_prefix().items()}
    for name in FIRST_STAGE:
        module = modules.get(name)
        if module is None:
            raise WeightsError(f"{folder}: these networks have no {name}, so they cannot begin with it")
        path = _first_stage_file(folder, name)
        tensors = map_tensors(path)
        own = [key for key in module.state_dict() if not any(part in key for part in ADDED)]
        unknown = [key for key in tensors if key not in own and ignored_reason(f"{name}.{key}") is None]
        if unknown:
            raise WeightsError(f"{path}: {unknown[0]} belongs to no {name} of this model")
        _copy(module, own, tensors, path)


def _first_stage_file(folder: Path, name: str) -> Path:
    """NAME.pth, or the newest of NAME-STEP.pth as training leaves them."""
    if (whole := folder / f"{name}.pth").is_file():
        return whole
    steps = {
        int(path.stem.rpartition("-")[2]): path
        for path in folder.glob(f"{name}-*.pth")
        if path.stem.rpartition("-")[2].isdecimal()
    }
    if not steps:
        raise WeightsError(
            f"{folder}: neither {name}.pth nor {name}-STEP.pth; name the folder of a published first stage"
        )
    return steps[max(steps)]


def load_run(networks: Networks, output: Path) -> None:
    """The last checkpoint of another run, averaged weights where it kept them. Raises WeightsError."""
    tensors = RunFolder(output).weights()
    for prefix, module in networks.by_prefix().items():
        own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        _copy(module, list(module.state_dict()), own, RunFolder(output).latest() or output)


def _copy(module: nn.Module, names: list[str], tensors: Mapping[str, Tensor], path: Path) -> None:
    state = module.state_dict()
    missing = [name for name in names if name not in tensors]
    if missing:
        raise WeightsError(
            f"{path}: lacks {missing[0]} and {len(missing) - 1} more: it is for other networks"
        )
    for name in names:
        if tensors[name].shape != state[name].shape:
            have, want = list(tensors[name].shape), list(state[name].shape)
            raise WeightsError(
                f"{path}: {name} is {have}, the networks need {want}: it is for other networks"
            )
        state[name].copy_(tensors[name])
