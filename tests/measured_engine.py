"""The real engine without its networks, for measuring everything around them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hallo_cli.domain import Clip, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.settings.schema import RenderSettings


class MeasuredEngine(BundleEngine):
    """Its clips are the portrait, again and again."""

    def load_networks(self, settings: RenderSettings) -> None:
        pass

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        frames = np.repeat(portrait.pixels[None], self.clip_frames, axis=0)
        after = MotionFrames(frames[-2:].astype(np.float32) / 127.5 - 1)
        for start in range(0, speech.n_frames, self.clip_frames):
            yield Clip((speech.first_frame + start) // self.clip_frames, frames, after)


def peak_kib() -> int:
    """The most memory this process has had, from Linux; what `resource` says includes its parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
