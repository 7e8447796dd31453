"""Values that travel between the layers: frozen, made of numpy arrays, independent of files and networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue
FLOW_STEPS = np.float32(65536)  # packed flow counts in this part of the square's side
CONTROLS = (
    "blink",
    "yaw",
    "pitch",
    "roll",
    "brow",
    "gaze_x",
    "gaze_y",
)  # inputs of the networks besides speech
PAINT_SCALE = 4  # paint has this many pixels for one of the flow, in each direction
SAMPLE_RATE = 16_000  # of all decoded sound, in Hz
CELLS = 16  # windows begin and end at this part of the square's side
HEAD = slice(1, 4)  # the controls that move the head


@dataclass(frozen=True)
class CropBox:
    """A square of the upright source picture, in its pixels; may reach over the picture's edge."""

    left: float
    top: float
    side: float


@dataclass(frozen=True)
class RegionMasks:
    """Where the full, face and lip audio attention act, at each level of the UNet (values 0..~1.5)."""

    full: tuple[Float, ...]  # one [height_i, width_i] a level, finest first
    face: tuple[Float, ...]
    lip: tuple[Float, ...]


@dataclass(frozen=True)
class Window:
    """A part of a square, its edges in `CELLS`ths of the side; half-open."""

    left: int = 0
    top: int = 0
    right: int = CELLS
    bottom: int = CELLS

    def within(self, side: int) -> tuple[slice, slice]:
        """Its rows and columns in a map of the square; whole if the map is too coarse for the cells."""
        if side % CELLS:
            return slice(0, side), slice(0, side)
        scale = side // CELLS
        return slice(self.top * scale, self.bottom * scale), slice(self.left * scale, self.right * scale)


WHOLE = Window()


@dataclass(frozen=True)
class Portrait:
    """One analysed picture, ready for the networks."""

    pixels: Bytes  # [height, width, 3] RGB at the rendered size
    crop: CropBox  # where those pixels lie in the source picture
    source_size: tuple[int, int]  # (width, height) of the upright source picture
    landmarks: Float  # [478, 2] x, y in pixels of `pixels`
    face_region: Float  # [height, width] 0 or 1: the face locator's rectangle
    masks: RegionMasks
    identity: Float | None  # [512] raw face embedding, None for bundles trained without
    digest: str  # content hash of the source picture
    quarter_turns: int = 0  # counter-clockwise turn that set the file's picture upright
    notes: tuple[str, ...] = ()  # warnings for people
    window: Window = WHOLE  # where anchored models paint: around the mouth


@dataclass(frozen=True)
class Speech:
    """Audio features of consecutive frames, with the neighbours that the audio window looks at."""

    features: Float  # [n_frames + 2 * context, blocks, channels]
    first_frame: int  # index in the recording of the frame at features[context]
    n_frames: int
    fps: float
    context: int = 2  # frames of features before and after


@dataclass(frozen=True)
class MotionFrames:
    """The last frames of the previous clip, which the next one continues from; lossless."""

    values: Float  # [motion_frames, height, width, channels] RGB in -1..1; of anchored models their latents


@dataclass(frozen=True)
class FrameMotion:
    """How one frame differs from the portrait's square, see `models.anchored.Motion`."""

    flow: Float  # [height, width, 2] x, y in shares of the square's side
    mask: Bytes  # [height, width] of the window; 255 is painted
    paint: Bytes  # [height, width, 3] of the window; RGB
    lids: float = 0.0  # 0 as in the portrait, 1 shut
    brows: float = 0.0  # 0 as in the portrait, 1 as high as they go


@dataclass(frozen=True)
class MotionShape:
    """The sides of a frame's motion maps, which travel packed into bytes."""

    flow: int
    paint: int  # of the whole square
    window: Window = WHOLE  # the part of it that is painted

    @property
    def n_bytes(self) -> int:
        """Of one packed frame."""
        height, width = self._painted
        return 4 * self.flow**2 + 4 * height * width + 2

    @property
    def _painted(self) -> tuple[int, int]:
        rows, columns = self.window.within(self.paint)
        return rows.stop - rows.start, columns.stop - columns.start

    def pack(self, flow: Float, painted: Bytes, eyes: Float | None = None) -> Bytes:
        """Flow [n, side, side, 2], the window's paint and mask [n, h, w, 4], eyes [n, 2] -> [n, bytes].

        eyes: lids and brows,: 0 to 1 each; None: as in the portrait.
        """
        steps = np.clip(np.rint(flow * FLOW_STEPS), -32768, 32767).astype("<i2")
        n = len(flow)
        moved = np.zeros((n, 2), np.float32) if eyes is None else eyes
        levels = np.rint(moved.clip(0, 1) * 255).astype(np.uint8)
        return np.concatenate([steps.reshape(n, -1).view(np.uint8), painted.reshape(n, -1), levels], axis=1)

    def unpack(self, packed: Bytes) -> Iterator[FrameMotion]:
        """The inverse, frame by frame."""
        for frame in packed:
            steps, painted = frame[: 4 * self.flow**2], frame[4 * self.flow**2 : -2]
            flow = steps.view("<i2").reshape(self.flow, self.flow, 2).astype(np.float32) / FLOW_STEPS
            maps = painted.reshape(*self._painted, 4)
            lids, brows = (float(level) / 255 for level in frame[-2:])
            yield FrameMotion(np.asarray(flow, np.float32), maps[..., 3], maps[..., :3], lids, brows)


@dataclass(frozen=True)
class Clip:
    """The frames that were denoised together."""

    index: int  # position in the job; frames start at index * clip_frames
    frames: Bytes  # [n_frames, height, width, 3] RGB, or of anchored models [n_frames, bytes] packed motion
    motion: MotionFrames  # what the next clip starts from


@dataclass(frozen=True)
class StepDone:
    """Progress: one denoising step of one clip has finished."""

    clip: int
    step: int  # 1..n_steps
    n_steps: int
