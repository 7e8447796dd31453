"""Sync-C and Sync-D: SyncNet's confidence and distance between lips and sound.

Follows the published evaluation: 25 frames a second, 13 cepstral coefficients at 100 Hz, distances of
embeddings over shifts of up to 15 frames. The square around the face is taken from this package's landmarks,
where the published program detects faces with S3FD: compare the figures with each other only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from scipy.fft import dct

from hallo_cli.analysis.face import SILHOUETTE, Face, FaceAnalyser
from hallo_cli.domain import SAMPLE_RATE, Bytes, Float

if TYPE_CHECKING:
    from torch import Tensor

    from hallo_cli.evaluation.syncnet import SyncNet

FPS = 25.0
MAX_SHIFT = 15  # frames, either way
FRAME_SAMPLES, FRAME_STEPS = 640, 4  # of sound a video frame: samples, steps of 10 ms
SIDE, N_FRAMES, N_STEPS, N_CEPSTRA = 224, 5, 20, 13  # what SyncNet takes
MARGIN = 0.4  # of the face's box, around it and below
SMOOTHED = 13  # frames that a box is the median of
BLOCK = 20  # frames embedded at a time
WINDOW, STEP, FFT, BANDS = 400, 160, 512, 26  # of the cepstral analysis, in samples
LIFTER = 22

Double = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LipSync:
    """SyncNet's figures of a video."""

    sync_c: float  # confidence: the median distance over all shifts less the smallest; higher is better
    sync_d: float  # the smallest mean distance; lower is better
    syncnet_offset: int  # frames at that distance; positive: the mouth comes late


