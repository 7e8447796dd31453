"""Windows of takes with exact motion: what the anchored autoencoder learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hallo_cli.analysis.face import EYES
from hallo_cli.domain import Bytes, Float
from hallo_cli.errors import InputError
from hallo_cli.models.anchored import Truth
from hallo_cli.training.take_encoder import exact_motion
from hallo_cli.training.takes import MOUTH_MATERIALS, Take, picture, read_takes, shards_in, unpacked_flow

SIDE = 256  # pixels of a window, half as many as the takes' frames have
_MOTION_STEP = 4  # pixels of a frame for one of its motion maps


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
_NEEDED = ("flow", "seen", "materials", "blink")  # truth
_MOVING = 0.15  # of truth.blink: the lids move
_BLINKING = 0.5  # of the windows around an eye, where there is a blink


def read_motion_takes(folder: Path) -> list[Take]:
    """The takes of a folder of shards, as much as windows show. Raises InputError without exact motion."""
    found = [_slim(take) for shard in shards_in(folder) for take in read_takes(shard)]
    if not found:
        raise InputError(f"{folder} contains no takes: make some with `hallo train synth`")
    return found


def window_batches(takes: list[Take], rng: np.random.Generator, *, batch_size: int) -> Iterator[Windows]:
    """Endless random batches; each take that is drawn serves two windows."""
    while True:
        rows = []
        for _ in range(batch_size // 2):
            take = takes[rng.integers(len(takes))]
            blinks = np.flatnonzero(take.truth["blink"] > _MOVING)
            for index in rng.choice(len(take.frames), 2, replace=False):
                kind = int(rng.choice(3, p=_KINDS))
                is_blink = kind == _EYE and len(blinks) and rng.random() < _BLINKING
                rows.append(_window(take, int(rng.choice(blinks) if is_blink else index), kind, rng))
        parts = [torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)]
        yield Windows(*parts)


def whole(take: Take, index: int) -> tuple[Tensor, Tensor, Truth]:
    """Portrait and frame [1, 3, height, width] in -1..1, and what is known of the frame."""
    truth = exact_motion(take)
    assert truth is not None
    one = slice(index, index + 1)
    portrait, frame = (torch.from_numpy(_planes(shown))[None] for shown in _pictures(take, index))
    return portrait, frame, Truth(truth.flow[one], truth.hidden[one], truth.inner[one])


def _slim(take: Take) -> Take:
    """A take without its sound and what else no window shows."""
    if take.reference is None or "flow" not in take.truth:
        raise InputError(f"take {take.key} has no exact motion: make the corpus with `hallo train synth`")
    return replace(take, wav=b"", truth={name: take.truth[name] for name in _NEEDED})


def _pictures(take: Take, index: int) -> tuple[Bytes, Bytes]:
    """Portrait and frame."""
    assert take.reference is not None
    return picture(take, take.reference), picture(take, take.frames[index])


def _window(
    take: Take, index: int, kind: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.generic], ...]:
    portrait, frame = _pictures(take, index)
    size, step = len(portrait), _MOTION_STEP
    places = [_middle(_lips(take)), _middle(_eyes(take)[rng.integers(2)])]
    centre = places[kind] + rng.normal(0, 30, 2) if kind < 2 else rng.uniform(SIDE / 2, size - SIDE / 2, 2)
    left, top = (int(v) for v in np.clip((centre - SIDE / 2) // 8 * 8, 0, size - SIDE))
    rows, columns = slice(top, top + SIDE), slice(left, left + SIDE)
    at = slice(top // step, (top + SIDE) // step), slice(left // step, (left + SIDE) // step)
    flow = unpacked_flow(take.truth["flow"][index][at]) / np.float32(size)
    seen = take.truth["seen"][index][at]
    inner = np.isin(take.truth["materials"][index][at], MOUTH_MATERIALS)
    corner = np.array([left, top], np.float32)
    focus = np.clip(places[min(kind, 1)] + (0, 6) - corner - FOCUS / 2, 0, SIDE - FOCUS).astype(np.int64)
    maps = [
        _planes(portrait[rows, columns]),
        _planes(frame[rows, columns]),
        flow.transpose(2, 0, 1).astype(np.float32),
        seen[None].astype(np.float32),
        inner[None].astype(np.float32),
        (seen & _around_eyes(take)[at])[None].astype(np.float32),
        _weight(take, corner)[None],
    ]
    if rng.random() < 0.5:
        maps = [np.ascontiguousarray(part[..., ::-1]) for part in maps]
        maps[2][0] *= -1
        focus[0] = SIDE - FOCUS - focus[0]
    return (*maps, focus)


def _lips(take: Take) -> Float:
    """Left, top, right and bottom in pixels [4]."""
    return np.array(take.info.lip_box, np.float32)


def _eyes(take: Take) -> list[Float]:
    """The same of each eye."""
    eyes = [take.landmarks[list(eye)] for eye in EYES]
    return [np.concatenate([eye.min(0), eye.max(0)]).astype(np.float32) for eye in eyes]


def _around_eyes(take: Take) -> npt.NDArray[np.bool_]:
    around = np.zeros(take.truth["seen"].shape[1:], np.bool_)
    for eye in _eyes(take):
        left, top, right, bottom = ((eye + _LID_MARGINS) / _MOTION_STEP).astype(int).clip(0)
        around[top:bottom, left:right] = True
    return around


def _weight(take: Take, corner: Float) -> Float:
    weight = np.ones((SIDE, SIDE), np.float32)
    for box, margin, value in (
        (_lips(take), (16, 16, 16, 44), 3),
        *((eye, (16, 16, 16, 16), 2) for eye in _eyes(take)),
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
