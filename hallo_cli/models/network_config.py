"""The size and the conventions of a set of networks, as one value.

The official networks, the small ones of the tests and the embedded preview model are the same classes built
from different `NetworkConfig`s. This module knows no torch and reads no files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hallo_cli.errors import WeightsError
from hallo_cli.store.binding import bind, plain

Compat = Literal["official", "sane"]
MAX_COUNT = 64  # no number of levels or of layers in a block comes near it
VAE_STAGES = "block_out_channels"  # of AutoencoderKL: one width a resolution
ANCHORED_FACTOR = 8  # pixels that one cell of an anchored autoencoder's latents spans
MAX_WIDTH = 8192  # no channel count, token count or size of a network in use comes near it


def _official_vae() -> dict[str, Any]:
    return {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "norm_num_groups": 32,
        "act_fn": "silu",
        "sample_size": 256,
    }


@dataclass(frozen=True)
class NetworkConfig:
    """Everything needed to build the networks and to feed them as they were trained.

    The defaults are the official model's (Stable Diffusion 1.5 widths, 512 x 512 pixels, clips of 16).
    Raises WeightsError if values contradict each other.
    """

    # the two UNets
    channels: tuple[int, ...] = (320, 640, 1280, 1280)  # per level, finest first
    layers_per_block: int = 2  # down path; the up path has one more
    heads: int = 8
    norm_groups: int = 32
    attention_levels: tuple[bool, ...] = (True, True, True, False)  # spatial and audio attention
    motion_levels: tuple[bool, ...] = (True, True, True, True)
    latent_channels: int = 4
    # conditioning
    cross_dim: int = 768  # width of an identity token
    identity_tokens: int = 4  # 0: no identity projection, and no attn2 in the spatial blocks
    face_embedding_dim: int = 512
    audio_window: int = 5  # frames of features seen by one frame, centred
    audio_blocks: int = 12
    audio_dim: int = 768
    audio_hidden: int = 512
    audio_tokens: int = 32
    audio_token_dim: int = 768
    shared_audio_attention: bool = False  # one attention serves full, face and lip alike
    locator_channels: tuple[int, ...] = (16, 32, 64, 128)  # each step to the next halves the picture
    # time
    clip_frames: int = 16
    motion_frames: int = 2
    max_temporal: int = 32  # positions known to the motion modules: motion frames + clip frames
    # pixels and latents
    image_size: int = 512  # height and width the networks were trained at
    vae_kind: Literal["kl", "anchored"] = "kl"  # diffusers' AutoencoderKL, or models/anchored.py
    vae: Mapping[str, Any] = field(default_factory=_official_vae)  # that class's own configuration
    latent_scale: float = 0.18215
    locator_input: Literal["mask", "portrait"] = "mask"  # portrait: the picture with the region tinted
    control_channel: int | None = None  # first of the audio features that are analysis.head_motion's controls
    # sampling
    compat: Compat = "official"  # which behaviour the weights were trained with (models/compat.py)
    round_features: bool = True  # reference features pass through float16 (officially always)
    noise: Literal["per_clip", "per_job"] = "per_clip"  # per_job: one noise shared by all frames
    motion_thinning: float = 0.0  # share of the motion frames' pixels outside the face that are greyed

    def __post_init__(self) -> None:
        object.__setattr__(self, "vae", {name: _frozen(value) for name, value in self.vae.items()})
        _check_widths(self)
        _check_conventions(self)

    @property
    def levels(self) -> int:
        """Number of resolutions of the UNets."""
        return len(self.channels)

    @property
    def is_anchored(self) -> bool:
        """Whether latents say how a frame differs from the portrait (`models.anchored`)."""
        return self.vae_kind == "anchored"

    @property
    def reference_channels(self) -> int:
        """Channels that the reference UNet reads: latents, of anchored models the portrait's features too."""
        return self.latent_channels + (self.vae["coarse"] if self.is_anchored else 0)

    @property
    def locator_factor(self) -> int:
        """How many pixels one cell of the face locator's output spans."""
        return int(2 ** (len(self.locator_channels) - 1))

    @property
    def latent_factor(self) -> int:
        """How many pixels one cell of the latents spans."""
        if self.is_anchored:
            return ANCHORED_FACTOR
        return int(2 ** (len(self.vae[VAE_STAGES]) - 1))

    @classmethod
    def official(cls) -> NetworkConfig:
        """The published model."""
        return cls()

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and tables, as TOML and JSON hold them; None is left out."""
        tables: dict[str, Any] = plain(self)
        return tables

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkConfig:
        """The inverse of `to_dict`. Raises WeightsError at an unknown key or a value of the wrong kind."""
        try:
            return bind(cls, values)
        except ValueError as error:
            raise WeightsError(
                f"network config: {error}. Update the program or fetch the bundle again."
            ) from error


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, tuple | list) else value


def _require(is_right: bool, message: str) -> None:
    if not is_right:
        raise WeightsError(f"network config: {message}")


def _check_widths(config: NetworkConfig) -> None:
    levels = config.levels
    _require(levels >= 1, "channels is empty; name the width of at least one level")
    counts = {"channels": levels, "layers_per_block": config.layers_per_block, "vae": _most(config.vae)}
    for name, count in counts.items():
        _require(count <= MAX_COUNT, f"{name} asks for {count} levels or layers, of at most {MAX_COUNT}")
    for name in ("attention_levels", "motion_levels"):
        _require(
            len(getattr(config, name)) == levels, f"{name} needs {levels} values, one a level like channels"
        )
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        numbers = value if isinstance(value, tuple) else (value,)
        sized = all(0 <= n <= MAX_WIDTH * 8 for n in numbers if isinstance(n, int | float))
        _require(sized, f"{item.name} = {repr(value)[:100]} is out of range")
    _require(config.heads >= 1 and config.norm_groups >= 1, "heads and norm_groups must be at least 1")
    for width in config.channels:
        _require(
            width > 0 and width % config.heads == 0,
            f"channels {width} is not a multiple of {config.heads} heads",
        )
        _require(
            width % config.norm_groups == 0,
            f"channels {width} is not a multiple of norm_groups {config.norm_groups}",
        )


def _most(vae: Mapping[str, Any]) -> int:
    """The most blocks or layers that the autoencoder's configuration asks for in one place."""
    lists = [value for value in vae.values() if isinstance(value, tuple)]
    counts = [value for name, value in vae.items() if name.startswith(("num_", "layers_"))]
    counts += [count for value in counts if isinstance(value, tuple) for count in value]
    return max([0, *map(len, lists), *(count for count in counts if type(count) is int)])


