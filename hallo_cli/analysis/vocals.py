"""Separates the voice of a recording from music and noise, with the published network.

Long recordings are separated in pieces that overlap by a second, so that memory does not grow with them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ffmpeg
import numpy as np
from scipy.io import wavfile

from hallo_cli.bundles.bundle import Bundle, find_bundle
from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import WeightsError
from hallo_cli.media.audio import Recording, Stretch, decode, read_sound, write_samples
from hallo_cli.media.ffmpeg import address, run
from hallo_cli.media.pcm import pcm

if TYPE_CHECKING:
    from hallo_cli.analysis.voice_network import VoiceNetwork

PIECE_S = 600  # as published up to ten minutes
OVERLAP_S = 1
RATE = 44_100  # samples a second that the network was trained with, in stereo
PEAK = 0.9
FULL_SCALE = np.float32(32768)


def separate(source: Path, target: Path, bundle: Bundle, stretch: Stretch = Stretch()) -> Recording:
    """Decode the voice of `source` alone into the file `target`, 16 kHz mono, and return it.

    Raises WeightsError if the network is missing or broken, SpeechError where the recording cannot be
    decoded, DeviceMemoryError.
    """
    from hallo_cli.analysis.voice_network import VoiceNetwork

    network = find_network(bundle)
    mixture = decode(source, target, stretch)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        stereo = folder / "mixture.s16"
        _write_stereo(source, stereo, stretch, mixture.duration_s)
        voice = _VoicePieces(VoiceNetwork(network), stereo, mixture.n_samples, Cut.of(bundle))
        write_samples(target, voice.joined())
    return Recording(target, mixture.n_samples, mixture.notes)


def find_network(bundle: Bundle) -> Path:
    """The separation network of this bundle or of the published weights. Raises WeightsError."""
    if "vocals" in bundle.manifest.files:
        return bundle.file("vocals")
    try:
        return find_bundle("official").file("vocals")
    except WeightsError as error:
        raise WeightsError(
            f"Separating vocals needs {Path(OFFICIAL.paths['vocals']).name} of the published weights. "
            "Fetch it with `hallo models pull`, or add --no-separate-vocals."
        ) from error


@dataclass(frozen=True)
class Cut:
    """The ranges of samples that are separated one by one."""

    length: int
    overlap: int  # cross-faded

    @classmethod
    def of(cls, bundle: Bundle) -> Cut:
        """Long overlapping pieces, or the bundle's own piece length without overlap."""
        piece_s = bundle.manifest.speech.piece_s
        if piece_s is None:
            return cls(PIECE_S * SAMPLE_RATE, OVERLAP_S * SAMPLE_RATE)
        return cls(round(piece_s * SAMPLE_RATE), 0)


class _VoicePieces:
    """The voice, piece by piece, cross-faded where pieces overlap."""

    def __init__(self, network: VoiceNetwork, stereo: Path, n_samples: int, cut: Cut) -> None:
        self._network = network
        self._stereo = np.memmap(stereo, np.int16, "r").reshape(-1, 2)
        self._piece = stereo.with_name("piece.wav")
        self._n_samples = n_samples
        self._cut = cut

    def joined(self) -> Iterator[Float]:
        """Yield all samples in order."""
        length, overlap = self._cut.length, self._cut.overlap
        rising = np.linspace(0, 1, overlap, dtype=np.float32)
        held: Float | None = None
        for start in range(0, self._n_samples, length):
            wanted = min(length + overlap, self._n_samples - start)
            piece = self._separated(start, wanted)
            if held is not None:
                n = min(len(held), len(piece))
                piece[:n] = piece[:n] * rising[:n] + held[:n] * (1 - rising[:n])
            cut = min(length, wanted)
            yield piece[:cut]
            held = piece[cut:]

    def _separated(self, start: int, n_samples: int) -> Float:
        """The voice of one part."""
        first, last = (round(n * RATE / SAMPLE_RATE) for n in (start, start + n_samples))
        voice = limited(self._network.voice(limited(self._mixture(first, last))))
        voice *= FULL_SCALE
        wavfile.write(self._piece, RATE, voice.T.astype(np.int16))
        samples = np.zeros(n_samples, np.float32)
        heard = read_sound(self._piece)[:n_samples]
        samples[: len(heard)] = heard
        return samples

    def _mixture(self, first: int, last: int) -> Float:
        """Both sides together [2, samples], -1..1."""
        sides = self._stereo[first:last].T.astype(np.float32)
        sides /= FULL_SCALE
        return sides


def limited(sound: Float) -> Float:
    """The sound at most as loud as the published pipeline lets it be, before and after the network."""
    peak = np.abs(sound).max(initial=0)
    return sound if peak <= PEAK else sound * np.float32(PEAK / peak)


def _write_stereo(source: Path, target: Path, stretch: Stretch, length_s: float) -> None:
    """Write a stretch of a sound as bare 44.1 kHz stereo of 16 bits. Raises EncoderError."""
    with pcm(source, stretch) as samples:
        sound = samples.as_input()
        if samples.n_channels == 1:  # ffmpeg makes each of two channels 3 dB quieter
            sound = sound.filter("aformat", sample_fmts="fltp").filter("volume", 2**0.5)
        written = ffmpeg.output(sound, address(target), ar=RATE, ac=2, f="s16le", acodec="pcm_s16le")
        run(written, feed=samples.blocks(length_s=length_s))
