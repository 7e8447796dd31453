"""From a clip's latents to its frames: what can wait while the next clip is denoised, and what cannot.

The motion frames cannot: the next clip begins with them. They are decoded first and by themselves; all other
frames follow whenever `DenoisedClip.finish` is called, in any thread.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from hallo_cli.domain import Clip, MotionFrames
from hallo_cli.inference import latents as conventions
from hallo_cli.inference import speed
from hallo_cli.inference.decode import decode_frames, give_back_detail, likeness
from hallo_cli.inference.inks import with_ink
from hallo_cli.inference.job_context import JobContext
from hallo_cli.inference.skin import with_skin
from hallo_cli.models import compat
from hallo_cli.models.weights import Networks


class Finisher:
    """Decodes with one autoencoder; holds nothing of a job."""

    def __init__(self, networks: Networks, execution: speed.Execution) -> None:
        self.vae, self.config, self.execution = networks.vae, networks.config, execution

    def decode(self, latents: Tensor, chunk: int) -> Tensor:
        """Whole latents [frames, channels, h, w] -> [frames, 3, height, width] in -1..1."""
        with speed.present(self.vae, self.execution) as vae:
            return decode_frames(vae, latents, chunk=chunk)

    def pictures(self, context: JobContext, generated: Tensor) -> Tensor:
        """The frames [frames, 3, height, width] in -1..1 of generated latents."""
        latents = conventions.from_generated(self.config, generated, context.portrait.latents)
        frames = self.decode(latents, self.execution.decode_chunk)
        if context.copy is not None:
            alike = likeness(frames, context.copy)
            frames = give_back_detail(frames, context.pictures, context.copy, alike)
            if context.skin is not None:
                frames = with_skin(frames, context.skin, 1 - alike)
        return frames if context.ink is None else with_ink(frames, context.ink)

    def images(self, frames: Tensor) -> Any:
        """Frames in -1..1 as uint8 [frames, height, width, 3] on the host."""
        return as_images(compat.as_bytes(self.config, frames / 2 + 0.5))

    def begin(
        self, context: JobContext, generated: Tensor, index: int, motion: MotionFrames | None
    ) -> DenoisedClip:
        """Decode the motion frames of a denoised clip, which itself started from `motion`."""
        n_motion = self.config.motion_frames
        n_others = max(0, len(generated) - n_motion)
        last = self.pictures(context, generated[n_others:]) if n_motion else context.pictures[:0]
        tail = last
        if len(last) < n_motion:  # a clip shorter than its motion frames
            tail = torch.cat([self._before(context, motion), last])[len(last) :]
        after = MotionFrames(as_images(tail))
        ready = None
        if self.execution.device.type == "cuda":
            ready = torch.cuda.current_stream(self.execution.device).record_event()
        return DenoisedClip(index, after, generated[:n_others], last, ready, self, context)

    def _before(self, context: JobContext, motion: MotionFrames | None) -> Tensor:
        if motion is None:
            return context.pictures.expand(self.config.motion_frames, -1, -1, -1)
        return motion_pictures(motion, self.execution.device)

    def beside(self, ready: Any) -> AbstractContextManager[Any]:
        """On CUDA: a stream of its own for what is launched in the block, behind the event `ready`."""
        if ready is None:
            return nullcontext()
        self._stream.wait_event(ready)
        return torch.cuda.stream(self._stream)

    @cached_property
    def _stream(self) -> Any:
        return torch.cuda.Stream(self.execution.device)


@dataclass(frozen=True)
class DenoisedClip:
    """A clip whose motion frames are there and whose other frames wait to be decoded."""

    index: int
    motion: MotionFrames
    others: Tensor  # generated latents of the frames before the last ones
    last: Tensor  # [motion frames, 3, height, width] in -1..1
    ready: Any  # a CUDA event behind all of this, or None
    finisher: Finisher
    context: JobContext

    @torch.inference_mode()
    def finish(self) -> Clip:
        """All frames, on the host. Raises torch's errors where memory runs out."""
        with self.finisher.beside(self.ready):
            parts = [self.last]
            if len(self.others):
                parts.insert(0, self.finisher.pictures(self.context, self.others))
            images = self.finisher.images(torch.cat(parts))
        return Clip(self.index, images, self.motion)


def motion_pictures(motion: MotionFrames, device: torch.device) -> Tensor:
    """Motion frames as [frames, 3, height, width] in -1..1."""
    return torch.from_numpy(motion.pixels).to(device).permute(0, 3, 1, 2)


def as_images(pictures: Tensor) -> Any:
    """[rows, 3, height, width] -> a numpy array [rows, height, width, 3]."""
    return pictures.permute(0, 2, 3, 1).contiguous().cpu().numpy()
