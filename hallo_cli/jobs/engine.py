"""What a runner needs of networks and analysers, behind one small interface.

`Engine` is implemented by `bundle_engine.BundleEngine` with a real bundle, and by the tests' trivial double.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hallo_cli.analysis.head_motion import Delay
    from hallo_cli.domain import Clip, MotionFrames, Portrait, Speech, StepDone
    from hallo_cli.jobs.compositor import Compositor
    from hallo_cli.media.audio import Recording
    from hallo_cli.settings.schema import RenderSettings


class SpeechTrack(Protocol):
    """One recording, analysed piece by piece with the statistics of the whole."""

    def pauses(self) -> Sequence[tuple[int, int]]:
        """Ranges of frames [start, stop) in which nobody speaks."""
        ...

    def delayed(self, delay: Delay) -> SpeechTrack:
        """The same recording, in which head and eyes move as after an insertion."""
        ...

    def speech(self, start: int, stop: int) -> Speech:
        """Features of frames [start, stop), analysed with the settings' overlap on either side."""
        ...


class Engine(Protocol):
    """One bundle's networks and analysers; it keeps loaded networks and analysed inputs for the next job."""

    @property
    def weights_id(self) -> str:
        """A digest of everything in the bundle that changes pixels."""
        ...

    @property
    def leaves_processor_free(self) -> bool:
        """Whether a GPU renders, so that the CPU can do other work meanwhile."""
        ...

    def resolve_settings(self, settings: RenderSettings) -> RenderSettings:
        """The settings with the bundle's and the device's own choices filled in.

        Raises SettingsError, or WeightsError if they need a missing network.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Name, version and licence of the weights, and versions of what renders, for the record."""
        ...

    def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
        """The analysed picture. Raises PortraitError."""
        ...

    def compositor(self, path: Path, portrait: Portrait, settings: RenderSettings) -> Compositor:
        """The compositor for the settings' framing."""
        ...

    def decode(self, source: Path, target: Path, settings: RenderSettings) -> Recording:
        """The part of the recording that is rendered, decoded into a file. Raises SpeechError."""
        ...

    def track(self, recording: Recording, n_frames: int, settings: RenderSettings) -> SpeechTrack:
        """The recording, ready to be analysed as `n_frames` frames. Raises SpeechError."""
        ...

    def load_networks(self, settings: RenderSettings) -> object:
        """Load the networks before the first clip needs them, if they are not loaded. Raises WeightsError."""
        ...

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Generator[StepDone | Clip]:
        """Render the speech's whole clips in order, from `motion` on. Raises DeviceMemoryError."""
        ...

    def fall_back(self) -> str | None:
        """After memory ran out: switch to the next, slower fallback and name it; None if none is left."""
        ...

    def note_speed(self, settings: RenderSettings, seconds_per_frame: float) -> None:
        """Keep a job's speed after its first clip, for later estimates."""
        ...