def _check_conventions(config: NetworkConfig) -> None:
    _require(config.layers_per_block >= 1, "layers_per_block must be at least 1")
    _require(config.clip_frames >= 1, "clip_frames must be at least 1")
    _require(config.audio_window % 2 == 1, f"audio_window {config.audio_window} must be odd")
    frames = config.clip_frames + config.motion_frames
    _require(
        frames <= config.max_temporal,
        f"{frames} motion and clip frames exceed max_temporal {config.max_temporal}",
    )
    _require(config.latent_scale > 0, "latent_scale must be above 0")
    _require(0 <= config.motion_thinning <= 1, f"motion_thinning {config.motion_thinning} must be 0 to 1")
    _require(
        not (config.motion_thinning and config.is_anchored),
        "motion_thinning greys pixels, which the motion frames of anchored autoencoders are not; leave it 0",
    )
    if config.control_channel is not None:
        _require(
            0 <= config.control_channel < config.audio_dim,
            f"control_channel {config.control_channel} is none of {config.audio_dim} audio features",
        )
    if config.is_anchored:
        for name in ("latent_channels", "fine", "coarse", "paint"):
            _require(_is_width(config.vae.get(name)), f"vae.{name} must be a whole number of channels")
    else:
        has_stages = len(config.vae.get(VAE_STAGES, ())) > 0
        _require(has_stages, f"vae has no {VAE_STAGES}; it needs one width a resolution")
    _require(
        config.locator_factor == config.latent_factor,
        f"the face locator shrinks {config.locator_factor} times, the autoencoder {config.latent_factor}",
    )


def _is_width(value: Any) -> bool:
    return type(value) is int and 0 < value <= MAX_WIDTH
