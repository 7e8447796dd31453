"""Separates the voice of a recording from music and noise, with the published network.

Long recordings are separated in pieces that overlap by a second, so that memory does not grow with them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ffmpeg
import numpy as np
from scipy.io import wavfile

from hallo_cli.bundles.bundle import Bundle, find_bundle
from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import WeightsError
from hallo_cli.media.audio import Recording, decode, read_sound, write_samples
from hallo_cli.media.ffmpeg import address, run
from hallo_cli.media.pcm import pcm
from hallo_cli.media.sound_track import Stretch

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
        part = partial(_separated, VoiceNetwork(network), stereo)
        write_samples(target, _joined(part, mixture.n_samples, Cut.of(bundle)))
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


def _joined(separated: Callable[[int, int], Float], n_samples: int, cut: Cut) -> Iterator[Float]:
    """The voice in order, piece by piece, cross-faded where pieces overlap."""
    rising = np.linspace(0, 1, cut.overlap, dtype=np.float32)
    held: Float | None = None
    for start in range(0, n_samples, cut.length):
        wanted = min(cut.length + cut.overlap, n_samples - start)
        piece = separated(start, wanted)
        if held is not None:
            n = min(len(held), len(piece))
            piece[:n] = piece[:n] * rising[:n] + held[:n] * (1 - rising[:n])
        end = min(cut.length, wanted)
        yield piece[:end]
        held = piece[end:]


def _separated(network: VoiceNetwork, stereo: Path, start: int, n_samples: int) -> Float:
    """The voice of one part of a sound of 16-bit stereo samples."""
    first, last = (round(n * RATE / SAMPLE_RATE) for n in (start, start + n_samples))
    sides = np.memmap(stereo, np.int16, "r").reshape(-1, 2)[first:last].T.astype(np.float32)
    sides /= FULL_SCALE
    voice = limited(network.voice(limited(sides)))
    voice *= FULL_SCALE
    piece = stereo.with_name("piece.wav")
    wavfile.write(piece, RATE, voice.T.astype(np.int16))
    samples = np.zeros(n_samples, np.float32)
    heard = read_sound(piece)[:n_samples]
    samples[: len(heard)] = heard
    return samples


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
