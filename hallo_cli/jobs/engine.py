"""What a runner needs of networks and analysers, behind one small interface.

`Engine` is implemented by `bundle_engine.BundleEngine` with a real bundle, and by the tests' trivial double.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hallo_cli.analysis.framing import Canvas
    from hallo_cli.analysis.head_motion import Delay
    from hallo_cli.analysis.motion_canvas import MotionCanvas
    from hallo_cli.domain import Bytes, Clip, CropBox, MotionFrames, Portrait, Speech, StepDone
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


@dataclass(frozen=True)
class Compositor:
    """Turns generated frames into the video's."""

    size: tuple[int, int]  # (width, height) of the video's frames
    frame_shape: tuple[int, ...]  # of one generated frame, see `domain.Clip`
    at_rest: Bytes  # a generated frame [1, *frame_shape] without motion
    shown: CropBox | None  # the square of the portrait's file that the frames show; None: they show no square
    compose: Callable[[Bytes], Bytes]  # generated frames [n, *frame_shape] -> [n, height, width, 3 or 4]
    warnings: tuple[str, ...] = ()  # for people, about the settings' canvas

    @classmethod
    def of(cls, canvas: Canvas | MotionCanvas) -> Compositor:
        """The one that puts frames into this picture."""
        return cls(canvas.size, canvas.frame_shape, canvas.at_rest, canvas.shown, canvas.compose)


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

    def load_networks(self, settings: RenderSettings) -> None:
        """Load the networks before the first clip needs them. Raises WeightsError."""
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
