"""The encoder of takes from a bundle, or from the loose files that exist before there is a bundle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch

from hallo_cli.analysis.embedded_speech import EmbeddedEncoder
from hallo_cli.analysis.speech import SpeechEncoder, load_encoder, whole
from hallo_cli.bundles.bundle import find_bundle
from hallo_cli.domain import CONTROLS, Float
from hallo_cli.errors import SettingsError
from hallo_cli.models.autoencoder import Autoencoder, build_autoencoder
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import fill
from hallo_cli.store.digests import file_digest
from hallo_cli.training.init import read_network_config
from hallo_cli.training.take_encoder import SpeechFeatures, TakeEncoder


def bundle_encoder(name: str, *, device: str, dtype: torch.dtype) -> TakeEncoder:
    """From a bundle, which also says how pictures are framed. Raises HalloError."""
    bundle = find_bundle(name)
    manifest = bundle.manifest
    speech = EncoderFeatures(load_encoder(bundle), has_controls=manifest.speech.kind == "embedded")
    encoder = _encoder(manifest.networks, bundle.verified("vae"), speech, device, dtype)
    digest = file_digest(bundle.file("speech"))
    return dataclasses.replace(encoder, geometry=manifest.geometry, speech_digest=digest)


def file_encoder(network: Path, vae: Path, speech: Path, *, device: str, dtype: torch.dtype) -> TakeEncoder:
    """From a network configuration, autoencoder weights and SpeechNet weights. Raises HalloError."""
    for file in (vae, speech):
        if not file.is_file():
            raise SettingsError(f"{file} is missing")
    config = read_network_config(network)
    encoder = EmbeddedEncoder.load(speech, {})
    features = EncoderFeatures(encoder, has_controls=True)
    return dataclasses.replace(
        _encoder(config, vae, features, device, dtype), speech_digest=file_digest(speech)
    )


@dataclass(frozen=True)
class EncoderFeatures:
    """A speech encoder's features, as rendering computes them; see `SpeechFeatures`.

    The embedded encoder's last channels are the controls, which the takes say.
    """

    encoder: SpeechEncoder
    has_controls: bool

    @property
    def control_channel(self) -> int | None:
        """The first control's."""
        return self.encoder.width - len(CONTROLS) if self.has_controls else None

    def __call__(self, waveform: Float, n_frames: int) -> Float:
        """A whole recording -> [n_frames, blocks, width]."""
        return whole(self.encoder, waveform, n_frames)


def _encoder(
    config: NetworkConfig, vae: Path, speech: SpeechFeatures, device: str, dtype: torch.dtype
) -> TakeEncoder:
    autoencoder: Autoencoder = build_autoencoder(config).eval()
    fill({"": autoencoder}, vae, device=device, dtype=torch.float32)
    autoencoder.requires_grad_(False)
    return TakeEncoder(config, autoencoder, file_digest(vae), speech, device=device, dtype=dtype)
