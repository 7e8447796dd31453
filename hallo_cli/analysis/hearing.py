"""Analyses a recording before it is rendered: loudness, voice, warnings.

Pitch distinguishes a voice from noise; changes of level, and a pitch that glides, distinguish it from music.
Also finds the sound track with the voice. Reads a recording piece by piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hallo_cli.analysis.loudness import BLOCK_S, Loudness, block_energies
from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import SpeechError
from hallo_cli.media.audio import Decoding
from hallo_cli.media.probe import probe
from hallo_cli.media.sound_track import Stretch

CLIPPED_LEVEL = 0.999
SILENT_DB, QUIET_DB = -60.0, -40.0
MAX_CLIPPED_SHARE = 0.001
LITTLE_SPEECH = 0.03  # share of the time
JUDGED_S = 120.0  # of each sound track
SIMILAR_SPEECH = 0.1  # tracks whose speech shares differ by less are equally good: the first is taken

SECOND = SAMPLE_RATE
WINDOW, HOP, FFT = 640, 320, 1024  # of the search for a pitch: 40 ms, every 20 ms
LAGS = slice(40, 250)  # pitches from 64 to 400 Hz
BAND = slice(6, 128)  # bins of 94 to 2000 Hz
PITCHED = 0.5  # autocorrelation from which a window has a pitch
LEAST_PITCHED, MOST_PITCHED = (
    0.15,
    0.985,
)  # share of a second's windows with pitch: less is noise, all is a tone
SAME_PITCH = 0.004  # share by which pitches of neighbouring windows differ in a held note
MOST_HELD = (
    0.5  # share of neighbours with the same pitch; nine of ten seconds of speech had 0.35 or less, notes 0.74
)
LEAST_NEIGHBOURS = 5  # that both have a pitch
LEAST_RANGE_DB = 5.0  # between a second's loud and soft windows; steady sound has less


@dataclass(frozen=True)
class Heard:
    """The results for a recording."""

    n_samples: int
    loudness_db: float  # of the louder parts, RMS relative to full scale
    peak_db: float
    clipped_share: float  # of the samples
    speech_share: float  # of the time
    notes: tuple[str, ...] = ()  # warnings from decoding

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / SAMPLE_RATE

    def warnings(self) -> tuple[str, ...]:
        """Warnings for people, one sentence each."""
        found = list(self.notes)
        if self.loudness_db < SILENT_DB:
            found.append("the recording is silent: the mouth will stay closed")
        elif self.speech_share < LITTLE_SPEECH:
            found.append("the recording has no voice, only noise or music: the lips will not follow words")
        elif self.loudness_db < QUIET_DB:
            found.append(f"the speech is very quiet ({self.loudness_db:.1f} dB)")
        if self.clipped_share > MAX_CLIPPED_SHARE:
            found.append(f"{self.clipped_share:.1%} of the samples are clipped: the recording was too loud")
        return tuple(found)


@dataclass(frozen=True)
class TrackChoice:
    """The chosen sound track of a file, counted from 0, and a note about it."""

    track: int
    notes: tuple[str, ...] = ()


def listen(blocks: Iterable[Float], notes: tuple[str, ...] = ()) -> Heard:
    """Analyse a recording, 16 kHz mono, in one pass. Raises what reading it raises."""
    energies: list[npt.NDArray[np.float64]] = [np.zeros(0)]
    voiced: list[bool] = []
    n_samples = n_clipped = 0
    peak = 0.0
    for second in _seconds(blocks):
        n_samples += len(second)
        level = np.abs(second)
        peak = max(peak, float(level.max()))
        n_clipped += int((level >= CLIPPED_LEVEL).sum())
        energies.append(block_energies(second))
        voiced.append(_has_voice(second))
    loudness = Loudness(np.concatenate(energies), 0.0, 0.0)
    return Heard(
        n_samples=n_samples,
        loudness_db=round(_level_db(loudness), 1),
        peak_db=round(_decibels(peak), 1),
        clipped_share=round(n_clipped / max(1, n_samples), 6),
        speech_share=round(_speech_share(loudness, voiced), 3),
        notes=notes,
    )


def listen_to(source: Path, stretch: Stretch, notes: tuple[str, ...] = ()) -> Heard:
    """Decode and analyse a part of a file. Raises SpeechError."""
    decoding = Decoding(source, stretch)
    heard = listen(decoding)
    return Heard(**{**vars(heard), "notes": (*notes, *decoding.notes)})


def choose_track(source: Path, wanted: int | None) -> TrackChoice:
    """The sound track that is asked for, or the one with the most speech in its first minutes.

    Raises SpeechError if there is none.
    """
    n_tracks = probe(source, what="recording", error=SpeechError).n_audio_tracks
    if wanted is not None or n_tracks < 2:
        return TrackChoice(wanted or 0)
    shares = [_share_of(source, track) for track in range(n_tracks)]
    best = next(track for track, share in enumerate(shares) if share >= max(shares) - SIMILAR_SPEECH)
    listed = ", ".join(f"{track}: {share:.0%} speech" for track, share in enumerate(shares))
    note = f"the recording has {n_tracks} sound tracks ({listed}); track {best} is used"
    return TrackChoice(best, (f"{note}, --audio-track chooses another",))


def _share_of(source: Path, track: int) -> float:
    try:
        return listen_to(source, Stretch(duration_s=JUDGED_S, track=track)).speech_share
    except SpeechError:  # an empty or damaged track beside a good one
        return 0.0


def _seconds(blocks: Iterable[Float]) -> Iterable[Float]:
    """Cut into seconds; the last may be shorter."""
    rest: Float = np.zeros(0, np.float32)
    for block in blocks:
        held = np.concatenate([rest, block])
        n_whole = len(held) // SECOND * SECOND
        yield from held[:n_whole].reshape(-1, SECOND)
        rest = held[n_whole:]
    if len(rest):
        yield rest


def _has_voice(second: Float) -> bool:
    """Whether a second or less of sound has a pitch that comes and goes, and rises and falls."""
    samples = np.pad(second.astype(np.float64), (0, max(0, 2 * WINDOW - len(second))))
    windows = np.lib.stride_tricks.sliding_window_view(np.diff(samples, prepend=samples[:1]), WINDOW)[::HOP]
    taper = np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(windows * taper, FFT)) ** 2
    levels = 10 * np.log10(power.sum(axis=1) + 1e-10)
    power[:, : BAND.start] = power[:, BAND.stop :] = 0
    similarity = np.fft.irfft(power)[:, : LAGS.stop + 1]
    of_taper = np.fft.irfft(np.abs(np.fft.rfft(taper, FFT)) ** 2)[: LAGS.stop + 1]
    alike = similarity / np.maximum(similarity[:, :1], 1e-12) / (of_taper / of_taper[0])
    is_pitched = alike[:, LAGS].max(axis=1) > PITCHED
    low, high = np.percentile(levels, [10, 90])
    if not LEAST_PITCHED <= is_pitched.mean() <= MOST_PITCHED or high - low < LEAST_RANGE_DB:
        return False
    return _held(alike, is_pitched) <= MOST_HELD


def _held(alike: npt.NDArray[np.float64], is_pitched: npt.NDArray[np.bool_]) -> float:
    """The share of neighbouring windows whose pitch is the same; 0 where too few have one."""
    lags = alike[:, LAGS].argmax(axis=1) + LAGS.start
    before, peak, after = (alike[np.arange(len(alike)), lags + step] for step in (-1, 0, 1))
    bend = np.minimum(before - 2 * peak + after, -1e-9)
    pitches = lags + np.clip(0.5 * (before - after) / bend, -0.5, 0.5)
    both = is_pitched[1:] & is_pitched[:-1]
    if both.sum() < LEAST_NEIGHBOURS:
        return 0.0
    return float((np.abs(np.diff(pitches)) < SAME_PITCH * pitches[1:])[both].mean())


def _speech_share(loudness: Loudness, voiced: list[bool]) -> float:
    """The share of 20 ms blocks that are loud enough in seconds with a voice, or next to one."""
    presence = loudness.presence()
    if not len(presence):
        return 0.0
    near = np.convolve(np.array(voiced, np.float64), [1, 1, 1], "same") > 0
    seconds = np.minimum((np.arange(len(presence)) * BLOCK_S).astype(int), len(near) - 1)
    return float(((presence > 0.5) & near[seconds]).mean())


def _level_db(loudness: Loudness) -> float:
    """RMS of the louder parts."""
    energies = loudness.energies
    return _decibels(float(np.sqrt(np.percentile(energies, 95)))) if len(energies) else _decibels(0.0)


def _decibels(level: float) -> float:
    return float(20 * np.log10(level + 1e-12))
