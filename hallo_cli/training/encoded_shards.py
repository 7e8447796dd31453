"""Encoded shards: what the trainer reads, made once from takes, one memory-mapped safetensors file a shard.

All takes of a shard lie behind each other along the first axis; `starts` says where each begins. Tensors:

    latents            f16 [frames, channels, height, width]   the mean, scaled as the UNets see it
    latents_spread     f16 the same shape                      its spread; stochastic autoencoders only
    reference          f16 [takes, channels, height, width]    latents of the portrait
    reference_pixels   u8  [takes, size, size, 3]              where the face locator sees the portrait
    grey               f16 [channels, height, width]           latents of a grey picture
    audio              f16 [frames + 2 * context * takes, blocks, width]
    masks.LEVEL        f16 [takes, 3, height, width]           full, face, lip attention
    own_reference      bool [takes]                            has a portrait; else any frame serves
    boxes              f32 [takes, 3, 4]                       locator rectangle, face, lips: 0..1
    identity           f32 [takes, width]                      optional
    truth.NAME         f16 [frames, ...]                       optional

A file also says what it was made from (`read_origin`); older ones do not.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hallo_cli.errors import InputError, SettingsError
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.tensor_file import write_tensors
from hallo_cli.store.binding import bind
from hallo_cli.training.takes import shards_in

FORMAT = 1
REQUIRED = ("latents", "reference", "own_reference", "grey", "audio", "boxes", "starts", "masks.0")


@dataclass(frozen=True)
class EncodedFormat:
    """What all shards of a folder have in common."""

    latent_shape: tuple[int, int, int]  # channels, height, width
    image_size: int
    audio_blocks: int
    audio_dim: int
    levels: int  # of attention masks
    vae: str  # digest of the autoencoder that made the latents
    context: int = 2  # frames of audio features before and after a take
    fps: float = 25.0
    format: int = FORMAT


@dataclass(frozen=True)
class EncodedTake:
    """Views of one take's tensors."""

    shard: Mapping[str, Tensor]
    index: int  # in the shard
    start: int  # first frame's row
    stop: int
    context: int
    file: str  # the shard's name, for messages

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.stop - self.start

    def frames(self, name: str, rows: Tensor) -> Tensor:
        """Rows (frame numbers within the take) of a per-frame tensor."""
        return self.shard[name][self.start + rows]

    def of_take(self, name: str) -> Tensor:
        """The take's row of a per-take tensor."""
        return self.shard[name][self.index]

    def audio_windows(self, rows: Tensor, width: int) -> Tensor:
        """Features around the frames `rows`: [rows, width, blocks, channels]."""
        first = self.start + 2 * self.context * self.index + self.context - width // 2
        return self.shard["audio"][first + rows[:, None] + torch.arange(width)]


def write_encoded(
    path: Path,
    tensors: Mapping[str, Tensor],
    header: EncodedFormat,
    *,
    origin: Mapping[str, str] | None = None,
) -> None:
    """Write one shard, whole or not at all; `origin` says what it was made from. Raises OutputError."""
    metadata = {"hallo": json.dumps(asdict(header)), "made_from": json.dumps(dict(origin or {}))}
    write_tensors(path, tensors, metadata)


def read_origin(path: Path) -> dict[str, str]:
    """What an encoded shard was made from; empty where it does not say. Raises InputError."""
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get("made_from", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}): remove it") from error
    return found if isinstance(found, dict) else {}


def read_encoded(folder: Path, network: NetworkConfig) -> list[EncodedTake]:
    """All takes of a folder of encoded shards, memory-mapped.

    Raises InputError if shards do not match, SettingsError if these networks cannot be trained with them.
    """
    opened = [(path, *_open(path)) for path in shards_in(folder, ".safetensors")]
    _, header, _ = opened[0]
    takes = []
    for path, other, tensors in opened:
        if other != header:
            raise InputError(
                f"{path} was encoded differently from the shards before it: encode them together"
            )
        for index, (start, stop) in enumerate(itertools.pairwise(tensors["starts"].tolist())):
            takes.append(EncodedTake(tensors, index, start, stop, header.context, path.name))
    _require_fit(folder, header, network)
    return takes


def _require_fit(folder: Path, header: EncodedFormat, network: NetworkConfig) -> None:
    pairs = {
        "channels of latents": (header.latent_shape[0], network.latent_channels),
        "layers of audio features": (header.audio_blocks, network.audio_blocks),
        "audio features": (header.audio_dim, network.audio_dim),
        "levels of masks": (header.levels, network.levels),
    }
    for what, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise SettingsError(
                f"{folder} holds {ours} {what}, the networks take {theirs}: encode the takes with "
                "this model's files"
            )


def _open(path: Path) -> tuple[EncodedFormat, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            header = bind(EncodedFormat, json.loads((file.metadata() or {}).get("hallo", "")))
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a whole safetensors file ({error}): encode it again") from error
    except ValueError as error:
        raise InputError(f"{path} is not an encoded shard ({error}): run hallo train encode again") from error
    if header.format != FORMAT:
        raise InputError(f"{path} has format {header.format}, this program reads {FORMAT}: encode it again")
    missing = [name for name in REQUIRED if name not in tensors]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: run hallo train encode again")
    _check(path, header, tensors)
    return header, tensors


def _check(path: Path, header: EncodedFormat, tensors: Mapping[str, Any]) -> None:
    starts = tensors["starts"].tolist()
    n_takes, n_frames = len(starts) - 1, starts[-1]
    expected = {
        "latents": (n_frames, *header.latent_shape),
        "reference": (n_takes, *tensors["reference"].shape[1:2], *header.latent_shape[1:]),
        "audio": (n_frames + 2 * header.context * n_takes, header.audio_blocks, header.audio_dim),
        "boxes": (n_takes, 3, 4),
        "own_reference": (n_takes,),
    }
    wrong = [name for name, shape in expected.items() if tuple(tensors[name].shape) != shape]
    if wrong or starts[0] != 0 or any(a >= b for a, b in itertools.pairwise(starts)):
        raise InputError(f"{path}: {', '.join(wrong) or 'starts'} does not fit its header: encode it again")
