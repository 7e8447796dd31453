"""What a runner needs of networks and analysers, behind one small interface.

`Engine` is implemented by `bundle_engine.BundleEngine` with a real bundle, and by the tests' trivial double.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Protocol

from hallo_cli.domain import Bytes, Clip, CropBox, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.media.audio import Recording
from hallo_cli.settings.schema import RenderSettings


class SpeechTrack(Protocol):
    """One recording, analysed piece by piece with the statistics of the whole."""

    def pauses(self) -> Sequence[tuple[int, int]]:
        """Where nobody speaks: half-open ranges of frames."""
        ...

    def speech(self, start: int, stop: int) -> Speech:
        """Features of frames [start, stop), heard with the settings' overlap on either side."""
        ...


class Compositor(Protocol):
    """Turns generated frames into the video's."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the video's frames."""
        ...

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """The shape of one generated frame, see `domain.Clip`."""
        ...

    @property
    def at_rest(self) -> Bytes:
        """A generated frame [1, *frame_shape] in which nothing moves."""
        ...

    @property
    def shown(self) -> CropBox | None:
        """The square of the portrait's file that the frames show; None where they show it otherwise."""
        ...

    def compose(self, frames: Bytes) -> Bytes:
        """Frames [n, height, width, 3] of the video from generated ones [n, *frame_shape]."""
        ...


class Engine(Protocol):
    """One bundle's networks and analysers; what it has loaded or analysed it keeps for the next job."""

    @property
    def weights_id(self) -> str:
        """A digest of everything in the bundle that changes pixels."""
        ...

    @property
    def clip_frames(self) -> int:
        """Frames denoised together."""
        ...

    @property
    def leaves_processor_free(self) -> bool:
        """Whether another device renders, so that the processor can do other work meanwhile."""
        ...

    def settle(self, settings: RenderSettings) -> RenderSettings:
        """The settings with the bundle's and the device's own choices filled in.

        Raises SettingsError, or WeightsError where they need a network that is not there.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Name, version and licence of the weights, and versions of what renders, for the record."""
        ...

    def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
        """The analysed picture. Raises PortraitError."""
        ...

    def compositor(self, path: Path, portrait: Portrait, settings: RenderSettings) -> Compositor:
        """What the framing asks to be done with each frame."""
        ...

    def decode(self, source: Path, target: Path, settings: RenderSettings) -> Recording:
        """The part of the recording that is rendered, decoded into a file. Raises SpeechError."""
        ...

    def track(self, recording: Recording, n_frames: int, settings: RenderSettings) -> SpeechTrack:
        """The recording, ready to be analysed as `n_frames` frames. Raises SpeechError."""
        ...

    def load(self, settings: RenderSettings) -> None:
        """Load the networks, so that the first clip does not have to. Raises WeightsError."""
        ...

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Generator[StepDone | Clip]:
        """Render the speech's whole clips in order, from `motion` on. Raises DeviceMemoryError."""
        ...

    def fall_back(self) -> str | None:
        """After memory ran out: take the next slower way that needs less and name it; None: none is left."""
        ...

    def note_speed(self, settings: RenderSettings, seconds_per_frame: float) -> None:
        """Remember how fast a job went behind its first clip, for later estimates."""
        ...
