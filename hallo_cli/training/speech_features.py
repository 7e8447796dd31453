"""A speech encoder's features for training: what rendering computes, with blinks left to the takes."""

from __future__ import annotations

from dataclasses import dataclass

from hallo_cli.analysis.embedded_speech import CONTROLS
from hallo_cli.analysis.speech import SpeechEncoder, whole
from hallo_cli.domain import Float


@dataclass(frozen=True)
class EncoderFeatures:
    """See `SpeechFeatures`. The embedded encoder's control channels are the blink and the speech activity."""

    encoder: SpeechEncoder
    has_controls: bool

    @property
    def blink_channel(self) -> int | None:
        """The first control channel."""
        return self.encoder.width - CONTROLS if self.has_controls else None

    def __call__(self, waveform: Float, n_frames: int) -> Float:
        """A whole recording -> [n_frames, blocks, width]."""
        return whole(self.encoder, waveform, n_frames)
