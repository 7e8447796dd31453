import cv2
import numpy as np
import pytest

from hallo_cli.domain import Bytes
from hallo_cli.media.layout import EYE_LINE, CanvasStage, lay_out
from hallo_cli.settings.canvas import canvas_size

CANVASES = ["1080x1920", "9:16", "1:1", "16:9", "portrait", "4:5", "640x360", "64x64"]
FRAMES = {"tall": (300, 900), "wide": (900, 300), "tiny": (20, 24), "huge": (2400, 1800)}
RED, BLUE = (255, 0, 0), (0, 0, 255)


def frame_with_disc(size: tuple[int, int]) -> tuple[Bytes, tuple[float, float]]:
    """A blue frame with a red disc around the eyes, and where those are."""
    width, height = size
    frame = np.full((height, width, 3), BLUE, np.uint8)
    at = (width * 0.45, height * 0.4)
    cv2.circle(frame, (round(at[0]), round(at[1])), round(min(size) * 0.2), RED, -1)
    return frame, (at[0] / width, at[1] / height)


def disc_in(picture: Bytes) -> tuple[float, float, float, float]:
    """Middle, width and height of what is red."""
    is_red = (picture[..., 0] > 128) & (picture[..., 2] < 128)
    rows, columns = np.nonzero(is_red)
    return (
        float(columns.mean()),
        float(rows.mean()),
        float(np.ptp(columns)) + 1,
        float(np.ptp(rows)) + 1,
    )


def place(frame: Bytes, eyes: tuple[float, float], canvas: str, fit: str) -> Bytes:
    size = canvas_size(canvas)
    layout = lay_out((frame.shape[1], frame.shape[0]), size, eyes, is_cropped=fit == "crop")
    green = np.full((size[1], size[0], 3), (0, 255, 0), np.uint8)
    return CanvasStage(layout, green if fit == "pad" else None).place(frame[None])[0]


@pytest.mark.parametrize("canvas", CANVASES)
@pytest.mark.parametrize("fit", ["crop", "pad", "blur"])
@pytest.mark.parametrize("kind", FRAMES)
def test_size_is_exact_and_nothing_is_stretched(canvas: str, fit: str, kind: str) -> None:
    frame, eyes = frame_with_disc(FRAMES[kind])
    placed = place(frame, eyes, canvas, fit)
    width, height = canvas_size(canvas)
    assert placed.shape == (height, width, 3)
    assert width % 2 == height % 2 == 0
    scaled = lay_out(FRAMES[kind], (width, height), eyes, is_cropped=fit == "crop").scaled
    across, down = FRAMES[kind]
    assert abs(scaled[0] / across - scaled[1] / down) <= 0.51 / across + 0.51 / down  # whole pixels
    if fit == "pad":  # only here is the disc surely whole
        scaled = lay_out(FRAMES[kind], (width, height), eyes, is_cropped=False).scaled
        _, _, across, down = disc_in(placed)
        # A disc has jags of a pixel in the frame, scaled like it.
        tolerance = 2 + 2 * max(scaled[0] / FRAMES[kind][0], scaled[1] / FRAMES[kind][1])
        assert across == pytest.approx(down, abs=tolerance)


@pytest.mark.parametrize(("fit", "kind"), [("crop", "tall"), ("pad", "huge"), ("blur", "huge")])
def test_eyes_go_a_third_down_where_the_frame_allows(fit: str, kind: str) -> None:
    frame, eyes = frame_with_disc(FRAMES[kind])
    _, y, _, _ = disc_in(place(frame, eyes, "9:16", fit))
    assert y / 1920 == pytest.approx(EYE_LINE, abs=0.02)


def test_cropped_canvas_has_no_gap() -> None:
    frame, eyes = frame_with_disc((900, 300))
    placed = place(frame, eyes, "9:16", "crop")
    assert not (placed == (0, 255, 0)).all(axis=2).any()


def test_padding_shows_the_background_and_the_whole_frame() -> None:
    frame, eyes = frame_with_disc((640, 640))
    placed = place(frame, eyes, "9:16", "pad")
    is_green = (placed == (0, 255, 0)).all(axis=2)
    assert is_green.sum() == 1080 * (1920 - 1080)


def test_blur_surrounds_the_frame_with_its_own_colours() -> None:
    frame, eyes = frame_with_disc((640, 640))
    placed = place(frame, eyes, "9:16", "blur")
    assert placed[-1].astype(int)[:, 2].mean() > 200  # blue goes on below


def test_frame_of_the_canvas_own_shape_is_left_alone() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (640, 360, 3), np.uint8)
    assert (place(frame, (0.5, 0.5), "360x640", "crop") == frame).all()
