"""An engine with several faces in one picture."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from job_doubles import TrivialEngine

from hallo_cli.analysis.sight import missing_face
from hallo_cli.domain import Clip, CropBox, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.settings.schema import RenderSettings


class Faces(TrivialEngine):
    """Three faces of 8 pixels in a grey picture; a face's frames are as bright as its speech is loud."""

    def __init__(self, space: int = 20) -> None:
        super().__init__()
        self.space = space

    def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
        if settings.face_index not in (0, 1, 2):
            raise missing_face(settings.face_index, path, [])
        whole = super().portrait(path, settings)
        corners = np.array([[0, 0], [8, 8]], np.float32)
        left = self.space * settings.face_index
        return dataclasses.replace(
            whole,
            landmarks=np.resize(corners + np.array([left, 12]), (478, 2)),
            crop=CropBox(0, 0, 32),
            notes=("old",),
        )

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Iterator[StepDone | Clip]:
        carried = np.zeros((2, 1, 1, 1), np.float32) if motion is None else motion.values
        for start in range(0, speech.n_frames, self.clip_frames):
            index = (speech.first_frame + start) // self.clip_frames
            heard = speech.features[start + 2 : start + 2 + self.clip_frames, 0, 0]
            assert speech.features.shape[1] == 1
            carried = carried + 1 + 100 * heard.sum()
            level = np.clip(heard * 1000 + carried.max() % 5, 0, 255).astype(np.uint8)
            yield StepDone(index, 1, 1)
            yield Clip(index, np.repeat(level, 32 * 32 * 3).reshape(-1, 32, 32, 3), MotionFrames(carried))
