"""SpeechNet, the embedded speech encoder: log-mel spectrogram in, one feature vector a video frame out.

It replaces wav2vec2 in the embedded model at a hundredth of the size. Every layer looks at a bounded
stretch of time and normalises each moment by itself, so any cut of a recording gives the features of the
whole once `context_frames` frames surround it. It knows no files and no video.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hallo_cli.analysis.loudness import block_energies, level_of
from hallo_cli.domain import SAMPLE_RATE, Float

FRAME_SAMPLES = 640  # samples of one video frame at 25 fps
_HOP, _FFT, _WINDOW = 160, 512, 400
_MEL_STEPS = FRAME_SAMPLES // _HOP  # mel steps a video frame
_EDGE_FRAMES = 5  # seen by stem and halvings and by `speech_activity`, and one to spare
_LOWEST_HZ, _HIGHEST_HZ = 50.0, 7600.0
OPEN, CLOSE = 0, 3  # the visemes of an open mouth and of shut lips
_LEVEL = 0.1  # root mean square that loud speech is scaled to


@dataclass(frozen=True)
class SpeechNetConfig:
    """Size of a SpeechNet, and which of its phones stands for silence."""

    n_mels: int = 80
    width: int = 192
    features: int = 128
    visemes: int = 6
    phones: int = 41
    rest: int = 28  # index of the phone of silence
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 1, 4, 8, 1)
    has_opening: bool = True  # whether the weights hold `SpeechNet.opening`; earlier ones do not

    @property
    def context_frames(self) -> int:
        """Frames of surroundings, on either side, that can change a feature or an activity."""
        return sum(self.dilations) + _EDGE_FRAMES


@dataclass(frozen=True)
class SpeechOutput:
    """SpeechNet's outputs for each video frame."""

    features: Tensor  # [batch, frames, features], each of mean 0 and variance 1
    visemes: Tensor  # [batch, frames, visemes], about 0..1
    phone_logits: Tensor  # [batch, frames, phones]


class SpeechNet(nn.Module):
    """Log-mel [batch, n_mels, 4 * frames] at 100 Hz -> features, visemes and phones at 25 fps."""

    opening: Tensor  # [features] what an opening wider by 1 adds to the features, other visemes the same

    def __init__(self, config: SpeechNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.stem = _Stage(config.n_mels, width, kernel=5)
        self.halvings = nn.ModuleList([_Stage(width, width, kernel=6, stride=2) for _ in range(2)])
        self.context = nn.ModuleList([_Stage(width, width, kernel=3, dilation=d) for d in config.dilations])
        self.to_features = nn.Conv1d(width, config.features, 1)
        self.norm = nn.LayerNorm(config.features)
        self.to_visemes = nn.Linear(config.features, config.visemes)
        self.to_phones = nn.Linear(config.features, config.phones)
        if config.has_opening:
            self.register_buffer("opening", torch.zeros(config.features))

    def forward(self, log_mel: Tensor) -> SpeechOutput:
        """Raises nothing: `log_mel`'s length must be a multiple of 4."""
        x = self.stem(log_mel)
        for halving in self.halvings:
            x = halving(x)
        for stage in self.context:
            x = x + stage(x)
        features = self.norm(self.to_features(x).transpose(1, 2))
        return SpeechOutput(features, self.to_visemes(features), self.to_phones(features))

    @torch.no_grad()
    def measure_opening(self, features: Tensor) -> None:
        """Set `opening` by least squares over `features` [frames, features] of varied speech."""
        known, wanted = self.to_visemes(features).double(), features.double()
        solved = torch.linalg.lstsq(known - known.mean(0), wanted - wanted.mean(0)).solution
        self.opening.copy_(solved[OPEN])


class _Stage(nn.Module):
    """Convolution over time, each moment normalised over its channels, GELU."""

    def __init__(
        self, channels: int, out_channels: int, *, kernel: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        padding = (kernel - stride + 1) // 2 * dilation
        self.conv = nn.Conv1d(channels, out_channels, kernel, stride, padding, dilation)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.norm(self.conv(x).transpose(1, 2))).transpose(1, 2)


class LogMel(nn.Module):
    """Waveform [batch, 640 * frames] -> log-mel [batch, n_mels, 4 * frames] with a fixed scale, about -2..2.

    Step k is centred on samples 160 k .. 160 (k + 1). `warps` holds factors on the frequency axis: forward's
    `warp` picks one for each row, which sounds like a longer or a shorter vocal tract (for training).
    """

    window: Tensor
    filters: Tensor

    def __init__(self, n_mels: int = 80, warps: tuple[float, ...] = (1.0,)) -> None:
        super().__init__()
        banks = torch.stack([_mel_filters(n_mels, warp) for warp in warps])
        self.register_buffer("filters", banks, persistent=False)
        self.register_buffer("window", torch.hann_window(_WINDOW), persistent=False)

    def forward(self, waveform: Tensor, warp: Tensor | None = None) -> Tensor:
        """`warp`: [batch] index into `warps`; None takes the first."""
        margin = (_FFT - _HOP) // 2
        spectrum = torch.stft(
            F.pad(waveform, (margin, margin)),
            _FFT,
            _HOP,
            _WINDOW,
            self.window,
            center=False,
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        filters = self.filters[:1] if warp is None else self.filters[warp]
        return (torch.log(filters @ power + 1e-6) + 6.0) / 4.0


def _mel_filters(n_mels: int, warp: float) -> Tensor:
    """Triangular filters [n_mels, 257], evenly spaced on the mel scale."""

    def mel(frequency: float) -> float:
        return 2595 * math.log10(1 + frequency / 700)

    mels = torch.linspace(mel(_LOWEST_HZ), mel(_HIGHEST_HZ), n_mels + 2)
    edges = 700 * (10 ** (mels / 2595) - 1) * warp
    bins = torch.arange(_FFT // 2 + 1) * SAMPLE_RATE / _FFT
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)


def recording_level(waveform: Float) -> float:
    """The speech level of a whole recording [n]: the 95th percentile of the RMS of 20 ms blocks.

    Dividing by it makes quiet and loud recordings alike. It is bounded from below, so that room noise in a
    silent recording is not blown up to the loudness of speech.
    """
    return level_of(block_energies(waveform))


def normalised(waveform: Float, level: float) -> Float:
    """`waveform` [n] scaled so that its `recording_level` is the one SpeechNet was trained at."""
    return np.asarray(waveform * (_LEVEL / level), np.float32)


def speech_activity(phone_logits: Tensor, rest: int) -> Tensor:
    """Each frame's speech activity, 0..1 [batch, frames]: 1 - the probability of rest, smoothed.

    `rest`: index of the phone that stands for silence. The smoothing spans about five frames, so that the
    mouth closes softly and a stop inside a word does not count as silence.
    """
    speech = 1 - phone_logits.float().softmax(-1)[..., rest]
    kernel = torch.tensor([0.06, 0.24, 0.40, 0.24, 0.06], device=speech.device)
    padded = F.pad(speech[:, None], (2, 2), mode="replicate")
    return F.conv1d(padded, kernel[None, None])[:, 0]
