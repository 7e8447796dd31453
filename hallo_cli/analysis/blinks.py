"""Plans when a portrait blinks: a fixed schedule for each seed, independent of the requested range."""

from __future__ import annotations

import numpy as np

from hallo_cli.domain import Float

MEAN_INTERVAL_S = 3.4
MIN_INTERVAL_S = 1.2
CLOSING_S, SHUT_S, OPENING_S = 0.08, 0.04, 0.20
QUIET_ENDS_S = 0.6  # no blink begins or ends this near the video's ends


def blinks(seed: int, n_frames: int, fps: float) -> Float:
    """Return the closure of the eyes in every frame [n_frames], 0 open to 1 shut."""
    time_s = (np.arange(n_frames) + 0.5) / fps
    shut = np.zeros(n_frames, np.float32)
    length_s = CLOSING_S + SHUT_S + OPENING_S
    for start_s in _starts(seed, n_frames / fps - QUIET_ENDS_S - length_s):
        first, last = np.searchsorted(time_s, [start_s, start_s + length_s])
        since = time_s[first:last] - start_s
        closing = since / CLOSING_S
        opening = (length_s - since) / OPENING_S
        curve = np.clip(np.minimum(closing, opening), 0, 1)
        shut[first:last] = np.maximum(shut[first:last], curve * curve * (3 - 2 * curve))
    return shut


def _starts(seed: int, latest_s: float) -> list[float]:
    """Intervals like people's: rarely short, sometimes long."""
    rng = np.random.default_rng([seed, 0xB11])
    starts = []
    time_s = QUIET_ENDS_S + float(rng.uniform(0, MEAN_INTERVAL_S))
    while time_s < latest_s:
        starts.append(time_s)
        time_s += MIN_INTERVAL_S + float(rng.gamma(2.0, (MEAN_INTERVAL_S - MIN_INTERVAL_S) / 2))
    return starts
