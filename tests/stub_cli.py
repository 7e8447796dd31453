"""The `hallo` command with the network-free engine: `python tests/stub_cli.py render PORTRAIT AUDIO ...`.

STUB_CLIP_S and STUB_STUCK_FROM say how long a clip takes, and from which clip on it takes a minute.
STUB_SLOW names a step that takes a minute, STUB_DEAF one that cannot even be interrupted, and STUB_STOP_S is
the time limit after a signal.
"""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from job_doubles import TrivialEngine

from hallo_cli.cli import signals
from hallo_cli.cli.app import main
from hallo_cli.domain import Clip, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.jobs import bundle_engine
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

STUCK_FROM = int(os.environ.get("STUB_STUCK_FROM", sys.maxsize))


class StubEngine(TrivialEngine):
    @classmethod
    def open(cls, bundle: str, runtime: RuntimeSettings) -> "StubEngine":
        return cls(clip_s=float(os.environ.get("STUB_CLIP_S", "0")))

    def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
        dawdle("portrait")
        return super().portrait(path, settings)

    def load_networks(self, settings: RenderSettings) -> None:
        dawdle("networks")

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        for step in super().clips(portrait, settings, speech, motion):
            if isinstance(step, StepDone) and step.clip >= STUCK_FROM:
                time.sleep(60)
            yield step


def dawdle(step: str) -> None:
    """Take a minute over a step that the environment names."""
    if os.environ.get("STUB_SLOW") == step:
        time.sleep(60)
    while os.environ.get("STUB_DEAF") == step:
        with contextlib.suppress(BaseException):
            time.sleep(60)


if __name__ == "__main__":
    signals.STOP_S = float(os.environ.get("STUB_STOP_S", signals.STOP_S))
    bundle_engine.BundleEngine = StubEngine  # type: ignore[misc, assignment]
    main()
