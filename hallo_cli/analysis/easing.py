"""Eases changes: shares from 0 to 1 that begin and end smoothly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float


def eased(share: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Smooth from 0 to 1; constant beyond."""
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))


def soft(share: npt.NDArray[np.floating]) -> Float:
    """As `eased`, in single precision."""
    return np.asarray(eased(share), np.float32)


def passed(values: npt.NDArray[np.floating], ends: tuple[float, float]) -> Float:
    """How far values have gone from one end to the other: 0 before, 1 beyond, smooth between."""
    return soft((values - ends[0]) / (ends[1] - ends[0]))
