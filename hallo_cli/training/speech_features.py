"""SpeechNet's features for training: what rendering computes, but with a blink channel left to the takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hallo_cli.domain import Float
from hallo_cli.models.audio_encoder import (
    FRAME_SAMPLES,
    LogMel,
    SpeechNet,
    SpeechNetConfig,
    normalised,
    recording_level,
    speech_activity,
)
from hallo_cli.models.weights import fill
from hallo_cli.training.synth.phones import PHONE_ID, REST


class SpeechNetFeatures:
    """128 features, blink (0 here), speech activity. See `SpeechFeatures`."""

    def __init__(self, weights: Path, config: SpeechNetConfig | None = None) -> None:
        self._net = SpeechNet(config or SpeechNetConfig()).eval()
        self._mel = LogMel(self._net.config.n_mels)
        fill({"": self._net}, weights, device="cpu", dtype=torch.float32)

    @property
    def blink_channel(self) -> int | None:
        """Behind the features."""
        return self._net.config.features

    @torch.inference_mode()
    def __call__(self, waveform: Float, n_frames: int) -> Float:
        """A whole recording -> [n_frames, 1, features + 2]."""
        level = recording_level(waveform)
        padded = np.zeros(n_frames * FRAME_SAMPLES, np.float32)
        n_samples = min(len(padded), len(waveform))
        padded[:n_samples] = waveform[:n_samples]
        output = self._net(self._mel(torch.from_numpy(normalised(padded, level))[None]))
        activity = speech_activity(output.phone_logits, PHONE_ID[REST])[0, :, None]
        controls = torch.cat([torch.zeros_like(activity), activity], 1)
        features: Float = torch.cat([output.features[0], controls], 1)[:, None].numpy()
        return features
