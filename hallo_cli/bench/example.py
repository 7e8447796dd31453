"""What a bench times: a bundle, or networks of a known configuration with random weights, and the example."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hallo_cli.analysis.identity import IdentityNetwork
from hallo_cli.analysis.portrait import PortraitAnalyser, PortraitOptions, Requirements
from hallo_cli.domain import Portrait, Speech
from hallo_cli.errors import SettingsError
from hallo_cli.inference.animator import Animator
from hallo_cli.inference.speed import DTYPES, autoencoder_dtype, resolve_device
from hallo_cli.jobs.bundle_engine import Studio
from hallo_cli.media.audio import decode
from hallo_cli.models.bundle import Bundle, find_bundle
from hallo_cli.models.config import NetworkConfig
from hallo_cli.models.manifest import BundleManifest, Sampling
from hallo_cli.models.weights import Networks, build_networks, load_networks
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
PORTRAIT = EXAMPLES / "portrait_astronaut.png"
RECORDING = EXAMPLES / "sense_and_sensibility_01_austen_64kb-0870.wav"
CONTEXT = 2  # frames of speech on either side of a clip


@dataclass(frozen=True)
class Rig:
    """Networks on their device and everything around them."""

    studio: Studio
    animator: Animator
    analyser: PortraitAnalyser
    cache: Path  # of the analyser; emptied before every use, gone with the rig
    is_random: bool
    identity: IdentityNetwork | None = None  # where the bundle has one

    def portrait(self, settings: RenderSettings) -> Portrait:
        """The example portrait, analysed anew; a random identity stands in where nothing embeds faces."""
        shutil.rmtree(self.cache, ignore_errors=True)
        config = self.animator.config
        portrait = self.analyser.analyse(PORTRAIT, PortraitOptions(settings.size or config.image_size))
        if config.identity_tokens and portrait.identity is None:
            generator = np.random.default_rng(settings.seed)
            embedding = generator.standard_normal(config.face_embedding_dim, np.float32)
            portrait = dataclasses.replace(portrait, identity=embedding)
        return portrait

    def speech(self, settings: RenderSettings, folder: Path, *, n_clips: int = 1) -> Speech:
        """Features of the first clips of the example recording; random ones where the weights are random."""
        config = self.animator.config
        n_frames = n_clips * config.clip_frames
        if not self.is_random:
            recording = decode(RECORDING, folder / "sound")
            return self.studio.track(recording, n_frames, settings).speech(0, n_frames)
        shape = (n_frames + 2 * CONTEXT, config.audio_blocks, config.audio_dim)
        features = np.random.default_rng(settings.seed).standard_normal(shape, np.float32)
        return Speech(features, 0, n_frames, settings.fps, CONTEXT)


def open_rig(
    kind: str | None, settings: RenderSettings, runtime: RuntimeSettings, clip_frames: int | None = None
) -> Rig:
    """The settings' bundle, or random weights of a kind; with clips of another length where one is given."""
    if kind is None:
        return bundle_rig(settings, runtime, clip_frames)
    return random_rig(kind, settings, runtime, clip_frames)


def bundle_rig(settings: RenderSettings, runtime: RuntimeSettings, clip_frames: int | None = None) -> Rig:
    """The settings' bundle. Raises WeightsError."""
    bundle = find_bundle(settings.bundle)
    config = _with_clips_of(bundle.manifest.networks, clip_frames)
    manifest = dataclasses.replace(bundle.manifest, networks=config)
    studio = Studio(dataclasses.replace(bundle, manifest=manifest), runtime)
    dtype = DTYPES[studio.settle(settings).dtype]
    vae_dtype = autoencoder_dtype(dtype, resolve_device(runtime.device))
    networks = load_networks(studio.bundle, device=_loading_device(runtime), dtype=dtype, vae_dtype=vae_dtype)
    return _rig(studio, networks, is_random=False)


