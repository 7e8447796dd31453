"""Pictures are seen the right way up, small faces are found, and what may look odd is said."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hallo_cli.analysis.face import FaceAnalyser
from hallo_cli.analysis.portrait import PortraitOptions, notes_of, see
from hallo_cli.analysis.sight import Sight
from hallo_cli.domain import Bytes
from hallo_cli.errors import PortraitError

FILE = Path("portrait.png")


def look(picture: Bytes, analyser: FaceAnalyser, face_index: int | None = None) -> Sight:
    return see(picture, analyser, PortraitOptions(96, face_index=face_index), FILE)


def leaning(picture: Bytes, degrees: float) -> Bytes:
    turned = Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(255, 255, 255))
    return np.array(turned)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("degrees", [-20, 0, 20])
def test_pictures_on_their_side_or_head_are_turned_upright(
    analyser: FaceAnalyser, astronaut: Bytes, turns: int, degrees: float
) -> None:
    upright = leaning(astronaut, degrees)
    sight = look(np.rot90(upright, turns), analyser)
    assert sight.quarter_turns == -turns % 4
    assert np.array_equal(sight.picture, upright)
    assert abs(sight.face.roll) < 35
    said = [note for note in sight.notes(96) if "turned upright" in note]
    assert len(said) == (1 if turns else 0)


def test_the_largest_face_says_which_way_is_up(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    scene = np.full((700, 700, 3), 255, np.uint8)
    scene[:400, :400] = astronaut[:400, 50:450]
    child = np.array(Image.fromarray(astronaut[:320, 50:370]).resize((200, 200)))
    scene[450:650, 450:650] = child[::-1, ::-1]
    assert look(scene, analyser).quarter_turns == 0


@pytest.mark.parametrize("degrees", [-40, -30, 30, 40])
def test_leaning_heads_are_warned_of(analyser: FaceAnalyser, astronaut: Bytes, degrees: float) -> None:
    (note,) = look(leaning(astronaut, degrees), analyser).notes(96)
    assert "leans by" in note


def test_an_upright_sharp_face_needs_no_word(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    assert look(astronaut, analyser).notes(96) == ()


def test_several_faces_are_said_unless_one_was_chosen(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    two = np.concatenate([astronaut, astronaut], axis=1)
    assert "--face-index chooses another" in notes_of(look(two, analyser), PortraitOptions(96))[0]
    assert notes_of(look(two, analyser, 1), PortraitOptions(96, face_index=1)) == ()


@pytest.mark.parametrize(
    ("width", "height", "face"), [(4000, 3000, 70), (4000, 3000, 150), (7680, 4320, 42), (7680, 4320, 200)]
)
def test_small_faces_are_found_in_large_pictures(
    analyser: FaceAnalyser, astronaut: Bytes, width: int, height: int, face: int
) -> None:
    """The example's face is 106 of 512 pixels high."""
    side = round(512 * face / 106)
    small = np.array(Image.fromarray(astronaut).resize((side, side), Image.Resampling.LANCZOS))
    picture = np.full((height, width, 3), (120, 130, 140), np.uint8)
    top, left = round(0.61 * height) + 37, round(0.67 * width) + 11
    picture[top : top + side, left : left + side] = small
    sight = look(picture, analyser)
    assert sight.face.size == pytest.approx(face, rel=0.15)
    assert left < sight.face.landmarks[:, 0].mean() < left + side
    assert top < sight.face.landmarks[:, 1].mean() < top + side


def test_views_of_one_colour_are_not_searched(
    analyser: FaceAnalyser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyser._detector, "_run", pytest.fail)
    assert analyser.detect(np.full((600, 800, 3), (200, 30, 90), np.uint8)) == []


def test_a_large_picture_without_a_face_is_refused(analyser: FaceAnalyser) -> None:
    ramp = np.linspace(0, 255, 1600).astype(np.uint8)  # searched to the finest tiles
    picture = np.stack([np.broadcast_to(ramp, (1200, 1600))] * 3, axis=2)
    with pytest.raises(PortraitError, match="No face"):
        look(picture, analyser)