def lip_sync(network: SyncNet, squares: Iterable[Bytes], waveform: Float, *, n_frames: int) -> LipSync | None:
    """Measure squares [224, 224, 3] around a face, RGB at 25 frames a second, against the sound, 16 kHz mono.

    `n_frames`: how many squares there are. None if there are fewer than 6 frames of both. Cepstra are kept
    for the whole recording (5 KB a second), frames and embeddings only for the moment.
    """
    import torch

    n_windows = min(n_frames, len(waveform) // FRAME_SAMPLES) - N_FRAMES
    if n_windows < 1:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(cepstra(waveform), N_STEPS, 1)[:, ::FRAME_STEPS]
    windows = windows[:, :n_windows].swapaxes(0, 1)  # [n, 13, 20]
    total, n_seen = torch.zeros(2 * MAX_SHIFT + 1, dtype=torch.float64), 0
    with torch.inference_mode():
        for block in _overlapping(islice(squares, n_windows + N_FRAMES - 1)):
            pixels = torch.from_numpy(np.stack(block)[..., ::-1].copy()).permute(3, 0, 1, 2).float()
            seen = network.see(pixels)
            heard = _heard(network, windows, n_seen - MAX_SHIFT, n_seen + len(seen) + MAX_SHIFT)
            shifted = heard.unfold(0, 2 * MAX_SHIFT + 1, 1)  # [n, 1024, shifts]
            total += (seen[:, :, None] - shifted + 1e-6).norm(dim=1).double().sum(0)
            n_seen += len(seen)
    return summary((total / n_seen).numpy()) if n_seen else None


def summary(distances: Double) -> LipSync:
    """The figures of mean distances [31] by shift: the sound from 15 frames earlier to 15 later."""
    best = int(np.argmin(distances))
    lowest = float(distances[best])
    return LipSync(float(np.median(distances)) - lowest, lowest, MAX_SHIFT - best)


def cepstra(waveform: Float) -> Double:
    """Mel-frequency cepstral coefficients [13, steps] at 100 Hz of [n] samples in -1..1.

    As SyncNet was trained with: samples counted in 16-bit steps, pre-emphasis 0.97, no window function, 26
    bands with edges on whole bins, liftered, the first coefficient replaced by the logarithm of the energy.
    """
    samples = np.clip(waveform.astype(np.float64), -1, 1) * 32767
    emphasised = np.append(samples[:1], samples[1:] - 0.97 * samples[:-1])
    n_steps = 1 + max(0, -(-(len(samples) - WINDOW) // STEP))
    padded = np.pad(emphasised, (0, (n_steps - 1) * STEP + WINDOW - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP]
    tiny = np.finfo(np.float64).eps
    found = []
    for start in range(0, n_steps, 6000):  # a minute at a time
        power = np.abs(np.fft.rfft(frames[start : start + 6000], FFT)) ** 2 / FFT
        bands = power @ _bands().T
        rows = dct(np.log(np.where(bands == 0, tiny, bands)), norm="ortho")[:, :N_CEPSTRA]
        rows *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(N_CEPSTRA) / LIFTER)
        energy = power.sum(1)
        rows[:, 0] = np.log(np.where(energy == 0, tiny, energy))
        found.append(rows)
    return np.concatenate(found).T


def face_squares(frames: Iterable[Bytes], analyser: FaceAnalyser) -> Iterator[Bytes]:
    """Yield the square [224, 224, 3] around the face in each frame, steadied by the median of 13 boxes.

    If the face is lost, its last place is used; frames before the first face show the middle.
    """
    waiting: deque[tuple[Bytes, Double]] = deque(maxlen=SMOOTHED)
    face: Face | None = None
    n_shown = -(SMOOTHED // 2)
    for frame in frames:
        face = (analyser.track(frame, face) if face else None) or next(iter(analyser.detect(frame)), None)
        box = _box(face) if face else waiting[-1][1] if waiting else _middle(frame)
        waiting.append((frame, box))
        if n_shown >= 0:
            yield _square(waiting[-1 - SMOOTHED // 2][0], waiting)
        n_shown += 1
    for frame, _ in list(waiting)[-(min(len(waiting), SMOOTHED // 2)) :]:
        yield _square(frame, waiting)


def _heard(network: SyncNet, windows: Double, start: int, stop: int) -> Tensor:
    """Embeddings [stop - start, 1024] by video frame; zeros outside the recording, as published."""
    import torch

    first, last = max(start, 0), min(stop, len(windows))
    heard = network.hear(torch.tensor(windows[first:last])[:, None].float())
    return torch.nn.functional.pad(heard, (0, 0, first - start, stop - last))


def _overlapping(squares: Iterator[Bytes]) -> Iterator[list[Bytes]]:
    """Blocks of frames of which each begins with the last four of the one before."""
    block = list(islice(squares, BLOCK + N_FRAMES - 1))
    while len(block) >= N_FRAMES:
        yield block
        block = block[-(N_FRAMES - 1) :] + list(islice(squares, BLOCK))


def _bands() -> Double:
    """Triangular filters [26, 257], evenly spaced on the mel scale, their edges rounded down to bins."""
    mels = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), BANDS + 2)
    edges = np.floor((FFT + 1) * 700 * (10 ** (mels / 2595) - 1) / SAMPLE_RATE)
    bins = np.arange(FFT // 2 + 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.asarray(np.where(bins < middle, rising, falling).clip(min=0), np.float64)


def _box(face: Face) -> Double:
    """Centre x, y and half the longer side of the face's outline."""
    outline = face.landmarks[list(SILHOUETTE)].astype(np.float64)
    low, high = outline.min(0), outline.max(0)
    return np.array([*(low + high) / 2, (high - low).max() / 2])


def _middle(frame: Bytes) -> Double:
    height, width = frame.shape[:2]
    return np.array([width / 2, height / 2, min(width, height) / (2 + 4 * MARGIN)])


def _square(frame: Bytes, boxes: Iterable[tuple[Bytes, Double]]) -> Bytes:
    """The square as the published program cuts it: a margin at both sides, twice that below, none above."""
    x, y, half = np.median([box for _, box in boxes], axis=0)
    scale = SIDE / (2 * half * (1 + MARGIN))
    matrix = np.array([[scale, 0, SIDE / 2 - x * scale], [0, scale, -(y - half) * scale]])
    moved = cv2.warpAffine(frame, matrix, (SIDE, SIDE), borderValue=(110, 110, 110))
    return np.asarray(moved, np.uint8)
