"""Separates the voice from music and noise with audio-separator's MDX network (an optional extra).

Long recordings are separated in pieces that overlap by a second, so that memory does not grow with them. Of
audio-separator only the network is used: what it does before and after differs from version to version.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ffmpeg
import numpy as np
from scipy.io import wavfile

from hallo_cli.bundles.bundle import Bundle, find_bundle
from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import SettingsError, WeightsError
from hallo_cli.media.audio import Recording, Stretch, decode, read_sound, write_samples
from hallo_cli.media.ffmpeg import address, run
from hallo_cli.media.pcm import pcm
from hallo_cli.printable import first_line
from hallo_cli.store.writing import write_whole

PIECE_S = 600  # as published up to ten minutes
OVERLAP_S = 1
SEPARATION_RATE = 44_100  # what the network was trained at, in stereo
PEAK = 0.9
FULL_SCALE = np.float32(32768)
PARAMETERS = (
    "vocals_mdx_data",
    "vocals_vr_data",
)  # of networks, by digest; audio-separator fetches missing ones
# Which networks there are; of the published list, newer versions of audio-separator miss parts.
NO_NETWORKS: dict[str, dict[str, str]] = {
    "vr_download_list": {},
    "mdx_download_list": {},
    "mdx_download_vip_list": {},
    "demucs_download_list": {},
    "mdx23c_download_list": {},
    "mdx23c_download_vip_list": {},
    "roformer_download_list": {},
}


def separate(source: Path, target: Path, bundle: Bundle, stretch: Stretch = Stretch()) -> Recording:
    """Decode the voice of `source` alone into the file `target`, 16 kHz mono, and return it.

    Raises SettingsError if audio-separator is not installed, WeightsError if its network is missing or
    broken, SpeechError where the recording cannot be decoded.
    """
    bundle_with_network = find_network(bundle)
    mixture = decode(source, target, stretch)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        network = load_network(bundle_with_network, folder)
        stereo = folder / "mixture.s16"
        _write_stereo(source, stereo, stretch, mixture.duration_s)
        voice = _VoicePieces(network, stereo, mixture.n_samples, Cut.of(bundle))
        write_samples(target, voice.joined())
    return Recording(target, mixture.n_samples, mixture.notes)


def require_extra() -> None:
    """Raise SettingsError if audio-separator is not installed."""
    if find_spec("audio_separator") is None:
        raise SettingsError(
            "These settings separate the voice from music and noise, which needs the vocals extra: run "
            "pip install 'hallo-cli[vocals]', or add --no-separate-vocals to go without."
        )


def find_network(bundle: Bundle) -> Bundle:
    """The bundle with the separation network: this one or the published weights. Raises WeightsError."""
    if "vocals" not in bundle.manifest.files:
        bundle = _published()
    for role in ("vocals", *PARAMETERS):
        bundle.file(role)
    return bundle


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

    def __init__(self, network: Any, stereo: Path, n_samples: int, cut: Cut) -> None:
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
        first, last = (round(n * SEPARATION_RATE / SAMPLE_RATE) for n in (start, start + n_samples))
        mixture = self._stereo[first:last].T.astype(np.float32) / FULL_SCALE
        voice = limited(self._network.demix(limited(mixture)))
        wavfile.write(self._piece, SEPARATION_RATE, (voice.T * FULL_SCALE).astype(np.int16))
        samples = np.zeros(n_samples, np.float32)
        heard = read_sound(self._piece)[:n_samples]
        samples[: len(heard)] = heard
        return samples


def limited(sound: Float) -> Float:
    """The sound at most as loud as the published pipeline lets it be, before and after the network."""
    peak = np.abs(sound).max(initial=0)
    return sound if peak <= PEAK else sound * np.float32(PEAK / peak)


def load_network(bundle: Bundle, folder: Path) -> Any:
    """A network with `demix`, which takes and gives stereo sound [2, samples] of 44.1 kHz, -1..1.

    Links to what it reads are left in `folder`. Raises SettingsError, or WeightsError if it is broken.
    """
    require_extra()
    model = bundle.file("vocals")
    networks = {**NO_NETWORKS, "mdx_download_list": {"Kim Vocal 2": model.name}}
    write_whole(folder / "download_checks.json", json.dumps(networks).encode())
    for role in ("vocals", *PARAMETERS):
        (folder / Path(OFFICIAL.paths[role]).name).symlink_to(bundle.file(role).resolve())
    try:
        return _loaded(folder, model.name)
    except Exception as error:  # it fails in any way at files that are none of its own
        raise WeightsError(
            f"{model}: audio-separator cannot load it ({first_line(error)}). Check it with "
            "`hallo models verify`, install the vocals extra again (pip install 'hallo-cli[vocals]'), "
            "or add --no-separate-vocals."
        ) from error


def _loaded(folder: Path, name: str) -> Any:
    from audio_separator.separator import Separator

    class WithoutFfmpeg(Separator):  # type: ignore[misc]
        """The command ffmpeg is not everywhere, and networks do not need it."""

        def check_ffmpeg_installed(self) -> None:
            """Nothing to check."""

    separator = WithoutFfmpeg(log_level=logging.ERROR, model_file_dir=str(folder), output_dir=str(folder))
    separator.load_model(name)
    return separator.model_instance


def _write_stereo(source: Path, target: Path, stretch: Stretch, length_s: float) -> None:
    """Write a stretch of a sound as bare 44.1 kHz stereo of 16 bits. Raises EncoderError."""
    with pcm(source, stretch) as samples:
        sound = samples.as_input()
        if samples.n_channels == 1:  # ffmpeg makes each of two channels 3 dB quieter
            sound = sound.filter("aformat", sample_fmts="fltp").filter("volume", 2**0.5)
        written = ffmpeg.output(
            sound, address(target), ar=SEPARATION_RATE, ac=2, f="s16le", acodec="pcm_s16le"
        )
        run(written, feed=samples.blocks(length_s=length_s))
