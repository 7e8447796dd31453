"""wav2vec2 features as Hallo was trained with (paper section 3.3), of recordings of any length.

The convolution features are stretched to the frame rate before the transformer reads them. What they take
from the whole recording (mean, variance, the first layer's normalisation, where each frame lies between the
convolution steps) is measured first, so they are those of one pass though they are made piece by piece. The
transformer gets up to WHOLE_S at once, as published, and windows of longer recordings.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model

from hallo_cli.analysis.head_motion import Delay
from hallo_cli.analysis.loudness import Sound, measure
from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import WeightsError
from hallo_cli.models.tensor_file import map_tensors

VARIANCE_FLOOR = 1e-7
PIECE_STEPS = 16_000  # first-layer steps held at a time while its statistics are measured: 5 s
PIECE_FRAMES = 250  # frames convolved at a time: ten seconds' first-layer steps are 66 MB
WHOLE_S = 640.0  # heard at once: ten minutes and what fills the last clip; 1.9 GB in all, measured
Statistics = tuple[Tensor, Tensor] | None  # of the first layer: mean and variance [channels, 1]
UNUSED = ("lm_head.", "quantizer.", "project_q.", "project_hid.", "masked_spec_embed")


class Wav2Vec2Encoder:
    """Holds the network; about 360 MB for the published one."""

    def __init__(self, model: Any) -> None:
        """`model` is a Wav2Vec2Model, whose modules are untyped."""
        self._model = model.eval().requires_grad_(False)
        layers = list(self._model.feature_extractor.conv_layers)
        self._first = layers[0]
        self._strides = [int(layer.conv.stride[0]) for layer in layers]
        self._kernels = [int(layer.conv.kernel_size[0]) for layer in layers]
        self._normalises_all = isinstance(getattr(self._first, "layer_norm", None), nn.GroupNorm)

    @classmethod
    def load(cls, weights: Path, config: Path) -> Wav2Vec2Encoder:
        """Read a safetensors file and its config.json, strictly. Raises WeightsError."""
        try:
            with torch.device("meta"):
                model = Wav2Vec2Model(Wav2Vec2Config.from_json_file(str(config)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(f"{config}: cannot be read: {error}. Fetch the bundle again.") from error
        state = {_own_name(name): t for name, t in map_tensors(weights).items() if _is_used(name)}
        return cls(_filled(model, state, weights))

    @property
    def width(self) -> int:
        """Channels of a feature."""
        return int(self._model.config.hidden_size)

    @property
    def knows_silence(self) -> bool:
        """False: these features do not contain speech activity, so noise in pauses moves the mouth."""
        return False

    @torch.inference_mode()
    def hear(
        self, sound: Sound, *, n_frames: int, fps: float, seed: int = 0, to_train: bool = False
    ) -> Wav2Vec2Hearing:
        """Measure a recording that is rendered as `n_frames` frames, whole clips, silence behind its end."""
        del seed, to_train  # these features hold no blinks, and are the same in training
        spoken = ceil(round(sound.n_samples * fps / SAMPLE_RATE, 6))
        padding = max(0, n_frames - spoken) * SAMPLE_RATE / fps
        loudness = measure(sound)
        scale = 1 / float(np.sqrt(loudness.variance + VARIANCE_FLOOR))
        signal = _Signal(sound, loudness.mean, scale, sound.n_samples + int(padding))
        n_steps = self._steps(signal.n_samples)
        statistics = self._first_layer_statistics(signal) if self._normalises_all else None
        return Wav2Vec2Hearing(self, signal, Length(n_frames, fps, max(n_steps, 1)), statistics)

    def _steps(self, n_samples: int) -> int:
        for kernel, stride in zip(self._kernels, self._strides, strict=True):
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples

    def _first_layer_statistics(self, signal: _Signal) -> tuple[Tensor, Tensor]:
        """Mean and variance [channels, 1] of the first convolution over the whole signal."""
        kernel, stride = self._kernels[0], self._strides[0]
        n_steps = max(1, (signal.n_samples - kernel) // stride + 1)
        total = torch.zeros(self._first.conv.out_channels, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for start in range(0, n_steps, PIECE_STEPS):
            stop = min(start + PIECE_STEPS, n_steps)
            piece = signal.read(start * stride, (stop - 1) * stride + kernel)
            response = self._first.conv(torch.from_numpy(piece)[None, None])[0]
            total += response.sum(1, dtype=torch.float64)
            squares += response.double().square().sum(1)
        mean = total / n_steps
        variance = (squares / n_steps - mean**2).clamp(min=0)
        return mean.float()[:, None], variance.float()[:, None]

    def convolved(self, samples: Float, statistics: Statistics) -> Tensor:
        """Convolution features [channels, steps] of a stretch of the normalised signal."""
        x = torch.from_numpy(samples)[None, None]
        layers = list(self._model.feature_extractor.conv_layers)
        if statistics is not None:
            mean, variance = statistics
            norm = self._first.layer_norm
            x = (self._first.conv(x) - mean) * torch.rsqrt(variance + norm.eps)
            x = self._first.activation(x * norm.weight[:, None] + norm.bias[:, None])
            layers = layers[1:]
        for layer in layers:
            x = layer(x)
        return x[0]

    def attended(self, steps: Tensor) -> Tensor:
        """Every transformer layer's output [frames, layers, width] for features [frames, channels]."""
        encoder = self._model.encoder
        x, _ = self._model.feature_projection(steps[None])
        x = encoder.layer_norm(x + encoder.pos_conv_embed(x))
        outputs: Tensor = x.new_empty(x.shape[1], len(encoder.layers), x.shape[2])
        for index, layer in enumerate(encoder.layers):
            result = layer(x)
            x = result[0] if isinstance(result, tuple) else result  # before transformers 5 a tuple
            outputs[:, index] = x[0]
        return outputs

    @property
    def reach(self) -> int:
        """How many frames the positional convolution looks to either side."""
        return int(self._model.config.num_conv_pos_embeddings) // 2

    def sample_range(self, first_step: int, last_step: int) -> tuple[int, int]:
        """The samples that steps [first, last] are made of."""
        low, high = first_step, last_step + 1
        for kernel, stride in zip(reversed(self._kernels), reversed(self._strides), strict=True):
            low, high = low * stride, (high - 1) * stride + kernel
        return low, high


