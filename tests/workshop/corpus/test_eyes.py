"""Lids, lashes and glasses of drawn people."""

from dataclasses import replace

import numpy as np
import pytest

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus import glasses
from hallo_cli.workshop.corpus.drawing import SIZE, Actor
from hallo_cli.workshop.corpus.expression import Moment
from hallo_cli.workshop.corpus.eyes import n_eye_pixels, stretch_lids
from hallo_cli.workshop.corpus.head_model import GLASSES, load_head_model
from hallo_cli.workshop.corpus.motion import reference_points
from hallo_cli.workshop.corpus.phones import VISEMES


@pytest.fixture(scope="module")
def actors() -> list[Actor]:
    return [Actor(np.random.default_rng([77, seed])) for seed in range(4)]


def moment(blink: float, turn: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Moment:
    return Moment(np.zeros(len(VISEMES), np.float32), blink=blink, turn=turn)


def test_lids_meet_in_a_blink_and_leave_open_eyes_open(actors: list[Actor]) -> None:
    for actor in actors:
        shut, wide = (n_eye_pixels(actor.draw(moment(blink)).shown.triangles) for blink in (1.0, 0.0))
        assert shut <= 12 < 100 < wide


def test_skin_of_a_shut_lid_comes_from_above_the_open_eye(actors: list[Actor]) -> None:
    ticks = np.arange(SIZE // 4, dtype=np.float32) * 4 + 2
    points = np.stack(np.meshgrid(ticks, ticks), -1)
    for actor in actors:
        open_eyes, shut = actor.draw(moment(0.0)), actor.draw(moment(1.0))
        places, seen = reference_points(shut.shown, open_eyes.shown, points)
        stretch_lids(shut.shown, open_eyes.shown, points, places, seen)
        rows, columns = points[..., 1].astype(int), points[..., 0].astype(int)
        model = load_head_model()
        was_eye = model.materials[np.maximum(open_eyes.shown.triangles[rows, columns], 0)] == 1
        lid = was_eye & seen & (places[..., 1] < points[..., 1] - 2)
        assert lid.sum() >= 0.4 * was_eye.sum()
        there = places[lid].astype(int)
        shown = model.materials[open_eyes.shown.triangles[there[:, 1], there[:, 0]]]
        assert (shown == 1).mean() < 0.1


def test_glasses_turn_with_the_skull_and_not_with_brows_or_lids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glasses, "SHARE", 1.0)
    actor = Actor(np.random.default_rng([77, 1]))
    worn = load_head_model().vertices_of(GLASSES)

    def frame(shown: Moment) -> Float:
        return actor.draw(shown).shown.screen[worn, :2]

    still = frame(moment(0.0))
    assert np.ptp(still[:, 0]) > 80
    assert np.array_equal(still, frame(replace(moment(1.0), brow=1.0)))
    assert np.abs(frame(moment(0.0, turn=(0.06, 0, 0))) - still).max() > 3
