"""Decodes a clip's latents to frames, partly while the next clip is denoised.

The next clip begins with the motion frames, so these are decoded first and alone; all other
frames follow whenever `DenoisedClip.finish` is called, in any thread.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hallo_cli.domain import PAINT_SCALE, Bytes, Clip, Float, MotionFrames, MotionShape, Window
from hallo_cli.inference import speed
from hallo_cli.inference.job_context import JobContext
from hallo_cli.models import compat
from hallo_cli.models.anchored import Motion
from hallo_cli.models.autoencoder import AnchoredAutoencoder, Autoencoder
from hallo_cli.models.weights import Networks

HIDDEN = 0.1  # weaker masks show nothing even where they are interpolated: they and their paint are not kept


class Finisher:
    """Decodes with one autoencoder; holds nothing of a job."""

    def __init__(self, networks: Networks, execution: speed.Execution) -> None:
        self.vae, self.config, self.execution = networks.vae, networks.config, execution

    def pictures(self, generated: Tensor) -> Tensor:
        """The frames [frames, 3, height, width] in -1..1 of generated latents."""
        with speed.present(self.vae, self.execution) as vae:
            return decode_frames(vae, generated, chunk=self.execution.decode_chunk)

    def begin(
        self,
        context: JobContext,
        generated: Tensor,
        index: int,
        motion: MotionFrames | None,
        *,
        eyes: Float | None = None,
    ) -> DenoisedClip:
        """Decode the motion frames of a denoised clip, which itself started from `motion`.

        eyes: how far lids are shut and brows raised in each frame [frames, 2], 0 to 1; None: not at all.
        """
        n_motion = self.config.motion_frames
        n_others = max(0, len(generated) - n_motion)
        last = self.last(context, generated[n_others:])
        tail = last
        if len(last) < n_motion:  # a clip shorter than its motion frames
            tail = torch.cat([self.before(context, motion), last])[len(last) :]
        after = MotionFrames(as_images(tail.float()))
        ready = None
        if self.execution.device.type == "cuda":
            ready = torch.cuda.current_stream(self.execution.device).record_event()
        moved = np.zeros((len(generated), 2), np.float32) if eyes is None else eyes
        return DenoisedClip(index, after, generated[:n_others], last, ready, self, context, moved)

    def last(self, context: JobContext, generated: Tensor) -> Tensor:
        """What the next clip is to know of its motion frames: their pictures."""
        return self.pictures(generated) if len(generated) else context.pictures[:0]

    def before(self, context: JobContext, motion: MotionFrames | None) -> Tensor:
        """The motion frames that a clip began with: [motion frames, ...] as `last` gives them."""
        if motion is None:
            return context.pictures.expand(self.config.motion_frames, -1, -1, -1)
        return motion_pictures(motion, self.execution.device)

    def frames(self, clip: DenoisedClip) -> Any:
        """All frames of a clip on the host, as `domain.Clip` holds them."""
        parts = [clip.last]
        if len(clip.others):
            parts.insert(0, self.pictures(clip.others))
        return as_images(compat.as_bytes(self.config, torch.cat(parts) / 2 + 0.5))

    def beside(self, ready: Any) -> AbstractContextManager[Any]:
        """On CUDA: a stream of its own for what is launched in the block, behind the event `ready`."""
        if ready is None:
            return nullcontext()
        self._stream.wait_event(ready)
        return torch.cuda.stream(self._stream)

    @cached_property
    def _stream(self) -> Any:
        return torch.cuda.Stream(self.execution.device)


class AnchoredFinisher(Finisher):
    """Of models whose latents say how frames differ from the portrait: what is composed at any size.

    Motion frames stay latents, so that nothing is decoded twice.
    """

    def last(self, context: JobContext, generated: Tensor) -> Tensor:
        """The motion frames' latents."""
        return generated

    def before(self, context: JobContext, motion: MotionFrames | None) -> Tensor:
        """See Finisher."""
        if motion is None:
            return context.portrait.latents.new_zeros(
                (self.config.motion_frames, self.config.latent_channels, *context.portrait.latents.shape[-2:])
            )
        return motion_pictures(motion, self.execution.device)

    def frames(self, clip: DenoisedClip) -> Any:
        """Packed motion, see `domain.MotionShape`."""
        assert isinstance(self.vae, AnchoredAutoencoder)
        assert clip.context.anchor is not None
        latents = torch.cat([clip.others, clip.last]).to(next(self.vae.parameters()).dtype)
        chunk, parts = self.execution.decode_chunk, []
        with speed.present(self.vae, self.execution):
            for first in range(0, len(latents), chunk):
                some = slice(first, first + chunk)
                motion = self.vae.motion(latents[some], clip.context.anchor, clip.context.window)
                parts.append(_packed(motion, clip.context.window, clip.eyes[some]))
        return np.concatenate(parts)


def make_finisher(networks: Networks, execution: speed.Execution) -> Finisher:
    """The finisher that suits the networks' autoencoder."""
    return (AnchoredFinisher if networks.config.is_anchored else Finisher)(networks, execution)


def _packed(motion: Motion, window: Window, eyes: Float) -> Bytes:
    flow = motion.flow.permute(0, 2, 3, 1).float().cpu().numpy()
    painted = torch.cat([(motion.paint + 1) / 2, motion.mask], 1).clamp(0, 1)
    painted *= painted[:, 3:] > HIDDEN
    maps = (painted.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).contiguous().cpu().numpy()
    return MotionShape(flow.shape[1], PAINT_SCALE * flow.shape[1], window).pack(flow, maps, eyes)


@dataclass(frozen=True)
class DenoisedClip:
    """A clip whose motion frames are there and whose other frames wait to be decoded."""

    index: int
    motion: MotionFrames
    others: Tensor  # generated latents of the frames before the last ones
    last: Tensor  # [motion frames, 3, height, width] in -1..1; of anchored models their latents
    ready: Any  # a CUDA event behind all of this, or None
    finisher: Finisher
    context: JobContext
    eyes: Float  # [frames, 2] lids shut and brows raised, 0 to 1; moved where frames are composed

    @torch.inference_mode()
    def finish(self) -> Clip:
        """All frames, on the host. Raises torch's errors where memory runs out."""
        with self.finisher.beside(self.ready):
            frames = self.finisher.frames(self)
        return Clip(self.index, frames, self.motion)


def motion_pictures(motion: MotionFrames, device: torch.device) -> Tensor:
    """Motion frames as [frames, 3, height, width] in -1..1."""
    return torch.from_numpy(motion.values).to(device).permute(0, 3, 1, 2)


def as_images(pictures: Tensor) -> Any:
    """[rows, 3, height, width] -> a numpy array [rows, height, width, 3]."""
    return pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def decode_frames(vae: Autoencoder, latents: Tensor, *, chunk: int) -> Tensor:
    """Latents [frames, channels, h, w] -> float32 pictures [frames, 3, h * 8, w * 8] in -1..1.

    `chunk` frames are decoded at a time; it bounds memory and changes nothing else.
    """
    like = next(vae.parameters())
    parts = latents.to(like.dtype).split(chunk)
    return torch.cat([vae.decode(part).float() for part in parts]).clamp(-1, 1)
