"""The identity embedding of a face: insightface's detector and ArcFace, from files that are already there.

Only bundles trained with an identity need it. insightface downloads what it does not find, so it is given a
folder of links to exactly the two checked files.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from hallo_cli.analysis.face import Face
from hallo_cli.domain import Bytes, Float
from hallo_cli.errors import PortraitError, WeightsError, first_line
from hallo_cli.store.digests import file_digest

DETECTION_SIZE = (640, 640)
MIN_SCORE = 0.5


class IdentityNetwork:
    """Holds insightface's FaceAnalysis with the bundle's detector and recognition network."""

    def __init__(self, detector: Path, recognition: Path) -> None:
        """Load both ONNX files. Raises WeightsError if one is missing or is not what it should be."""
        for file in (detector, recognition):
            if not file.is_file():
                raise WeightsError(f"{file}: missing. Fetch the official weights with `hallo models pull`.")
        self.digest = f"{file_digest(detector)}+{file_digest(recognition)}"  # of what decides the embedding
        folder = Path(tempfile.mkdtemp())  # kept: insightface reads its files again when it detects
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._analysis = _face_analysis(detector, recognition, folder)

    def embed(self, picture: Bytes, face: Face) -> Float:
        """Return the raw embedding [512] of one face of a [height, width, 3] RGB picture.

        Raises PortraitError if this network's own detector does not find that face.
        """
        nose = face.landmarks[4]
        found = self._found(picture)
        embedding = _of_largest(
            [f for f in found if (f.bbox[:2] <= nose).all() and (nose <= f.bbox[2:4]).all()]
        )
        if embedding is None:
            raise PortraitError(
                "The identity network finds no face in the portrait. Use a sharper, more frontal picture."
            )
        return embedding

    def embed_largest(self, picture: Bytes) -> Float | None:
        """Return the raw embedding [512] of the largest face that it finds, as published, or None."""
        return _of_largest(self._found(picture))

    def _found(self, picture: Bytes) -> list[Any]:
        with _quietly():
            return list(self._analysis.get(np.ascontiguousarray(picture[:, :, ::-1])))


def _of_largest(faces: list[Any]) -> Float | None:
    if not faces:
        return None
    largest = max(faces, key=lambda f: float((f.bbox[2] - f.bbox[0]) * (f.bbox[3] - f.bbox[1])))
    return np.asarray(largest.embedding, np.float32)


def _face_analysis(detector: Path, recognition: Path, folder: Path) -> Any:
    from insightface.app import FaceAnalysis

    for name, file in (("detector.onnx", detector), ("recognition.onnx", recognition)):
        _link(file.resolve(), folder / name)
    with _quietly():
        try:
            analysis = FaceAnalysis(
                name=str(folder),
                root=str(folder),
                allowed_modules=["detection", "recognition"],
                providers=["CPUExecutionProvider"],
            )
            analysis.prepare(ctx_id=-1, det_thresh=MIN_SCORE, det_size=DETECTION_SIZE)
        except Exception as error:  # onnxruntime's and insightface's errors share no base
            raise WeightsError(
                f"{detector.name} and {recognition.name} are not the face networks that insightface expects: "
                f"{first_line(error)}. Fetch them again."
            ) from error
    if set(analysis.models) != {"detection", "recognition"}:
        raise WeightsError(
            f"{recognition.name} is not a face recognition network. Fetch it again with `hallo models pull`."
        )
    return analysis


def _link(file: Path, link: Path) -> None:
    link.symlink_to(file)


@contextlib.contextmanager
def _quietly() -> Any:
    """Hide insightface's prints and its libraries' deprecation warnings."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
