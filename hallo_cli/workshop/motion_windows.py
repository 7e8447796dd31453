"""Windows of takes with exact motion: what the anchored autoencoder learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hallo_cli.analysis.face import EYES
from hallo_cli.domain import Bytes, Float
from hallo_cli.errors import InputError
from hallo_cli.models.anchored import Truth
from hallo_cli.training.takes import MOUTH_MATERIALS, Take, read_takes, shards_in, unpacked_flow

SIDE = 256  # pixels of a window, half as many as the takes' frames have
_MOTION_STEP = 4  # pixels of a frame for one of its motion maps


@dataclass(frozen=True)
class MotionTake:
    """A take, its pictures still encoded."""

    reference: bytes
    frames: tuple[bytes, ...]
    flow: npt.NDArray[np.int16]  # [frames, 128, 128, 2] packed
    seen: npt.NDArray[np.bool_]  # [frames, 128, 128]
    inner: npt.NDArray[np.bool_]  # [frames, 128, 128] the mouth's inside
    lips: Float  # [4] left, top, right, bottom in pixels
    eyes: Float  # [2, 4] the same of each eye
    blinks: npt.NDArray[np.int64]  # the frames in which the lids move
    is_held_out: bool = False


@dataclass(frozen=True)
class Windows:
    """A batch."""

    portrait: Tensor  # [n, 3, side, side] in -1..1, as are frames
    frame: Tensor
    flow: Tensor  # [n, 2, side / 4, side / 4] shares of the whole picture's side
    seen: Tensor  # [n, 1, side / 4, side / 4]
    inner: Tensor  # [n, 1, side / 4, side / 4]
    lids: Tensor  # [n, 1, side / 4, side / 4] 1 around the eyes where the portrait shows the skin or the eye
    weight: Tensor  # [n, 1, side, side] how much each pixel counts
    focus: Tensor  # [n, 2] left and top of a square of `FOCUS` pixels that shows a mouth or an eye


FOCUS = 112
_KINDS = (0.58, 0.26, 0.16)  # shares of windows around a mouth, around an eye, anywhere
_EYE = 1
_LID_MARGINS = np.array([-16, -34, 16, 14], np.float32)  # around an eye, in pixels of a frame
_BLINKING = 0.5  # of the windows around an eye, where there is a blink


def read_motion_takes(folder: Path, *, limit: int | None = None) -> list[MotionTake]:
    """The takes of a folder of shards. Raises InputError if they hold no exact motion."""
    takes = (take for shard in shards_in(folder) for take in read_takes(shard))
    found = [_motion_take(take) for take in islice(takes, limit)]
    if not found:
        raise InputError(f"{folder} contains no takes: make some with `hallo train synth`")
    return found


def window_batches(
    takes: list[MotionTake], rng: np.random.Generator, *, batch_size: int
) -> Iterator[Windows]:
    """Endless random batches; each take that is drawn serves two windows."""
    while True:
        rows = []
        for _ in range(batch_size // 2):
            take = takes[rng.integers(len(takes))]
            portrait = picture(take.reference)
            for index in rng.choice(len(take.frames), 2, replace=False):
                kind = int(rng.choice(3, p=_KINDS))
                is_blink = kind == _EYE and len(take.blinks) and rng.random() < _BLINKING
                chosen = rng.choice(take.blinks) if is_blink else index
                rows.append(_window(take, int(chosen), kind, portrait, rng))
        parts = [torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)]
        yield Windows(*parts)


def whole(take: MotionTake, index: int) -> tuple[Tensor, Tensor, Truth]:
    """Portrait and frame [1, 3, height, width] in -1..1, and what is known of the frame."""
    portrait, frame = picture(take.reference), picture(take.frames[index])
    flow = unpacked_flow(take.flow[index]).transpose(2, 0, 1) / np.float32(len(portrait))
    seen, inner = (torch.from_numpy(maps[index])[None, None].float() for maps in (take.seen, take.inner))
    return (
        torch.from_numpy(_planes(portrait))[None],
        torch.from_numpy(_planes(frame))[None],
        Truth(torch.from_numpy(np.ascontiguousarray(flow))[None], 1 - seen, inner),
    )


def picture(data: bytes) -> Bytes:
    """A JPEG file's RGB pixels. Raises InputError."""
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if found is None:
        raise InputError("a frame of the takes cannot be read: make them again")
    return np.asarray(found, np.uint8)


