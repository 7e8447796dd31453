"""Separates the voice from music and noise with audio-separator's MDX network (an optional extra).

Long recordings are separated in pieces that overlap by a second, so that memory does not grow with them.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np

from hallo_cli.bundles.bundle import Bundle, find_bundle
from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.media.audio import Recording, Stretch, decode, read_sound, write_samples
from hallo_cli.media.ffmpeg import address, run
from hallo_cli.media.pcm import pcm

PIECE_S = 600  # as published up to ten minutes
OVERLAP_S = 1
SEPARATION_RATE = 44_100  # what the network was trained at, in stereo
ROLES = ("vocals", "vocals_checks", "vocals_mdx_data", "vocals_vr_data")


def separate(source: Path, target: Path, bundle: Bundle, stretch: Stretch = Stretch()) -> Recording:
    """Decode the voice of `source` alone into the file `target`, 16 kHz mono, and return it.

    Raises SettingsError if audio-separator is not installed, WeightsError if its network is missing,
    SpeechError where the recording cannot be decoded.
    """
    model = find_model(bundle)
    mixture = decode(source, target, stretch)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        separator = _separator(model, Path(folder))
        stereo = Path(folder) / "mixture.w64"
        _convert(source, stereo, stretch, mixture.duration_s)
        voice = _VoicePieces(separator, stereo, mixture.n_samples, Cut.of(bundle))
        write_samples(target, voice.joined())
    return Recording(target, mixture.n_samples, mixture.notes)


def require_extra() -> None:
    """Raise SettingsError if audio-separator is not installed."""
    if find_spec("audio_separator") is None:
        raise SettingsError(
            "These settings separate the voice from music and noise, which needs the vocals extra: run "
            "pip install 'hallo-cli[vocals]', or add --no-separate-vocals to go without."
        )


def find_model(bundle: Bundle) -> Path:
    """The separation network: the bundle's, else that of the published weights. Raises WeightsError."""
    if "vocals" not in bundle.manifest.files:
        bundle = _published()
    for role in ROLES:  # audio-separator fetches the lists that are not there
        bundle.file(role)
    return bundle.file("vocals")


def _published() -> Bundle:
    try:
        bundle = find_bundle("official")
        bundle.file("vocals")
    except WeightsError as error:
        raise WeightsError(
            f"Separating vocals needs {Path(OFFICIAL.paths['vocals']).name} of the published weights. "
            "Fetch it with `hallo models pull`, or add --no-separate-vocals."
        ) from error
    return bundle


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

    def __init__(self, separator: Any, stereo: Path, n_samples: int, cut: Cut) -> None:
        self._separator = separator
        self._stereo = stereo
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
        """The voice of one part; silence if the network finds none and so writes no file."""
        piece = self._stereo.with_name(f"piece-{start}.wav")
        _convert(self._stereo, piece, Stretch(start / SAMPLE_RATE), n_samples / SAMPLE_RATE)
        names = [Path(str(name)) for name in self._separator.separate(str(piece))]
        voices = [self._stereo.parent / name for name in names if "Vocals" in name.name]
        samples = np.zeros(n_samples, np.float32)
        for voice in voices:
            if voice.is_file():
                heard = read_sound(voice)[:n_samples]
                samples[: len(heard)] = heard
            voice.unlink(missing_ok=True)
        piece.unlink(missing_ok=True)
        return samples


def _separator(model: Path, folder: Path) -> Any:
    require_extra()
    from audio_separator.separator import Separator

    separator = Separator(
        log_level=logging.WARNING,
        model_file_dir=str(model.parent),
        output_dir=str(folder),
        output_format="WAV",
        output_single_stem="Vocals",
    )
    separator.load_model(model.name)
    return separator


def _convert(source: Path, target: Path, stretch: Stretch, length_s: float) -> None:
    """Write a stretch of a sound as 44.1 kHz stereo. Raises EncoderError."""
    with pcm(source, stretch) as samples:
        sound = samples.as_input()
        if samples.n_channels == 1:  # ffmpeg makes each of two channels 3 dB quieter
            sound = sound.filter("aformat", sample_fmts="fltp").filter("volume", 2**0.5)
        written = ffmpeg.output(sound, address(target), ar=SEPARATION_RATE, ac=2, acodec="pcm_s16le")
        run(written, feed=samples.blocks(length_s=length_s))
