"""Windows around the lips of rendered takes: what the decoder's polish (`polish_decoder`) learns from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from hallo_cli.inference.latents import generated_rows, scaled_rows
from hallo_cli.models import compat
from hallo_cli.models.attention import matmul_kernel, use_attention_kernel
from hallo_cli.models.autoencoder import Autoencoder
from hallo_cli.models.weights import Networks
from hallo_cli.training.config import DataSettings
from hallo_cli.training.dataset import Batch, BatchSource, split_takes
from hallo_cli.training.encoded import EncodedFolder, EncodedTake
from hallo_cli.training.forward import Conditions, TrainedNetworks
from hallo_cli.training.losses import LipWindow
from hallo_cli.training.objective import alphas_cumprod
from hallo_cli.training.validation import Rendering, sample_takes

COARSE = 4  # pixels: colours and shapes are means over squares of that size
AT_ONCE = 32  # windows decoded together where nothing is learnt


@dataclass(frozen=True)
class WindowSettings:
    """Which windows."""

    clips: int = 480  # takes rendered
    frames_per_clip: int = 8
    held_out: int = 16  # takes whose windows are only measured
    side: int = 16  # latents each way, at most
    steps: int = 3  # of sampling, as the bundle is rendered
    takes_at_once: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Windows:
    """Frames' windows as made and as they were, as kept in memory; `rows` makes them ready for use."""

    made: Tensor  # f16 [n, latent channels, side, side]
    true: Tensor  # u8 [n, 3, height, width] drawn from the true latents by the decoder as it was
    coarse: Tensor  # f16 [n, 3, height / COARSE, width / COARSE] of what that decoder draws from `made`
    weights: Tensor  # f16 [n, 1, height, width] large on the lips

    def rows(self, chosen: Tensor) -> Windows:
        """Some of them in float32, pictures in -1..1."""
        return Windows(
            self.made[chosen].float().contiguous(memory_format=torch.channels_last),
            self.true[chosen].float() / 127.5 - 1,
            self.coarse[chosen].float(),
            self.weights[chosen].float(),
        )


def make_windows(
    networks: Networks,
    shards: Path,
    settings: WindowSettings,
    *,
    on_clip: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Windows, Windows]:
    """Render takes of encoded shards and cut out their mouths: windows to learn from, and held-out ones.

    Raises SettingsError where the shards are not for these networks, InputError where their takes are short.
    """
    folder = EncodedFolder(shards)
    folder.require_fit(networks.config)
    learned, held_out = split_takes(folder, settings.held_out)
    camera = _Camera(networks, shards, settings)
    return camera.windows(learned, settings.clips, on_clip), camera.windows(held_out, settings.held_out)


@torch.no_grad()
def measure(vae: Autoencoder, windows: Windows) -> tuple[float, float]:
    """Of lips drawn from made latents: sharpness relative to the true ones, and mean distance in grey levels.

    Sharpness is the differences of neighbouring pixels, added; levels are 0..255.
    """
    ours, theirs, apart = 0.0, 0.0, 0.0
    for rows in torch.arange(len(windows.made)).split(AT_ONCE):
        part = windows.rows(rows)
        drawn = vae.decode(part.made).clamp(-1, 1)
        for axis in (-1, -2):
            weights = part.weights.narrow(axis, 1, part.weights.shape[axis] - 1)
            ours += float((drawn.diff(dim=axis).abs() * weights).sum())
            theirs += float((part.true.diff(dim=axis).abs() * weights).sum())
        apart += float(((drawn - part.true).abs().mean(1, keepdim=True) * part.weights).sum())
    return ours / theirs, 127.5 * apart / float(windows.weights.float().sum())


class _Camera:
    """Renders takes by one model."""

    def __init__(self, networks: Networks, shards: Path, settings: WindowSettings) -> None:
        self.shards, self.settings, self.config, self.vae = shards, settings, networks.config, networks.vae
        self.module = TrainedNetworks(networks).eval()
        self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        use_attention_kernel(self.module, matmul_kernel)
        schedule = alphas_cumprod(compat.beta_schedule(self.config, training=True))
        self.rendering = Rendering(self.config, schedule, self.vae.decode, True, settings.steps)

    def windows(
        self,
        takes: Sequence[EncodedTake],
        n_clips: int,
        on_clip: Callable[[int, int], None] = lambda done, total: None,
    ) -> Windows:
        """`n_clips` clips of takes, in an order and with noise that follow from the seed."""
        settings = self.settings
        data = DataSettings(shards=self.shards, takes=settings.takes_at_once, frames=self.config.clip_frames)
        source = BatchSource(takes, data, network=self.config, stage="stage2", seed=settings.seed)
        parts = []
        for number in range(-(-n_clips // settings.takes_at_once)):
            parts.append(self._cut(source.batch(number), torch.Generator().manual_seed(number)))
            on_clip(min((number + 1) * settings.takes_at_once, n_clips), n_clips)
        return Windows(*(torch.cat(maps) for maps in zip(*parts, strict=True)))

    @torch.no_grad()
    def _cut(self, batch: Batch, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        n_takes, n_frames = batch.latents.shape[:2]
        with torch.autocast("cpu", torch.bfloat16):
            made = sample_takes(self._predict, batch, self.rendering, draw)
        orders = [torch.randperm(n_frames, generator=draw) for _ in range(n_takes)]
        chosen = torch.cat(
            [take * n_frames + order[: self.settings.frames_per_clip] for take, order in enumerate(orders)]
        )
        height, width = batch.latents.shape[-2:]
        first, last = scaled_rows(self.config, height)
        side = min(self.settings.side, width, last - first)
        window = LipWindow.around(batch, (first / height, last / height), (side, side), chosen // n_frames)
        ours, theirs = (
            window.crop(generated_rows(self.config, maps.flatten(0, 1)[chosen]))
            for maps in (made, batch.latents)
        )
        true = ((self.vae.decode(theirs).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        coarse = F.avg_pool2d(self.vae.decode(ours), COARSE)
        weights = window.pixel_weights(true.shape[-2:])
        return ours.half().contiguous(), true.contiguous(), coarse.half().contiguous(), weights.half()

    def _predict(self, noisy: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        found: Tensor = self.module(
            noisy.contiguous(memory_format=torch.channels_last), timesteps, conditions
        )
        return found
