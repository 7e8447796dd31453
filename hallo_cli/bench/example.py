"""Prepares the example for a bench, with a bundle or random weights in networks of the official size."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hallo_cli.analysis.framing import square_canvas
from hallo_cli.analysis.of_bundle import analyser_of
from hallo_cli.analysis.portrait import PortraitAnalyser
from hallo_cli.bundles.bundle import Bundle, find_bundle
from hallo_cli.bundles.bundle_file import BundleManifest
from hallo_cli.bundles.networks import load_networks
from hallo_cli.domain import Portrait, Speech
from hallo_cli.inference.animator import Animator
from hallo_cli.inference.device import autoencoder_dtype, resolve_device, resolve_dtype
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.compositor import Compositor
from hallo_cli.media.audio import decode
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import Networks, build_networks
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"
PORTRAIT = EXAMPLES / "portrait_astronaut.png"
RECORDING = EXAMPLES / "sense_and_sensibility_01_austen_64kb-0870.wav"
CONTEXT = 2  # frames of speech on either side of a clip


@dataclass(frozen=True)
class Example:
    """Networks on their device, the example portrait and the example recording."""

    engine: BundleEngine
    animator: Animator
    analyser: PortraitAnalyser
    cache: Path  # cache of the analyser; emptied before every use, deleted with the example
    is_random: bool

    def portrait(self, settings: RenderSettings) -> Portrait:
        """The portrait, analysed again; a random identity if there is no identity network."""
        shutil.rmtree(self.cache, ignore_errors=True)
        config = self.animator.config
        portrait = self.analyser.analyse(PORTRAIT, self.engine.portrait_options(settings))
        if config.identity_tokens and portrait.identity is None:
            generator = np.random.default_rng(settings.seed)
            embedding = generator.standard_normal(config.face_embedding_dim, np.float32)
            portrait = dataclasses.replace(portrait, identity=embedding)
        return portrait

    def compositor(self, portrait: Portrait, settings: RenderSettings) -> Compositor:
        """Turns generated frames of the example into the video's."""
        if self.is_random:  # random weights include no face networks for the picture
            return Compositor.of(square_canvas(portrait))
        return self.engine.compositor(PORTRAIT, portrait, settings)

    def speech(self, settings: RenderSettings, folder: Path, *, n_clips: int = 1) -> Speech:
        """Features of the recording's first clips; random ones where the weights are random."""
        config = self.animator.config
        n_frames = n_clips * (settings.clip_frames or config.clip_frames)
        if not self.is_random:
            recording = decode(RECORDING, folder / "sound")
            return self.engine.track(recording, n_frames, settings).speech(0, n_frames)
        shape = (n_frames + 2 * CONTEXT, config.audio_blocks, config.audio_dim)
        features = np.random.default_rng(settings.seed).standard_normal(shape, np.float32)
        return Speech(features, 0, n_frames, settings.fps, CONTEXT)


def open_example(
    settings: RenderSettings, runtime: RuntimeSettings, random: NetworkConfig | None = None
) -> Example:
    """The example with the settings' bundle, or with random weights in networks of a configuration.

    Raises WeightsError.
    """
    bundle = (
        find_bundle(settings.bundle)
        if random is None
        else Bundle(Path(), BundleManifest("random weights", "", "", random, files={}))
    )
    engine = BundleEngine(bundle, runtime)
    device = resolve_device(runtime.device)
    dtype = resolve_dtype(engine.resolve_settings(settings).dtype, device)
    vae_dtype = autoencoder_dtype(dtype, device)
    # Offloaded weights must not count in the GPU's peak.
    loading = resolve_device("cpu" if runtime.offload else runtime.device)
    if random is None:
        networks = load_networks(bundle, device=loading, dtype=dtype, vae_dtype=vae_dtype)
    else:
        networks = random_networks(random, device=loading, dtype=dtype)
        networks.vae.to(vae_dtype)
    cache = Path(tempfile.mkdtemp(prefix="hallo-bench-"))
    threads = runtime.threads or torch.get_num_threads()
    analyser = analyser_of(
        bundle, engine.networks, threads=threads, needs_identity=random is None, cache=cache
    )
    example = Example(engine, Animator(networks, runtime), analyser, cache, random is not None)
    weakref.finalize(example, shutil.rmtree, cache, ignore_errors=True)
    return example


def random_networks(config: NetworkConfig, *, device: torch.device, dtype: torch.dtype) -> Networks:
    """Networks whose activations stay finite: small normal weights, norms of scale one."""
    torch.manual_seed(0)
    networks = build_networks(config)
    for module in (*networks.by_prefix().values(), networks.vae):
        for part in module.to(dtype).to_empty(device=device).modules():
            _fill_randomly(part)
    return networks


def _fill_randomly(module: nn.Module) -> None:
    is_norm = isinstance(module, nn.GroupNorm | nn.LayerNorm)
    for name, values in module.named_parameters(recurse=False):
        if name == "bias":
            values.zero_()
        else:
            values.fill_(1.0) if is_norm else values.normal_(std=0.02)
    for name, buffer in module.named_buffers(recurse=False):
        buffer.fill_(1.0) if name == "latent_std" else buffer.zero_()
