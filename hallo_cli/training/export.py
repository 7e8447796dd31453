"""A run's weights for others: a bundle that renders, or a state dict that the published program loads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hallo_cli.bundles.bundle import Bundle, find_bundle
from hallo_cli.bundles.bundle_file import BundleManifest, Geometry, Sampling, SpeechConfig
from hallo_cli.bundles.networks import save_bundle
from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.models.motion_module import MotionModule, position_codes
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.spatial import FeatureTap, SpatialTransformer
from hallo_cli.models.tensor_file import map_tensors
from hallo_cli.models.weights import Networks
from hallo_cli.store.writing import make_folder, replacing
from hallo_cli.training.checkpoint import RunFolder
from hallo_cli.training.config import StartSettings
from hallo_cli.training.forward import TrainedNetworks
from hallo_cli.training.init import start_networks

SAMPLED_WITH = {"noise", "round_features", "image_size"}  # no weight knows of these
MADE_HERE = {"networks", "vae"}  # roles; the other files of a base are taken as they are


@dataclass(frozen=True)
class BundleOptions:
    """What a bundle says of itself, and what it takes from elsewhere."""

    name: str
    licence: str = "unknown"
    base: str | None = None  # bundle whose speech encoder, geometry and (without `vae`) autoencoder it uses
    vae: Path | None = None
    speech: Path | None = None  # weights of the embedded speech encoder, where there is no base
    steps: int | None = None  # that rendering takes by default; None: the base's, else the published
    guidance: float | None = None  # likewise
    # runs of the same networks: the mean of all their weights (arXiv 2203.05482)
    average: tuple[Path, ...] = ()
    audio_gain: float = 1.0  # how much louder the audio attention is than it was trained


def export_bundle(run: Path, output: Path, options: BundleOptions, *, dtype: torch.dtype) -> Bundle:
    """Write the run's last checkpoint (averaged weights where it has them) as a bundle. Raises HalloError."""
    base = None if options.base is None else find_bundle(options.base)
    if base is None and (options.vae is None or options.speech is None):
        raise SettingsError("a bundle needs --base, or --vae and --speech together")
    vae = options.vae
    if vae is None:
        assert base is not None
        vae = base.verified("vae")
    networks = _averaged([run, *options.average], vae)
    _amplify(networks, options.audio_gain)
    copied: dict[str, Path] = {}
    if base is not None:
        copied = {role: base.verified(role) for role in base.manifest.files if role not in MADE_HERE}
    if options.speech is not None:
        copied["speech"] = options.speech
    return save_bundle(output, networks, _manifest(options, networks, base), dtype=dtype, copied=copied)


def _averaged(runs: Sequence[Path], vae: Path) -> Networks:
    """Networks with the mean of the runs' weights. Raises SettingsError if the runs' networks differ."""
    networks = start_networks(StartSettings(run=runs[0], vae=vae), seed=0)
    for run in runs[1:]:
        if RunFolder(run).network() != networks.config:
            raise SettingsError(
                f"{run} trained other networks than {runs[0]}: only equal ones can be averaged"
            )
    first, *others = (RunFolder(run).weights() for run in runs)
    shapes = {name: value.shape for name, value in first.items()}
    for run, one in zip(runs[1:], others, strict=True):
        if {name: value.shape for name, value in one.items()} != shapes:
            raise WeightsError(f"{RunFolder(run).latest()}: does not hold the weights of its networks")
    mean = {name: torch.stack([first[name], *(one[name] for one in others)]).mean(0) for name in first}
    TrainedNetworks(networks).load_state_dict(mean)
    return networks


def _amplify(networks: Networks, gain: float) -> None:
    """Scale what the audio attention adds: the same as rendering with all three region weights at `gain`.

    Small networks move less than what they learn from; this gives some of it back without a second pass for
    guidance.
    """
    for name, value in networks.denoising_unet.named_parameters():
        if ".zero_conv_" in name:
            value.mul_(gain)


def _manifest(options: BundleOptions, networks: Networks, base: Bundle | None) -> BundleManifest:
    speech = SpeechConfig("embedded") if options.speech is not None or base is None else base.manifest.speech
    return BundleManifest(
        name=options.name,
        version="1",
        licence=options.licence,
        networks=networks.config,
        files={} if base is None else base.manifest.files,
        speech=speech,
        geometry=Geometry() if base is None else base.manifest.geometry,
        sampling=_sampling(options, base),
    )


def _sampling(options: BundleOptions, base: Bundle | None) -> Sampling:
    start = Sampling() if base is None else base.manifest.sampling
    given = {name: getattr(options, name) for name in ("steps", "guidance")}
    return dataclasses.replace(start, **{name: value for name, value in given.items() if value is not None})


def export_official(run: Path, output: Path, *, dead: Path | None = None, dtype: torch.dtype) -> Path:
    """Write the run's weights as the published program's net.pth: a plain state dict of 2656 tensors.

    The published file also holds weights that are never used (`models.weights.IGNORED`). They are copied from
    `dead`, another net.pth, or else made up: the published program insists on them but computes nothing with
    them. Raises SettingsError if the published program could not run the networks.
    """
    folder = RunFolder(run)
    _require_published(folder.network(), run)
    weights = {name: value.to(dtype) for name, value in folder.weights().items()}
    unused = unused_weights() if dead is None else _unused_of(dead, weights)
    weights |= {name: value.to(dtype) for name, value in unused.items()}
    make_folder(output.parent)
    with replacing(output) as file:
        torch.save(dict(sorted(weights.items())), file)
    return output


def unused_weights() -> dict[str, Tensor]:
    """The tensors of the published net.pth that nothing reads, as zeros (position codes as they are)."""
    shapes = unused_shapes()
    return {
        name: position_codes(shape[1], shape[2]) if name.endswith(".pe") else torch.zeros(shape)
        for name, shape in shapes.items()
    }


def unused_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of those tensors: motion modules of two blocks, the end of the reference UNet."""
    config = NetworkConfig.official()
    coarse, fine = config.channels[-1], config.channels[0]
    with torch.device("meta"):
        motion = MotionModule(coarse, config).state_dict()
        last = SpatialTransformer(fine, config).state_dict()
        read = FeatureTap(fine, config).state_dict()
    n_layers = {"down_blocks.3": config.layers_per_block, "up_blocks.0": config.layers_per_block + 1}
    unused = {
        f"denoising_unet.{block}.motion_modules.{layer}.": motion
        for block, n in n_layers.items()
        for layer in range(n)
    }
    tail = {name: value for name, value in last.items() if name not in read}
    unused["reference_unet.up_blocks.3.attentions.2."] = tail
    return {
        prefix + name: tuple(value.shape) for prefix, state in unused.items() for name, value in state.items()
    }


def _unused_of(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    tensors = map_tensors(path)
    shapes = unused_shapes()
    missing = [name for name in shapes if name not in tensors or name in weights]
    if missing:
        raise WeightsError(f"{path} lacks {missing[0]}: it is not a net.pth of the published size")
    return {name: tensors[name] for name in shapes}


def _require_published(config: NetworkConfig, run: Path) -> None:
    """What only sampling uses may differ; all else the published program takes for granted."""
    official = NetworkConfig.official()
    names = {item.name for item in dataclasses.fields(config)} - SAMPLED_WITH
    other = sorted(name for name in names if getattr(config, name) != getattr(official, name))
    if other:
        raise SettingsError(
            f"{run}: the published program cannot run these networks ({', '.join(other)} differ), so no "
            "net.pth can hold them; get a bundle without --official, or train with start.compat = 'official'"
        )
