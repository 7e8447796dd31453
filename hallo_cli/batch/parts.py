"""Splits long rows into parts that several workers render at the same time, and blends them at the joins.

Every part but the first begins from the portrait instead of the frames before it, so face and head may be at
another place: the overlap is cross-faded. Motion is less continuous there, so this is off by default.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hallo_cli.batch.task import N_SEEDS, Part, Task
from hallo_cli.errors import EncoderError

if TYPE_CHECKING:
    from hallo_cli.domain import Bytes

OVERLAP_S = 0.4
_PART_CRF = 6  # parts are encoded once more when they are joined


def cut(n_frames: int, *, part_frames: int, lead: int) -> list[Part]:
    """Parts of equal length, none longer than `part_frames` by more than a frame."""
    count = max(1, -(-n_frames // part_frames))
    edges = [round(n_frames * index / count) for index in range(count + 1)]
    return [Part(start, stop, lead if start else 0) for start, stop in itertools.pairwise(edges)]


def split(task: Task, *, rate: float, folder: Path) -> tuple[Task, list[Task]]:
    """A row as the task of joining its parts, and the parts; no parts where the row is short.

    `rate` is the exact frame rate, `folder` where the parts' videos go.
    """
    lead = max(1, round(OVERLAP_S * rate))
    parts = cut(task.frames, part_frames=max(2 * lead, round(task.settings.segment_s * rate)), lead=lead)
    if len(parts) < 2:
        return task, []
    layout = json.dumps([dataclasses.astuple(part) for part in parts])
    name = hashlib.sha256(f"{task.fingerprint} parts {layout}".encode()).hexdigest()
    place = folder / name[:16]
    whole = dataclasses.replace(task, fingerprint=name, parts=tuple(parts), parts_dir=str(place))
    return whole, [
        _part_task(whole, part, index=index, rate=rate, is_last=index == len(parts) - 1)
        for index, part in enumerate(parts)
    ]


def part_path(folder: Path, index: int) -> Path:
    """The video of a part."""
    return folder / f"part-{index:04d}.mp4"


def blended(videos: Iterable[Generator[Bytes]], parts: Sequence[Part]) -> Iterator[Bytes]:
    """The row's frames [height, width, 3], each overlap faded from one part to the next.

    Each video is closed once its frames are read. Raises EncoderError if a part has fewer than it should.
    """
    held: deque[Bytes] = deque()
    for index, (video, part) in enumerate(zip(videos, parts, strict=True)):
        before, held = held, deque()
        n_kept = parts[index + 1].lead if index + 1 < len(parts) else 0  # for the next part to overlap
        for position in range(part.n_frames):
            frame = next(video, None)
            if frame is None:
                raise EncoderError(f"part {index} ends after {position} of {part.n_frames} frames.")
            if position < part.lead:
                frame = _mix(before.popleft(), frame, (position + 1) / (part.lead + 1))
            held.append(frame)
            if len(held) > n_kept:
                yield held.popleft()
        video.close()
    yield from held


def _mix(old: Bytes, new: Bytes, share: float) -> Bytes:
    weight = 0.5 - 0.5 * np.cos(np.pi * share)
    return np.asarray(old * (1 - weight) + new * weight + 0.5, np.uint8)


def _part_task(whole: Task, part: Part, *, index: int, rate: float, is_last: bool) -> Task:
    settings = whole.settings
    offset_s = (part.start - part.lead) / rate
    left_s = None if settings.duration_s is None else settings.duration_s - offset_s
    changed = dataclasses.replace(
        settings,
        start_s=settings.start_s + offset_s,
        duration_s=left_s if is_last else part.n_frames / rate,
        crf=min(settings.crf, _PART_CRF),
        seed=(settings.seed + index) % N_SEEDS,  # otherwise all parts would blink in the same way
    )
    return dataclasses.replace(
        whole,
        id=f"{whole.id} part {index + 1}",
        output=part_path(Path(whole.parts_dir), index),
        settings=changed,
        fingerprint=f"{whole.fingerprint} {index}",
        frames=part.n_frames,
        seconds=part.n_frames / rate,
        cost=whole.cost * part.n_frames / whole.frames,
        parent=whole.number,
        parts=(),
        may_replace=True,
    )
