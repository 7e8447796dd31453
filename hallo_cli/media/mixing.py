"""Mixes channels into one so that nothing audible is lost where they cancel each other.

Channels are averaged, as usual. If they cancel (for example, one of a pair has the opposite phase), the
missing part is restored for each frequency, at the channels' mean power.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float

WINDOW = 1024  # samples: 64 ms at 16 kHz
HOP = WINDOW // 2
HOPS = 64  # mixed at a time
# Mixed level / mean level: fully restored below the first, not at all above the second.
LOST, KEPT = 0.15, 0.35
LEADING = 4.0  # times the first channel's power at which another channel gives the phase
NEAR = 24  # samples: 1.5 ms
AUDIBLE = 1e-4  # share of the total power: a loss below it is ignored

Complex = npt.NDArray[np.complex128]


class Mixer:
    """Takes pieces of any length and returns as many samples, with a delay."""

    def __init__(self) -> None:
        ramp = 2 * np.pi * (np.arange(WINDOW) + 0.5) / WINDOW
        self._window: Float = np.sqrt(0.5 - 0.5 * np.cos(ramp)).astype(np.float32)
        self._held: Float = np.zeros((0, 0), np.float32)  # from the start of the next window
        self._tail: Float = np.zeros(HOP, np.float32)  # what the last window restores in the next hop
        self._n_early = HOP  # samples before the first, which are not returned
        self.power = self.lost_power = 0.0  # power of the channels; power that averaging would have lost

    def push(self, samples: Float) -> Float:
        """Take samples [n, channels]; return mixed ones [m]."""
        if samples.shape[1] == 1:
            return samples[:, 0]
        if not self._held.size:
            self._held = np.zeros((HOP, samples.shape[1]), np.float32)  # zeros before the first sample
        self._held = np.concatenate([self._held, samples])
        n_hops = len(self._held) // HOP - 1
        return self._mixed(n_hops) if n_hops >= HOPS else np.zeros(0, np.float32)

    def flush(self) -> Float:
        """Return the remaining samples and reset."""
        n_left = len(self._held)
        if not n_left:
            return np.zeros(0, np.float32)
        n_missing = self._n_early
        n_hops = -(-n_left // HOP)
        self._held = np.pad(self._held, ((0, (n_hops + 1) * HOP - n_left), (0, 0)))
        mixed = self._mixed(n_hops)[: n_left - n_missing]
        self._held, self._tail, self._n_early = self._held[:0, :0], np.zeros(HOP, np.float32), HOP
        return mixed

    def _mixed(self, n_hops: int) -> Float:
        """Mix the first hops; the one after them is only analysed."""
        windows = np.lib.stride_tricks.sliding_window_view(self._held[: (n_hops + 1) * HOP], WINDOW, axis=0)
        lost = self._lost(windows[::HOP])
        mixed: Float = self._held[: n_hops * HOP].mean(axis=1, dtype=np.float32)
        mixed += lost[:, :HOP].ravel() + np.concatenate([self._tail, lost[:-1, HOP:].ravel()])
        self._held, self._tail = self._held[n_hops * HOP :], lost[-1, HOP:]
        first, self._n_early = self._n_early, 0
        return mixed[first:]

    def _lost(self, windows: Float) -> Float:
        """What averaging loses in windows [n, channels, WINDOW]; zeros where that is little."""
        lost = np.zeros((len(windows), WINDOW), np.float32)
        apart = np.square(windows - windows.mean(axis=1, keepdims=True)).sum(axis=(1, 2))
        differ = np.flatnonzero(apart > AUDIBLE * np.square(windows).sum(axis=(1, 2)))
        if len(differ):
            missing = self._put_back(np.fft.rfft(windows[differ] * self._window))
            bound = _loudest_near(windows[differ])  # else a window's sound would start too early
            lost[differ] = np.clip(missing, -bound, bound)
        return lost

    def _put_back(self, spectra: Complex) -> Float:
        """The part missing in the average of spectra [n, channels, bins], as windows [n, WINDOW]."""
        power = np.square(np.abs(spectra))
        average, level = spectra.mean(axis=1), np.sqrt(power.mean(axis=1))
        share = np.clip((KEPT - np.abs(average) / np.maximum(level, 1e-12)) / (KEPT - LOST), 0, 1)
        self.power += float(power.mean(axis=1).sum())
        self.lost_power += float((share * power.mean(axis=1)).sum())
        loudest = power.argmax(axis=1)[:, None]
        follows = np.take_along_axis(power, loudest, 1) < LEADING * power[:, :1]
        leading = np.take_along_axis(spectra, np.where(follows, 0, loudest), 1)[:, 0]
        wanted = leading / np.maximum(np.abs(leading), 1e-12) * level
        missing = np.fft.irfft(share * (wanted - average), WINDOW)
        return np.asarray(missing * self._window, np.float32)


def _loudest_near(windows: Float) -> Float:
    """The greatest amplitude in any channel within a few samples: [n, WINDOW] of [n, channels, WINDOW]."""
    level = np.abs(windows).max(axis=1)
    padded = np.pad(level, ((0, 0), (NEAR, NEAR)))
    near = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEAR + 1, axis=1)
    return np.asarray(near.max(axis=2), np.float32)
