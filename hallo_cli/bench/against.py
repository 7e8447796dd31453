"""Measures how much the frames of two sets of settings differ, with the same seed, before encoding."""

from __future__ import annotations

from collections.abc import Iterable

from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.domain import Bytes
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.evaluation.truth import TruthMeter


def differences(reference: Bytes, others: Iterable[Bytes]) -> list[VideoFigures]:
    """For each of the others, the figures against the reference frames [n, height, width, 3].

    They are psnr, ssim, gmsd, landmark_distance and truth_opening.
    """
    analyser = FaceAnalyser(threads=1)

    def face_in(frame: Bytes) -> Face | None:
        return next(iter(analyser.detect(frame)), None)

    faces = [face_in(frame) for frame in reference]
    share = sum(face is not None for face in faces) / len(reference)
    figures = []
    for frames in others:
        meter = TruthMeter()
        for frame, true_frame, true_face in zip(frames, reference, faces, strict=True):
            meter.add(frame, face_in(frame), true_frame, true_face)
        figures.append(meter.added_to(VideoFigures(len(frames), share)))
    return figures
