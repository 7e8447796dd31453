"""Values that travel between the layers: frozen, made of numpy arrays, ignorant of files and networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


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
class Portrait:
    """One analysed picture, ready for the networks."""

    pixels: Bytes  # [height, width, 3] RGB at the rendered size
    crop: CropBox  # where those pixels lie in the source picture
    source_size: tuple[int, int]  # (width, height) of the upright source picture
    landmarks: Float  # [478, 2] x, y in pixels of `pixels`
    face_region: Float  # [height, width] 0 or 1: the face locator's rectangle
    masks: RegionMasks
    blend: Float  # [height, width] 0..1: how much of the generated picture shows
    identity: Float | None  # [512] raw face embedding, None for bundles trained without
    digest: str  # content hash of the source picture
    skin: Float | None = None  # [height, width] 0..1: the face without its mouth; None: not looked for
    quarter_turns: int = 0  # against the clock, which set the picture in the file upright
    notes: tuple[str, ...] = ()  # what a person should know of it


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

    pixels: Float  # [motion_frames, height, width, 3] in -1..1


@dataclass(frozen=True)
class Clip:
    """The frames that were denoised together."""

    index: int  # position in the job; frames start at index * clip_frames
    frames: Bytes  # [n_frames, height, width, 3] RGB
    motion: MotionFrames  # what the next clip starts from


@dataclass(frozen=True)
class StepDone:
    """Progress: one denoising step of one clip has finished."""

    clip: int
    step: int  # 1..n_steps
    n_steps: int
