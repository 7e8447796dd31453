"""Measures how much the frames of two sets of settings differ, with the same seed.

The frames are compared before they are encoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.domain import Bytes
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.evaluation.truth import TruthMeter


@dataclass
class Comparison:
    """Compares frames [n, height, width, 3] with fixed reference frames."""

    reference: Bytes

    def difference(self, frames: Bytes) -> VideoFigures:
        """The figures against the reference: psnr, ssim, gmsd, landmark_distance, truth_opening."""
        meter = TruthMeter()
        for frame, true_frame, true_face in zip(frames, self.reference, self._faces, strict=True):
            meter.add(frame, self._find(frame), true_frame, true_face)
        n_found = sum(face is not None for face in self._faces)
        return meter.added_to(VideoFigures(len(frames), n_found / len(frames)))

    @cached_property
    def _analyser(self) -> FaceAnalyser:
        return FaceAnalyser(threads=1)

    @cached_property
    def _faces(self) -> list[Face | None]:
        return [self._find(frame) for frame in self.reference]

    def _find(self, frame: Bytes) -> Face | None:
        return next(iter(self._analyser.detect(frame)), None)