def _motion_take(take: Take) -> MotionTake:
    if take.reference is None or "flow" not in take.truth:
        raise InputError(f"take {take.key} has no exact motion: make the corpus with `hallo train synth`")
    eyes = [take.landmarks[list(eye)] for eye in EYES]
    return MotionTake(
        reference=take.reference,
        frames=take.frames,
        flow=take.truth["flow"],
        seen=take.truth["seen"],
        inner=np.isin(take.truth["materials"], MOUTH_MATERIALS),
        lips=np.array(take.info.lip_box, np.float32),
        eyes=np.stack([np.concatenate([eye.min(0), eye.max(0)]) for eye in eyes]).astype(np.float32),
        blinks=np.flatnonzero(take.truth["blink"] > 0.15),
        is_held_out=take.info.split == "validation",
    )


def _window(
    take: MotionTake, index: int, kind: int, portrait: Bytes, rng: np.random.Generator
) -> tuple[npt.NDArray[np.generic], ...]:
    size, step = len(portrait), _MOTION_STEP
    places = [_middle(take.lips), _middle(take.eyes[rng.integers(2)])]
    centre = places[kind] + rng.normal(0, 30, 2) if kind < 2 else rng.uniform(SIDE / 2, size - SIDE / 2, 2)
    left, top = (int(v) for v in np.clip((centre - SIDE / 2) // 8 * 8, 0, size - SIDE))
    rows, columns = slice(top, top + SIDE), slice(left, left + SIDE)
    at = slice(top // step, (top + SIDE) // step), slice(left // step, (left + SIDE) // step)
    frame = picture(take.frames[index])[rows, columns]
    flow = unpacked_flow(take.flow[index][at]) / np.float32(size)
    corner = np.array([left, top], np.float32)
    focus = np.clip(places[min(kind, 1)] + (0, 6) - corner - FOCUS / 2, 0, SIDE - FOCUS).astype(np.int64)
    maps = [
        _planes(portrait[rows, columns]),
        _planes(frame),
        flow.transpose(2, 0, 1).astype(np.float32),
        take.seen[index][at][None].astype(np.float32),
        take.inner[index][at][None].astype(np.float32),
        (take.seen[index][at] & _around_eyes(take)[at])[None].astype(np.float32),
        _weight(take, corner)[None],
    ]
    if rng.random() < 0.5:
        maps = [np.ascontiguousarray(part[..., ::-1]) for part in maps]
        maps[2][0] *= -1
        focus[0] = SIDE - FOCUS - focus[0]
    return (*maps, focus)


def _around_eyes(take: MotionTake) -> npt.NDArray[np.bool_]:
    around = np.zeros(take.seen.shape[1:], np.bool_)
    for eye in take.eyes:
        left, top, right, bottom = ((eye + _LID_MARGINS) / _MOTION_STEP).astype(int).clip(0)
        around[top:bottom, left:right] = True
    return around


def _weight(take: MotionTake, corner: Float) -> Float:
    weight = np.ones((SIDE, SIDE), np.float32)
    for box, margin, value in (
        (take.lips, (16, 16, 16, 44), 3),
        *((eye, (16, 16, 16, 16), 2) for eye in take.eyes),
    ):
        left, top, right, bottom = np.clip(
            box - np.tile(corner, 2) + np.array([-1, -1, 1, 1]) * margin, 0, SIDE
        ).astype(int)
        weight[top:bottom, left:right] = value
    return weight


def _middle(box: Float) -> Float:
    return np.asarray((box[:2] + box[2:]) / 2, np.float32)


def _planes(pixels: Bytes) -> Float:
    planes = pixels.transpose(2, 0, 1).astype(np.float32)
    return np.ascontiguousarray(planes / np.float32(127.5) - 1, np.float32)
