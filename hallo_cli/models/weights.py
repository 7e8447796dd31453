"""Weights files to networks and back: strict both ways, memory-mapped, never unpickling anything but tensors.

The networks' parameters have the published names, so that loading is the identity but for the few rules
below. The published files hold what is never used; the bundles that `save_bundle` writes do not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hallo_cli.errors import WeightsError, first_line
from hallo_cli.models.autoencoder import Autoencoder, build_autoencoder
from hallo_cli.models.conditioners import AudioProjection, FaceLocator, ImageProjection
from hallo_cli.models.denoising_unet import DenoisingUNet
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.reference_unet import ReferenceUNet
from hallo_cli.models.tensor_file import map_tensors, write_tensors

CONVERTED_SHARE = 0.1  # of the bytes that are mapped at a time while they are converted
CONVERTED_BYTES = 1 << 24  # a smaller portion is not worth mapping the file again
NAMES_SHOWN = 3
FILLING = (Tensor.uniform_, Tensor.normal_, Tensor.fill_, Tensor.zero_)


# Keys in files of published weights that the networks lack: a pattern of the whole name, and the reason.
IGNORED = {
    r"denoising_unet\.(down_blocks\.3|up_blocks\.0)\.motion_modules\..+": (
        "the code path that the weights were trained and are sampled with never runs these motion modules"
    ),
    r"reference_unet\.up_blocks\.3\.attentions\.2\."
    r"(proj_out|transformer_blocks\.0\.(attn1|attn2|norm2|norm3|ff))\..+": (
        "comes behind the last feature that is read from the reference UNet"
    ),
}
# Names of the autoencoder's attention in diffusers before 0.18.
RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True)
class Networks:
    """Everything that a render runs, except the analysis of portrait and speech."""

    config: NetworkConfig
    reference_unet: ReferenceUNet
    denoising_unet: DenoisingUNet
    face_locator: FaceLocator
    image_projection: ImageProjection | None  # None in models without identity tokens
    audio_projection: AudioProjection
    vae: Autoencoder

    def by_prefix(self) -> dict[str, nn.Module]:
        """The networks of the "networks" file, by the prefix of their keys."""
        modules = {
            "reference_unet.": self.reference_unet,
            "denoising_unet.": self.denoising_unet,
            "face_locator.": self.face_locator,
            "imageproj.": self.image_projection,
            "audioproj.": self.audio_projection,
        }
        return {prefix: module for prefix, module in modules.items() if module is not None}


def initial_networks(config: NetworkConfig) -> Networks:
    """The networks as torch initialises them, on its default device; none of them learns."""
    networks = Networks(
        config,
        ReferenceUNet(config),
        DenoisingUNet(config),
        FaceLocator(config),
        ImageProjection(config) if config.identity_tokens else None,
        AudioProjection(config),
        build_autoencoder(config),
    )
    for module in (*networks.by_prefix().values(), networks.vae):
        module.eval().requires_grad_(False)
    return networks


def build_networks(config: NetworkConfig) -> Networks:
    """The networks without weights (on the meta device): shapes only, at no cost. Raises WeightsError."""
    try:
        with torch.device("meta"), _Unfilled():
            return initial_networks(config)
    except Exception as error:  # diffusers raises anything at numbers that contradict each other
        raise WeightsError(
            f"network config: no networks can be built from it ({first_line(error)})."
        ) from error


def fill(
    modules: Mapping[str, nn.Module], path: Path, *, device: torch.device | str, dtype: torch.dtype
) -> None:
    """Give modules on the meta device the weights of a .safetensors or torch file, by key prefix.

    Every weight of the modules must be in the file with its shape, and every key of the file must be theirs
    or fall under one of the rules. Raises WeightsError.
    """
    tensors = map_tensors(path)
    names = _match(path, tensors, _state(modules))
    loaded: dict[str, Tensor] = {}
    for number, keys in enumerate(_portions(tensors, list(names))):
        if number:
            tensors = map_tensors(path)  # anew for every portion: pages that were read do not pile up
        for key in keys:
            loaded[names[key]] = _converted(tensors[key], device, dtype)
    for prefix, module in modules.items():
        own = {name: loaded[prefix + name] for name in module.state_dict()}
        module.load_state_dict(own, strict=True, assign=True)
        module.requires_grad_(False)


def check_fit(modules: Mapping[str, nn.Module], path: Path) -> None:
    """Compare a file's keys and shapes with the modules, reading no weights. Raises WeightsError."""
    _match(path, map_tensors(path), _state(modules))


