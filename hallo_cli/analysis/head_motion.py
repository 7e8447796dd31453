"""Plans the motion of head and eyes: blinks, head pose, brows, gaze.

Speech does not determine these, and small networks in few steps cannot invent them. This module computes them
from the seed and the loudness of the speech; the networks get them besides the speech features. The values of
a frame depend only on the seed, its time and the loudness around it, so any range can be computed alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hallo_cli.analysis.easing import eased
from hallo_cli.domain import Float

UNITS = np.array([1, 0.05, 0.05, 0.05, 1, 0.1, 0.1], np.float32)  # shut lids; radians; raised brows; radians
MARGIN_S = 1.5  # of loudness before and after the frames that are asked for
SWAY = np.array([0.034, 0.022, 0.028], np.float32)  # slow turns, radians (standard deviation)
NOD, NOD_ROLL = 0.030, 0.010  # what a stressed syllable adds to pitch (downwards) and roll, radians
BROW, BROW_IDLE = 1.2, 0.2  # what the strongest stress raises the brows by, and what they do without
GLANCE = 0.035  # radians
REACH = 8  # frames on either side in which the head's tilt changes its direction
EARLIEST = 1000  # keeps the numbers of knots before the video above 0
CALM = 0.35  # of the sway, where nobody speaks
CHANGE_OVER_S = 1.0  # from one course of motion to another
MEAN_INTERVAL_S = 3.4  # of blinks
MIN_INTERVAL_S = 1.2
CLOSING_S, SHUT_S, OPENING_S = 0.08, 0.04, 0.20
QUIET_ENDS_S = 0.6  # no blink begins or ends this near the video's ends


def living(seed: int, loudness: Float, first: int, n_frames: int, fps: float) -> Float:
    """The `CONTROLS` of frames [first, first + n_frames) in their `UNITS`: [n_frames, 7].

    `loudness` is the level of every frame of the video, 0 silent to about 1 loud.
    """
    total = len(loudness)
    times_s = (np.arange(first, first + n_frames) + 0.5) / fps
    stress = _stress(loudness, fps)[first : first + n_frames]
    lively = CALM + (1 - CALM) * _smooth(np.minimum(loudness * 2, 1), 0.6, fps)[first : first + n_frames]
    noise = np.stack(
        [_noise([seed, 0x5EAD, axis], times_s, period_s=1.3 + 0.4 * axis) for axis in range(3)], 1
    )
    head = SWAY * noise * lively[:, None]
    around_s = (np.arange(first - REACH, first + n_frames + REACH) + 0.5) / fps
    side = np.sign(_noise([seed, 0x511, 0], around_s, period_s=2.5))
    head[:, 1] += NOD * stress
    head[:, 2] += NOD_ROLL * stress * np.convolve(side, np.full(2 * REACH + 1, 1 / (2 * REACH + 1)), "valid")
    idle = _noise([seed, 0xB0, 0], times_s, period_s=2.2) * lively
    brows = np.clip(BROW * stress + BROW_IDLE * np.maximum(idle, 0), 0, 1)
    glance = np.stack([_noise([seed, 0x61A, axis], times_s, period_s=1.9) for axis in range(2)], 1)
    gaze = GLANCE * np.clip(glance, -1.5, 1.5) * (0.7, 0.4)
    gaze += 0.6 * head[:, :2] * (-1, 1)  # the gaze compensates the head's turn
    values = [
        blinks(seed, total, fps)[first : first + n_frames, None],
        head,
        brows[:, None],
        gaze,
    ]
    return np.asarray(np.concatenate(values, 1) / UNITS, np.float32)


@dataclass(frozen=True)
class Delay:
    """From a frame on, head and eyes move as so many frames earlier; before it they change over."""

    frame: int
    n_frames: int  # negative: as they would later


def delayed(delay: Delay, seed: int, loudness: Float, first: int, *, n_frames: int, fps: float) -> Float:
    """As `living`, after something was inserted into a recording, or cut out, before `delay.frame`."""
    values, stop = living(seed, loudness, first, n_frames, fps), first + n_frames
    begins = max(first, delay.frame - round(CHANGE_OVER_S * fps), delay.n_frames, 0)
    if begins >= stop:
        return values
    before = loudness[
        np.clip(np.arange(len(loudness) - delay.n_frames) + delay.n_frames, 0, len(loudness) - 1)
    ]
    as_before = living(seed, before, begins - delay.n_frames, stop - begins, fps)
    share = eased(1 - (delay.frame - np.arange(begins, stop)) / round(CHANGE_OVER_S * fps))
    values[begins - first :] += share[:, None] * (as_before - values[begins - first :])
    return values


def blinks(seed: int, n_frames: int, fps: float) -> Float:
    """The closure of the eyes in every frame [n_frames], 0 open to 1 shut: a fixed schedule for each seed."""
    time_s = (np.arange(n_frames) + 0.5) / fps
    shut = np.zeros(n_frames, np.float32)
    length_s = CLOSING_S + SHUT_S + OPENING_S
    for start_s in _blink_starts(seed, n_frames / fps - QUIET_ENDS_S - length_s):
        first, last = np.searchsorted(time_s, [start_s, start_s + length_s])
        since = time_s[first:last] - start_s
        closing = since / CLOSING_S
        opening = (length_s - since) / OPENING_S
        shut[first:last] = np.maximum(shut[first:last], eased(np.minimum(closing, opening)))
    return shut


def _blink_starts(seed: int, latest_s: float) -> list[float]:
    """Intervals like people's: rarely short, sometimes long."""
    rng = np.random.default_rng([seed, 0xB11])
    starts = []
    time_s = QUIET_ENDS_S + float(rng.uniform(0, MEAN_INTERVAL_S))
    while time_s < latest_s:
        starts.append(time_s)
        time_s += MIN_INTERVAL_S + float(rng.gamma(2.0, (MEAN_INTERVAL_S - MIN_INTERVAL_S) / 2))
    return starts


def _stress(loudness: Float, fps: float) -> Float:
    """The stress of a frame's syllable relative to its surroundings, 0 to about 1."""
    short, long = _smooth(loudness, 0.16, fps), _smooth(loudness, 1.0, fps)
    return _smooth(np.clip(3 * (short - 1.1 * long), 0, 1), 0.2, fps)


def _smooth(values: Float, seconds: float, fps: float) -> Float:
    """Weighted means over about that many seconds either side."""
    reach = max(1, round(seconds * fps))
    window = np.hanning(2 * reach + 3)[1:-1]
    padded = np.pad(values, reach, mode="edge")
    return np.asarray(np.convolve(padded, window / window.sum(), "valid"), np.float32)


def _noise(key: list[int], times_s: Float, *, period_s: float) -> Float:
    """Smooth noise of about unit deviation: a cubic curve through random values, one every `period_s`."""
    at = times_s / period_s
    knot = np.floor(at).astype(int)
    share = (at - knot)[:, None]
    numbers = np.arange(knot.min() - 1, knot.max() + 3)
    drawn = np.array([np.random.default_rng([*key, int(n) + EARLIEST]).standard_normal() for n in numbers])
    before, low, high, after = (drawn[knot - numbers[0] + step] for step in (-1, 0, 1, 2))
    t = share[:, 0]
    curve = low + 0.5 * t * (
        high
        - before
        + t * (2 * before - 5 * low + 4 * high - after + t * (3 * (low - high) + after - before))
    )
    return np.asarray(curve, np.float32)
