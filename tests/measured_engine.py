"""The real engine without its networks, for measuring everything around them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hallo_cli.domain import Clip, MotionFrames, MotionShape, Portrait, Speech, StepDone
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.settings.schema import RenderSettings


class MeasuredEngine(BundleEngine):
    """Its clips are the portrait at rest, again and again."""

    def load_networks(self, settings: RenderSettings) -> None:
        pass

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        side = self.networks.image_size
        packed = np.zeros((1, MotionShape(side // 2, 2 * side, portrait.window).n_bytes), np.uint8)
        one = packed if self.networks.is_anchored else portrait.pixels[None]
        frames = np.repeat(one, self.networks.clip_frames, axis=0)
        after = MotionFrames(np.zeros((2, 1, 1, 1), np.float32))
        for start in range(0, speech.n_frames, self.networks.clip_frames):
            yield Clip((speech.first_frame + start) // self.networks.clip_frames, frames, after)


def peak_kib() -> int:
    """The most memory this process has had, from Linux; what `resource` says includes its parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
