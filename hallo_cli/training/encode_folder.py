"""Encodes a folder of take shards, each once, with a bundle's networks or with the files before there is one.

A run that was stopped goes on at its next shard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from hallo_cli.analysis.embedded_speech import EmbeddedEncoder
from hallo_cli.analysis.speech import SpeechEncoder, load_encoder, whole
from hallo_cli.bundles.bundle import find_bundle
from hallo_cli.domain import CONTROLS
from hallo_cli.errors import InputError, SettingsError
from hallo_cli.models.autoencoder import Autoencoder, build_autoencoder
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import fill
from hallo_cli.store.digests import file_digest
from hallo_cli.store.writing import make_folder
from hallo_cli.training.encoded_shards import read_origin, write_encoded
from hallo_cli.training.init import read_network_config
from hallo_cli.training.take_encoder import TakeEncoder
from hallo_cli.training.takes import Take, read_takes, shards_in


def bundle_encoder(name: str, *, device: str, dtype: torch.dtype) -> TakeEncoder:
    """The encoder of a bundle, which also says how pictures are framed. Raises HalloError."""
    bundle = find_bundle(name)
    manifest = bundle.manifest
    vae, speech = bundle.verified("vae"), load_encoder(bundle)
    return TakeEncoder(
        manifest.networks,
        _autoencoder(manifest.networks, vae, device),
        file_digest(vae),
        partial(whole, speech),
        control_channel=_first_control(speech) if manifest.speech.kind == "embedded" else None,
        geometry=manifest.geometry,
        device=device,
        dtype=dtype,
        speech_digest=file_digest(bundle.file("speech")),
    )


def file_encoder(network: Path, vae: Path, speech: Path, *, device: str, dtype: torch.dtype) -> TakeEncoder:
    """The encoder of a network configuration, autoencoder and SpeechNet weights. Raises HalloError."""
    for file in (vae, speech):
        if not file.is_file():
            raise SettingsError(f"{file} is missing")
    config, encoder = read_network_config(network), EmbeddedEncoder.load(speech, {})
    return TakeEncoder(
        config,
        _autoencoder(config, vae, device),
        file_digest(vae),
        partial(whole, encoder),
        control_channel=_first_control(encoder),
        device=device,
        dtype=dtype,
        speech_digest=file_digest(speech),
    )


@dataclass(frozen=True)
class EncodedShard:
    """Progress: one shard is done."""

    name: str
    done: int
    total: int
    was_there: bool


def encode_folder(
    takes_folder: Path, output: Path, make: Callable[[], TakeEncoder], *, part: tuple[int, int] = (0, 1)
) -> Iterator[EncodedShard]:
    """Encode every take shard that is not encoded yet; takes of the validation split go to OUTPUT/validation.

    part: (i, n) takes every n-th shard from the i-th, so that several processes can share the work. Raises
    InputError, also where a shard that is there was made from something else, and OutputError.
    """
    jobs = [_ShardJob(shard, output) for shard in shards_in(takes_folder)[part[0] :: part[1]]]
    encoder = make()
    for job in jobs:
        job.require_same_origin(encoder)
    for number, job in enumerate(jobs):
        is_done = job.is_done
        if not is_done:
            job.run(encoder)
        yield EncodedShard(job.shard.name, number + 1, len(jobs), is_done)


@dataclass(frozen=True)
class _ShardJob:
    """One shard of takes and the encoded shards that it becomes."""

    shard: Path
    output: Path

    @property
    def targets(self) -> dict[str, Path]:
        """By split, in the order of writing."""
        name = f"{self.shard.stem}.safetensors"
        return {"validation": self.output / "validation" / name, "train": self.output / name}

    @property
    def is_done(self) -> bool:
        """The part for training comes last: alone, the other is all only where nothing is for training."""
        if self.targets["train"].exists():
            return True
        is_begun = self.targets["validation"].exists()
        return is_begun and all(take.info.split == "validation" for take in read_takes(self.shard))

    def require_same_origin(self, encoder: TakeEncoder) -> None:
        """Raises InputError if a file that would be kept was made from something else."""
        for target in self.targets.values():
            noted = read_origin(target) if target.exists() else {}
            now = self._origin(encoder) if noted else {}
            other = [name for name, value in noted.items() if now.get(name, value) != value]
            if other:
                raise InputError(
                    f"{target} was encoded with another {' and another '.join(other)}: choose another "
                    "folder, or remove it to encode it again"
                )

    def run(self, encoder: TakeEncoder) -> None:
        """Encode the shard and write what it becomes."""
        by_split: Mapping[str, list[Take]] = {split: [] for split in self.targets}
        for take in read_takes(self.shard):
            by_split[take.info.split].append(take)
        for split, target in self.targets.items():
            if by_split[split]:
                make_folder(target.parent)
                write_encoded(target, *encoder.shard(by_split[split]), origin=self._origin(encoder))

    def _origin(self, encoder: TakeEncoder) -> dict[str, str]:
        return {"shard of takes": file_digest(self.shard), **encoder.origin}


def _autoencoder(config: NetworkConfig, weights: Path, device: str) -> Autoencoder:
    autoencoder = build_autoencoder(config).eval()
    fill({"": autoencoder}, weights, device=device, dtype=torch.float32)
    return autoencoder


def _first_control(encoder: SpeechEncoder) -> int:
    """The embedded encoder's last channels are the controls."""
    return encoder.width - len(CONTROLS)