class Wav2Vec2Hearing:
    """One measured recording; see `speech.Hearing`. It keeps the features of the window asked for last."""

    def __init__(
        self, encoder: Wav2Vec2Encoder, signal: _Signal, length: Length, statistics: Statistics
    ) -> None:
        self.encoder, self.signal, self.length, self.statistics = encoder, signal, length, statistics
        n_windows = ceil(length.n_frames / round(WHOLE_S * length.fps))
        self.window_frames = ceil(length.n_frames / n_windows)
        self._held: tuple[int, Float] | None = None

    def delayed(self, delay: Delay) -> Wav2Vec2Hearing:
        """See `speech.Hearing`; these features contain no motion of the head."""
        return self

    @torch.inference_mode()
    def features(self, start: int, stop: int, *, margin: int) -> Float:
        """Features [stop - start, layers, width].

        The transformer hears all of the recording, or of a long one the windows that these frames lie in,
        each with `margin` frames on either side, and at least as many as the positional convolution sees.
        """
        parts = []
        for index in range(start // self.window_frames, (stop - 1) // self.window_frames + 1):
            first = index * self.window_frames
            heard = self._window(index, max(margin, self.encoder.reach))
            parts.append(heard[max(start - first, 0) : stop - first])
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _window(self, index: int, margin: int) -> Float:
        if self._held is None or self._held[0] != index:
            self._held = None  # before the next one is made: they are large
            start = index * self.window_frames
            stop = min(start + self.window_frames, self.length.n_frames)
            first, last = max(0, start - margin), min(self.length.n_frames, stop + margin)
            heard = self.encoder.attended(self.convolved(first, last).T)
            self._held = index, heard[start - first : stop - first].numpy()
        return self._held[1]

    def convolved(self, first: int, last: int) -> Tensor:
        """Convolution features [channels, last - first] of frames, made piece by piece."""
        pieces = range(first, last, PIECE_FRAMES)
        return torch.cat([self._convolved(start, min(start + PIECE_FRAMES, last)) for start in pieces], 1)

    def _convolved(self, first: int, last: int) -> Tensor:
        positions = self._positions(first, last)
        low, high = int(positions[0]), min(int(np.ceil(positions[-1])), self.length.n_steps - 1)
        samples = self.signal.read(*self.encoder.sample_range(low, high))
        steps = self.encoder.convolved(samples, self.statistics)
        return _interpolated(steps, torch.from_numpy(positions - low))

    def _positions(self, first: int, last: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Where frames lie between the convolution steps: both ends aligned."""
        frames = np.arange(first, last, dtype=np.float64)
        return np.asarray(frames * ((self.length.n_steps - 1) / max(self.length.n_frames - 1, 1)))


@dataclass(frozen=True)
class Length:
    """How long a recording is."""

    n_frames: int
    fps: float
    n_steps: int  # convolution steps of the whole signal


@dataclass(frozen=True)
class _Signal:
    """The recording with zero mean and unit variance, zeros behind its end."""

    sound: Sound
    mean: float
    scale: float
    n_samples: int

    def read(self, start: int, stop: int) -> Float:
        samples = self.sound.read(start, stop)
        inside = slice(max(0, -start), max(0, self.sound.n_samples - start))
        samples[inside] = (samples[inside] - np.float32(self.mean)) * np.float32(self.scale)
        return samples


def _interpolated(steps: Tensor, positions: Tensor) -> Tensor:
    """Values [channels, frames] of steps [channels, n] at fractional positions."""
    below = positions.floor().long().clamp(0, steps.shape[1] - 1)
    above = (below + 1).clamp(max=steps.shape[1] - 1)
    share = (positions - below).to(steps.dtype)
    return steps[:, below] * (1 - share) + steps[:, above] * share


def _is_used(name: str) -> bool:
    return not name.removeprefix("wav2vec2.").startswith(UNUSED)


def _own_name(name: str) -> str:
    """Published checkpoints come from the speech recogniser, and name weight norm as torch once did."""
    name = name.removeprefix("wav2vec2.")
    for old, new in (("conv.weight_g", "original0"), ("conv.weight_v", "original1")):
        if name.endswith(old):
            return name.removesuffix(old) + f"conv.parametrizations.weight.{new}"
    return name


def _filled(model: Wav2Vec2Model, state: dict[str, Tensor], weights: Path) -> Wav2Vec2Model:
    if model.config.do_stable_layer_norm:
        raise WeightsError(f"{weights}: not built like wav2vec2-base, as it must be.")
    wanted = {name: tensor for name, tensor in model.state_dict().items() if _is_used(name)}
    wrong = sorted(wanted.keys() ^ state.keys()) or [
        name for name, tensor in wanted.items() if tensor.shape != state[name].shape
    ]
    if wrong:
        raise WeightsError(
            f"{weights}: does not fit its config.json at {', '.join(wrong[:3])}. Fetch the bundle again."
        )
    if "masked_spec_embed" in model.state_dict():
        state["masked_spec_embed"] = torch.zeros(model.config.hidden_size)  # used in training only
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return model
