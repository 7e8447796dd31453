"""The published separation network, Kim_Vocal_2 of the kind MDX-Net: stereo sound in, the voice in it out.

The network sees spectra of six seconds: the lower 3,072 of 3,841 frequencies at 256 times. Longer sound is
separated in such parts, which overlap by a quarter and fade into each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from hallo_cli.domain import Float
from hallo_cli.errors import DeviceMemoryError, WeightsError, first_line

onnxruntime.disable_telemetry_events()  # some of its builds send usage data

SPECTRUM = (4, 3072, 256)  # left and right, real and imaginary; frequencies; times
WINDOW, HOP = 7680, 1024  # samples of a spectrum's window, and from one to the next
PART = HOP * (SPECTRUM[2] - 1)  # samples that the network sees
STEP = PART * 3 // 4  # from one part to the next
EDGE = WINDOW // 2  # samples at a sound's ends that are separated with silence around them
UNHEARD = 3  # lowest frequencies, which are left out
COMPENSATION = 1.009  # the published pipeline makes the voice so much louder
MEMORY_WORDS = ("bad_alloc", "bad allocation", "allocate memory")


class VoiceNetwork:
    """Holds the network: 67 MB."""

    def __init__(self, file: Path) -> None:
        """Load the ONNX file. Raises WeightsError if it is not such a network, DeviceMemoryError."""
        self._file = file
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        with self._reporting():
            self._session = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        (self._input, *others), outputs = self._session.get_inputs(), self._session.get_outputs()
        if others or any(list(end.shape[1:]) != list(SPECTRUM) for end in (self._input, outputs[0])):
            raise WeightsError(
                f"{file}: another network than Kim_Vocal_2. Fetch it again with `hallo models pull`."
            )

    def voice(self, mixture: Float) -> Float:
        """The voice in a sound [2, samples] of 44.1 kHz, of the same shape. Raises as `__init__` does."""
        n_samples = mixture.shape[1]
        inner = PART - 2 * EDGE
        padded = np.pad(mixture, ((0, 0), (EDGE, inner + EDGE - n_samples % inner)))
        heard, weights = np.zeros_like(padded), np.zeros(padded.shape[1], np.float32)
        for start in range(0, padded.shape[1], STEP):
            part = padded[:, start : start + PART]
            length = part.shape[1]
            fading = np.hanning(length).astype(np.float32)
            separated = self._separated(np.pad(part, ((0, 0), (0, PART - length))))
            heard[:, start : start + length] += separated[:, :length] * fading
            weights[start : start + length] += fading
        inside = slice(EDGE, EDGE + n_samples)
        voice: Float = heard[:, inside]
        voice *= np.float32(COMPENSATION) / weights[inside]  # in place: ten minutes are 212 MB
        return voice

    def _separated(self, part: Float) -> Float:
        """The voice of a part [2, PART]."""
        window = torch.hann_window(WINDOW)
        complete = torch.stft(torch.from_numpy(part), WINDOW, HOP, window=window, return_complex=True)
        spectrum = torch.view_as_real(complete).permute(0, 3, 1, 2).flatten(0, 1)  # [4, frequencies, times]
        spectrum[:, :UNHEARD] = 0
        seen = spectrum[:, : SPECTRUM[1]].contiguous()[None].numpy()
        with self._reporting():
            found = self._session.run(None, {self._input.name: seen})[0][0]
        sound: Float = _sound(torch.from_numpy(found), complete.shape[1], window).numpy()
        return sound

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # onnxruntime's errors share no base
            if isinstance(error, MemoryError) or any(words in str(error) for words in MEMORY_WORDS):
                raise DeviceMemoryError(
                    "the computer ran out of memory while the voice was separated. Close other programs, "
                    "or add --no-separate-vocals."
                ) from error
            raise WeightsError(
                f"{self._file}: the voice cannot be separated with it ({first_line(error)}). Fetch it again "
                "with `hallo models pull`, or add --no-separate-vocals."
            ) from error


def _sound(spectrum: Tensor, n_frequencies: int, window: Tensor) -> Tensor:
    """The sound [2, PART] of a spectrum [4, frequencies, times] without its highest frequencies."""
    padded = torch.nn.functional.pad(spectrum, (0, 0, 0, n_frequencies - spectrum.shape[1]))
    sides = padded.reshape(2, 2, *padded.shape[1:])  # [left and right, real and imaginary, ...]
    complete = torch.view_as_complex(sides.permute(0, 2, 3, 1).contiguous())
    return torch.istft(complete, WINDOW, HOP, window=window)
