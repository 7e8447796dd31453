"""The `hallo` command with the network-free engine: `python tests/stub_cli.py render PORTRAIT AUDIO ...`.

STUB_CLIP_S and STUB_STUCK_FROM say how long a clip takes, and from which clip on it takes a minute.
"""

import os
import sys
import time
from collections.abc import Iterator

from job_doubles import TrivialEngine

from hallo_cli.cli.app import main
from hallo_cli.domain import Clip, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.jobs import bundle_engine
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

STUCK_FROM = int(os.environ.get("STUB_STUCK_FROM", sys.maxsize))


class StubEngine(TrivialEngine):
    @classmethod
    def open(cls, bundle: str, runtime: RuntimeSettings) -> "StubEngine":
        return cls(clip_s=float(os.environ.get("STUB_CLIP_S", "0")))

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        for step in super().clips(portrait, settings, speech, motion):
            if isinstance(step, StepDone) and step.clip >= STUCK_FROM:
                time.sleep(60)
            yield step


if __name__ == "__main__":
    bundle_engine.BundleEngine = StubEngine  # type: ignore[misc, assignment]
    main()