def random_rig(
    kind: str, settings: RenderSettings, runtime: RuntimeSettings, clip_frames: int | None = None
) -> Rig:
    """Random weights in networks of one of the kinds in RANDOM_KINDS."""
    config, sampling = RANDOM_KINDS[kind]()
    config = _with_clips_of(config, clip_frames)
    manifest = BundleManifest(f"random {kind}", "", "", config, files={}, sampling=sampling)
    studio = Studio(Bundle(Path(), manifest), runtime)
    dtype = DTYPES[studio.settle(settings).dtype]
    networks = random_networks(config, device=_loading_device(runtime), dtype=dtype)
    networks.vae.to(autoencoder_dtype(dtype, resolve_device(runtime.device)))
    return _rig(studio, networks, is_random=True)


def random_networks(config: NetworkConfig, *, device: torch.device, dtype: torch.dtype) -> Networks:
    """Networks whose activations stay finite: small normal weights, norms of scale one."""
    torch.manual_seed(0)
    networks = build_networks(config)
    for module in (*networks.by_prefix().values(), networks.vae):
        fill_randomly(module.to(dtype).to_empty(device=device))
    return networks


def _loading_device(runtime: RuntimeSettings) -> torch.device:
    """Where weights are put first; those kept in the host's memory must not count in the device's peak."""
    return resolve_device("cpu" if runtime.offload else runtime.device)


def _with_clips_of(config: NetworkConfig, n_frames: int | None) -> NetworkConfig:
    if n_frames is None:
        return config
    longest = config.max_temporal - config.motion_frames
    if not 1 <= n_frames <= longest:
        raise SettingsError(f"--clip-frames {n_frames}: these networks take 1 to {longest}.")
    return dataclasses.replace(config, clip_frames=n_frames)


def fill_randomly(module: nn.Module) -> None:
    """Small normal weights, norms of scale one, no bias: activations stay finite."""
    for part in module.modules():
        _fill_randomly(part)


def _fill_randomly(module: nn.Module) -> None:
    is_norm = isinstance(module, nn.GroupNorm | nn.LayerNorm)
    for name, values in module.named_parameters(recurse=False):
        if name == "bias":
            values.zero_()
        else:
            values.fill_(1.0) if is_norm else values.normal_(std=0.02)
    for name, buffer in module.named_buffers(recurse=False):
        buffer.fill_(1.0) if name == "latent_std" else buffer.zero_()


def _official() -> tuple[NetworkConfig, Sampling]:
    return NetworkConfig.official(), Sampling()


def _golden() -> tuple[NetworkConfig, Sampling]:
    official = NetworkConfig.official()
    config = dataclasses.replace(
        official,
        channels=(32, 64, 128, 128),
        cross_dim=48,
        audio_dim=16,
        audio_hidden=24,
        audio_tokens=8,
        audio_token_dim=32,
        clip_frames=6,
        image_size=128,
        vae={**official.vae, "block_out_channels": (32, 32, 64, 64)},
    )
    return config, Sampling(steps=4)


def _embedded() -> tuple[NetworkConfig, Sampling]:
    manifest = find_bundle("embedded").manifest
    return manifest.networks, manifest.sampling


RANDOM_KINDS: dict[str, Callable[[], tuple[NetworkConfig, Sampling]]] = {
    "official": _official,
    "embedded": _embedded,
    "golden": _golden,  # the reduced networks that the exactness tests use
}


def _rig(studio: Studio, networks: Networks, *, is_random: bool) -> Rig:
    manifest = studio.bundle.manifest
    identity = None
    if manifest.needs_identity and not is_random:
        identity = IdentityNetwork(studio.bundle.file("face_detector"), studio.bundle.file("identity"))
    cache = Path(tempfile.mkdtemp(prefix="hallo-bench-"))
    analyser = PortraitAnalyser(
        Requirements(manifest.networks, manifest.geometry),
        identity=identity,
        threads=studio.runtime.threads or torch.get_num_threads(),
        cache=cache,
    )
    rig = Rig(studio, Animator(networks, studio.runtime), analyser, cache, is_random, identity)
    weakref.finalize(rig, shutil.rmtree, cache, ignore_errors=True)
    return rig