def write_weights(path: Path, modules: Mapping[str, nn.Module], dtype: torch.dtype) -> None:
    """Write the modules' weights as one .safetensors file, their keys with the modules' prefixes."""
    write_tensors(path, {name: _converted(tensor, "cpu", dtype) for name, tensor in _state(modules).items()})


def ignored_reason(key: str) -> str | None:
    """Why a key of the published file is not loaded; None if no rule says so."""
    return next((reason for pattern, reason in IGNORED.items() if re.fullmatch(pattern, key)), None)


class _Unfilled(TorchFunctionMode):
    """New parameters get no first values: on the meta device these cost a second and torch's compiler."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        given = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init" or func in FILLING:
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def _state(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        prefix + name: value
        for prefix, module in modules.items()
        for name, value in module.state_dict().items()
    }


def _match(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, str]:
    """Keys of the file -> names of the weights, complete and of the right shapes."""
    kinds = {key: _kind_of(tensor) for key, tensor in tensors.items()}
    found: dict[str, str] = {}
    names: dict[str, str] = {}
    unexpected = []
    for key, kind in kinds.items():
        name = key if key in expected else _renamed(key)
        if name in expected and name not in found:
            names[key], found[name] = name, kind
        elif ignored_reason(key) is None:
            unexpected.append(key)
    missing = [name for name in expected if name not in found]
    misshapen = [
        f"{name} {found[name]} instead of {_kind_of(value)}"
        for name, value in expected.items()
        if name in found and found[name] != _kind_of(value)
    ]
    wrong = [
        _some("missing", missing),
        _some("unexpected", unexpected),
        _some("of another shape", misshapen),
    ]
    if any(wrong):
        raise WeightsError(
            f"{path}: does not fit the networks: {'; '.join(filter(None, wrong))}. "
            "It belongs to another model: fetch or convert the bundle again."
        )
    return names


def _kind_of(tensor: Tensor) -> str:
    """What must be the same in a file and a network: the shape, and whether the numbers are real ones."""
    kind = (
        "" if tensor.is_floating_point() else " of whole numbers" if not tensor.is_complex() else " complex"
    )
    return f"{list(tensor.shape)[:8]}{kind}"


def _renamed(key: str) -> str:
    old = rf"(?<=\.attentions\.0\.)({'|'.join(RENAMED)})(?=\..)"
    return re.sub(old, lambda found: RENAMED[found[0]], key)


def _some(what: str, names: list[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    shown = ", ".join(name[:200] for name in names[:NAMES_SHOWN])
    return f"{what} {shown}{more}" if names else ""


def _portions(tensors: Mapping[str, Tensor], keys: list[str]) -> list[list[str]]:
    """The keys in portions of about CONVERTED_SHARE of their bytes."""
    sizes = {key: tensors[key].nbytes for key in keys}
    limit = max(CONVERTED_BYTES, CONVERTED_SHARE * sum(sizes.values()))
    portions: list[list[str]] = []
    portion: list[str] = []
    n_bytes = 0
    for key in keys:
        portion.append(key)
        n_bytes += sizes[key]
        if n_bytes > limit:
            portions.append(portion)
            portion, n_bytes = [], 0
    return [*portions, portion]


def _converted(tensor: Tensor, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    return tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
