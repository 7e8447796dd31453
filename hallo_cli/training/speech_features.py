"""A speech encoder's features for training: what rendering computes, with controls left to the takes."""

from __future__ import annotations

from dataclasses import dataclass

from hallo_cli.analysis.speech import SpeechEncoder, whole
from hallo_cli.domain import CONTROLS, Float


@dataclass(frozen=True)
class EncoderFeatures:
    """See `SpeechFeatures`. The embedded encoder's last channels are the controls."""

    encoder: SpeechEncoder
    has_controls: bool

    @property
    def control_channel(self) -> int | None:
        """The first control's."""
        return self.encoder.width - len(CONTROLS) if self.has_controls else None

    def __call__(self, waveform: Float, n_frames: int) -> Float:
        """A whole recording -> [n_frames, blocks, width]."""
        return whole(self.encoder, waveform, n_frames)
