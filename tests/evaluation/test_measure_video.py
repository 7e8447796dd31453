"""Videos are compared with just what they show of the portrait."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from remembered import portraits_set_upright_once

from hallo_cli.analysis import face as face_module
from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.analysis.framing import cut, face_square
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.domain import Bytes, CropBox
from hallo_cli.errors import InputError
from hallo_cli.evaluation.face_window import MAX_SIDE, View, view_on
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.evaluation.measure import VideoMeter
from hallo_cli.evaluation.measure_video import measure_video, square_of
from hallo_cli.media.image import read_image, write_png
from hallo_cli.media.video import SegmentWriter
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.store.digests import file_digest

PORTRAIT = Path(__file__).parents[2] / "hallo_cli/assets/examples/portrait_astronaut.png"


@pytest.fixture(scope="module", autouse=True)
def portraits_are_set_upright_once() -> Iterator[None]:
    """The videos are compared with the same portrait."""
    with pytest.MonkeyPatch.context() as patch, portraits_set_upright_once():
        patch.setattr(face_module, "_session", functools.cache(face_module._session))
        yield


@pytest.fixture(scope="module")
def square() -> CropBox:
    (face, *_) = FaceAnalyser().detect(read_image(PORTRAIT))
    return face_square(face.landmarks, Geometry(crop_scale=1.32, crop_shift=0.015))


@pytest.fixture(scope="module")
def video(square: CropBox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait's own square, standing still, as good as lossless."""
    file = tmp_path_factory.mktemp("shown") / "still.mp4"
    frames = np.repeat(cut(read_image(PORTRAIT), square, 256)[None], 2, axis=0)
    with SegmentWriter(file, VideoFormat(256, 256, 25.0, "libx264", 1)) as writer:
        writer.write(frames)
        writer.commit()
    return file


def measured(video: Path, square: object, portrait_sha256: str | None = None) -> VideoFigures:
    """With a record beside the video that names this square."""
    record = {
        "portrait": {"sha256": portrait_sha256 or file_digest(PORTRAIT)},
        "output": {"square": square, "n_frames": 2, "clip_frames": 12, "segment_starts": [0]},
    }
    video.with_suffix(".json").write_text(json.dumps(record))
    return measure_video(video, portrait=PORTRAIT)[0]


@pytest.fixture(scope="module")
def laid_over(video: Path) -> VideoFigures:
    return measured(video, None)


def test_recorded_square_is_compared_pixel_by_pixel(
    video: Path, square: CropBox, laid_over: VideoFigures
) -> None:
    exact = measured(video, [square.left, square.top, square.side])
    assert exact.background_ssim is not None
    assert laid_over.background_ssim is not None
    assert exact.background_ssim > 0.98  # colours lose half their resolution
    assert laid_over.background_ssim < exact.background_ssim


@pytest.mark.parametrize(
    "wrong",
    [[0, 0, 1e12], [0, 0, -5], [9e9, 0, 256], [float("nan")] * 3, [1, 2], "abc", {"left": 1}],
)
def test_strange_record_is_as_good_as_none(video: Path, wrong: object, laid_over: VideoFigures) -> None:
    assert measured(video, wrong) == laid_over


def test_another_portraits_square_is_not_used(video: Path, square: CropBox, laid_over: VideoFigures) -> None:
    assert measured(video, [square.left, square.top, square.side], "0" * 64) == laid_over


def noise(folder: Path, canvas: str) -> Path:
    """A video without a face, which shows the portrait squeezed, as its record says."""
    video = folder / "noise.mp4"
    with SegmentWriter(video, VideoFormat(64, 64, 25.0, "libx264", 18)) as writer:
        writer.write(np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), np.uint8))
        writer.commit()
    settings = {"framing": "whole", "canvas": canvas}
    record = {"portrait": {"sha256": file_digest(PORTRAIT)}, "settings": settings}
    video.with_suffix(".json").write_text(json.dumps(record))
    return video


def test_squeezed_portrait_needs_no_face_in_the_video(tmp_path: Path) -> None:
    figures, _ = measure_video(noise(tmp_path, "framed"), portrait=PORTRAIT)
    assert not any("reference picture" in note for note in figures.notes)
    assert figures.face_share == 0


def test_portrait_on_a_canvas_needs_a_face_in_the_video(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="without --portrait"):
        measure_video(noise(tmp_path, "1080x1920"), portrait=PORTRAIT)


def test_record_that_cannot_be_read_names_no_square(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2")
    assert square_of(tmp_path / "a.mp4", PORTRAIT) is None


def wide_video(folder: Path, side: int) -> Path:
    """A small face in a large still picture, which is its own portrait."""
    face = cv2.resize(cut(read_image(PORTRAIT), CropBox(40, 0, 400), 400), (160, 160))
    picture = np.full((side, side, 3), 128, np.uint8)
    picture[side - 300 : side - 140, 100:260] = face
    write_png(folder / "wide.png", picture)
    with SegmentWriter(folder / "wide.mp4", VideoFormat(side, side, 25.0, "libx264", 12)) as writer:
        writer.write(np.repeat(picture[None], 2, axis=0))
        writer.commit()
    return folder / "wide.mp4"


def test_large_video_is_measured_at_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    measure = VideoMeter.measure

    def spy(self: VideoMeter, frame: Bytes, face: Face | None) -> None:
        shapes.append(frame.shape)
        measure(self, frame, face)

    monkeypatch.setattr(VideoMeter, "measure", spy)
    video = wide_video(tmp_path, 1400)
    figures, _ = measure_video(video, portrait=tmp_path / "wide.png")
    assert set(shapes) == {(MAX_SIDE, MAX_SIDE, 3)}
    assert figures.face_share == 1.0
    assert figures.upper_face_ssim is not None
    assert figures.upper_face_ssim > 0.95


def test_frames_of_bounded_size_are_measured_as_they_are() -> None:
    frame = np.zeros((MAX_SIDE, 300, 3), np.uint8)
    view = view_on(frame, FaceAnalyser())
    assert view.of(frame) is frame


def test_true_frame_of_another_size_is_seen_through_the_same_window() -> None:
    view = View((1000, 800), left=200, top=100, width=400, height=400)
    small = np.zeros((80, 100, 3), np.uint8)
    small[10:50, 20:60] = 255  # what the window shows
    assert view.of(small).shape == (400, 400, 3)
    assert view.of(small).min() == 255
