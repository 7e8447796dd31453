"""The corpus knows where every point of a frame lies in the reference picture."""

import cv2
import numpy as np
import pytest

from hallo_cli.domain import Bytes
from hallo_cli.training.takes import Take, packed_flow, unpacked_flow
from hallo_cli.workshop.corpus.make_takes import MOTION_SIZE, TakeSpec, make_take
from hallo_cli.workshop.corpus.motion import BACKDROP


@pytest.fixture(scope="module")
def take() -> Take:
    """Of somebody who turns the head and speaks."""
    for index in range(20):
        made = make_take(TakeSpec(5, index, n_frames=6))
        if made is not None and np.abs(made.truth["turn"]).max() > 0.05:
            return made
    raise AssertionError("nobody turned")


def picture(data: bytes) -> Bytes:
    pixels = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    return np.asarray(cv2.resize(pixels, (MOTION_SIZE, MOTION_SIZE), interpolation=cv2.INTER_AREA), np.uint8)


def test_flow_keeps_its_hundredths() -> None:
    flow = np.random.default_rng(0).uniform(-40, 40, (5, 7, 2)).astype(np.float32)
    assert np.abs(unpacked_flow(packed_flow(flow)) - flow).max() <= 1 / 64


def test_reference_warped_by_the_flow_is_the_frame_where_it_is_seen(take: Take) -> None:
    assert take.reference is not None
    reference, index = picture(take.reference), int(np.abs(take.truth["turn"]).max(1).argmax())
    frame, seen = picture(take.frames[index]).astype(int), take.truth["seen"][index]
    rows, columns = np.mgrid[0:MOTION_SIZE, 0:MOTION_SIZE].astype(np.float32)
    flow = unpacked_flow(take.truth["flow"][index]) * (MOTION_SIZE / take.info.size)
    warped = cv2.remap(reference, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR).astype(int)
    on_head = seen & (take.truth["materials"][index] != BACKDROP)
    still = np.abs(reference.astype(int) - frame)[on_head].mean()
    assert np.abs(warped - frame)[on_head].mean() < 0.6 * still


def test_backdrop_stays_where_it_is(take: Take) -> None:
    backdrop = take.truth["materials"] == BACKDROP
    assert backdrop.any()
    assert (take.truth["flow"][backdrop] == 0).all()


def test_what_opens_in_a_mouth_is_not_seen_in_a_closed_one() -> None:
    for index in range(9, 40):  # nobody before opens it so wide and shuts it
        made = make_take(TakeSpec(7, index, n_frames=6))
        if made is None or made.truth["opening"].max() < 0.05:
            continue
        widest = int(made.truth["opening"].argmax())
        inner = np.isin(made.truth["materials"][widest], (2, 3, 4))
        if inner.sum() > 20 and np.abs(made.truth["opening"]).min() < 0.005:
            assert not made.truth["seen"][widest][inner].all()
            return
    raise AssertionError("no mouth opened")


def test_takes_tell_turns_glances_and_brows(take: Take) -> None:
    n_frames = take.info.n_frames
    assert take.truth["turn"].shape == (n_frames, 3)
    assert take.truth["gaze"].shape == (n_frames, 2)
    assert take.truth["brow"].shape == (n_frames,)
    assert np.abs(take.truth["turn"]).max() < 0.3
