"""The embedded speech encoder's features of a recording: SpeechNet, speech activity and controls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hallo_cli.analysis.head_motion import Delay, delayed, living
from hallo_cli.analysis.loudness import Sound, measure
from hallo_cli.analysis.speech_network import (
    CLOSE,
    FRAME_SAMPLES,
    OPEN,
    LogMel,
    SpeechNet,
    SpeechNetConfig,
    normalised,
    speech_activity,
)
from hallo_cli.domain import CONTROLS, SAMPLE_RATE, Float
from hallo_cli.errors import WeightsError
from hallo_cli.models.tensor_file import map_tensors
from hallo_cli.models.weights import fill

NET_FPS = SAMPLE_RATE / FRAME_SAMPLES
# A mouth opens by what is said and by how loud it is said: opening^0.3 * loudness^0.5, within these bounds
# of the opening that the network hears
_HEARD, _LOUD = 0.3, 0.5
_LEAST_HEARD, _BOUNDS = 0.05, (0.3, 2.2)
_LOUDEST = 1.2
_SHUT = (0.2, 0.7)  # how surely m, b, p must be heard for loudness to open less, and not at all


class EmbeddedEncoder:
    """Holds SpeechNet; 4 MB."""

    def __init__(self, net: SpeechNet) -> None:
        self._net = net.eval()
        self._mel = LogMel(net.config.n_mels)

    @classmethod
    def load(cls, weights: Path, config: Mapping[str, Any]) -> EmbeddedEncoder:
        """Read the weights strictly; `config` holds SpeechNetConfig's values. Raises WeightsError."""
        try:
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
            has_opening = "opening" in map_tensors(weights)
            net = SpeechNet(dataclasses.replace(SpeechNetConfig(**values), has_opening=has_opening))
        except (TypeError, ValueError, RuntimeError) as error:
            raise WeightsError(f"{weights}: the speech encoder's configuration is wrong: {error}.") from error
        fill({"": net}, weights, device="cpu", dtype=torch.float32)
        return cls(net)

    @property
    def width(self) -> int:
        """Channels of a feature, controls included."""
        return self._net.config.features + 1 + len(CONTROLS)

    @property
    def context_frames(self) -> int:
        """Frames around a moment that can change its features."""
        return self._net.config.context_frames

    @property
    def knows_silence(self) -> bool:
        """Speech activity is one of the features."""
        return True

    def hear(
        self, sound: Sound, *, n_frames: int, fps: float, seed: int = 0, to_train: bool = False
    ) -> EmbeddedHearing:
        """Measure a recording that is rendered as `n_frames` frames; `seed` decides when it blinks."""
        loudness = measure(sound)
        return EmbeddedHearing(
            encoder=self,
            sound=sound,
            fps=fps,
            level=loudness.level,
            n_net_frames=max(1, int(np.ceil(n_frames * NET_FPS / fps))),
            seed=seed,
            loudness=loudness.by_frame(n_frames, fps),
            spoken=loudness.activity(n_frames, fps),
            is_followed=not to_train,
        )

    def following(self, features: Float, activity: Float, loudness: Float) -> Float:
        """Features [frames, features] with an opening that follows the loudness [frames] more closely.

        The network hears unknown voices less surely than how loud they are. `activity` [frames]: of speech.
        """
        if not self._net.config.has_opening:
            return features
        visemes = self._net.to_visemes(torch.from_numpy(features)).numpy()
        heard = np.maximum(visemes[:, OPEN], 0)
        opened = np.maximum(heard * activity, _LEAST_HEARD)
        ratio = np.clip(opened ** (_HEARD - 1) * np.minimum(loudness, _LOUDEST) ** _LOUD, *_BOUNDS)
        shut = np.clip((visemes[:, CLOSE] - _SHUT[0]) / (_SHUT[1] - _SHUT[0]), 0, 1)
        more = heard * (ratio - 1 - shut * np.maximum(ratio - 1, 0))
        return np.asarray(features + more[:, None] * self._net.opening.numpy(), np.float32)

    def encoded(self, samples: Float) -> Tensor:
        """Features and activity [frames, features + 1] of whole frames of the scaled signal."""
        output = self._net(self._mel(torch.from_numpy(samples)[None]))
        activity = speech_activity(output.phone_logits, self._net.config.rest)
        return torch.cat([output.features[0], activity[0, :, None]], 1)


@dataclass(frozen=True)
class EmbeddedHearing:
    """One measured recording; see `speech.Hearing`."""

    encoder: EmbeddedEncoder
    sound: Sound
    fps: float
    level: float
    n_net_frames: int
    seed: int
    loudness: Float  # [n_frames] 0 silent to about 1 loud
    spoken: Float  # [n_frames] by loudness alone
    is_followed: bool  # see EmbeddedEncoder.following
    delay: Delay | None = None  # of head and eyes

    def delayed(self, delay: Delay) -> EmbeddedHearing:
        """See Hearing."""
        return dataclasses.replace(self, delay=delay)

    @torch.inference_mode()
    def features(self, start: int, stop: int, *, margin: int) -> Float:
        """Features [stop - start, 1, width]; uses more than `margin` if the network's context is longer."""
        times = (np.arange(start, stop) + 0.5) * (NET_FPS / self.fps) - 0.5
        margin = max(margin, self.encoder.context_frames)
        first = max(0, int(times[0]) - margin)
        last = min(self.n_net_frames, int(np.ceil(times[-1])) + 1 + margin)
        samples = self.sound.read(first * FRAME_SAMPLES, last * FRAME_SAMPLES)
        encoded = self.encoder.encoded(normalised(samples, self.level)).numpy()
        chosen = _at(encoded, times - first)
        # Speech only if network and loudness both detect it: noise between words keeps the mouth shut.
        activity = np.minimum(chosen[:, -1], self.spoken[start:stop])
        heard = chosen[:, :-1]
        if self.is_followed:
            heard = self.encoder.following(heard, activity, self.loudness[start:stop])
        controls = self._controls(start, stop - start)
        features: Float = np.concatenate([heard, activity[:, None], controls], axis=1)[:, None]
        return features.astype(np.float32)

    def _controls(self, start: int, n_frames: int) -> Float:
        if self.delay is None:
            return living(self.seed, self.loudness, start, n_frames, self.fps)
        return delayed(self.delay, self.seed, self.loudness, start, n_frames=n_frames, fps=self.fps)


def _at(frames: Float, positions: npt.NDArray[np.floating[Any]]) -> Float:
    """Values at fractional positions: at the network's own rate, its frames unchanged."""
    positions = np.clip(positions, 0, len(frames) - 1)
    below = positions.astype(int)
    above = np.minimum(below + 1, len(frames) - 1)
    share = (positions - below)[:, None].astype(np.float32)
    return np.asarray(frames[below] * (1 - share) + frames[above] * share, np.float32)
