"""Middle-sized networks of the official shape with random weights, on a device in a number format."""

import torch
from small_bundles import random_networks
from small_jobs import make_portrait, make_speech
from small_networks import official_like
from torch import Tensor

from hallo_cli.domain import Clip
from hallo_cli.inference.animator import Animator, audio_windows
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import Networks
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

SETTINGS = RenderSettings(steps=4, guidance=3.5, solver="ddim", seed=7)
WIDE = official_like(channels=(64, 128, 256, 256), heads=8, clip_frames=8)


def networks(dtype: torch.dtype = torch.float32, config: NetworkConfig = WIDE) -> Networks:
    made = random_networks(config)
    for module in (*made.by_prefix().values(), made.vae):
        module.to(dtype)
    return made


def animator(device: str, dtype: torch.dtype = torch.float32, **runtime: object) -> Animator:
    values = {"device": device, **runtime}
    return Animator(networks(dtype), RuntimeSettings(**values))  # type: ignore[arg-type]


@torch.inference_mode()
def prediction(device: str, dtype: torch.dtype = torch.float32, **runtime: object) -> Tensor:
    """What the denoising UNet says of the first step's pair, as float32 on the host."""
    subject = animator(device, dtype, **runtime)
    config = subject.config
    job = subject.prepare(make_portrait(config), SETTINGS)
    windows = audio_windows(make_speech(config, 8), 0, 8, config.audio_window)
    pair = subject.clip_context(job, windows, None)
    shape = subject.latents_shape(job, 8)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    timestep = torch.tensor([999], device=device)
    found = subject.networks.denoising_unet(torch.cat([latents, latents]), timestep, pair)
    return found.float().cpu()


def clips(subject: Animator, settings: RenderSettings = SETTINGS) -> list[Clip]:
    """A render of three clips."""
    job = subject.prepare(make_portrait(subject.config), settings)
    events = subject.clips(job, make_speech(subject.config, 24))
    return [event for event in events if isinstance(event, Clip)]
