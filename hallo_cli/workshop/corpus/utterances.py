"""Utterances: synthetic speech with pauses, the phones in it and the visemes it asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.errors import InputError
from hallo_cli.workshop.corpus import espeak_process
from hallo_cli.workshop.corpus.acoustics import recorded
from hallo_cli.workshop.corpus.espeak import Prosody
from hallo_cli.workshop.corpus.manners import Manner, breath, draw_manner, spoken
from hallo_cli.workshop.corpus.phones import FPS, REST, Segment, curve_length, phone_ids, viseme_curves
from hallo_cli.workshop.corpus.sentences import ENGLISH, LANGUAGES, sentence
from hallo_cli.workshop.corpus.stress import dynamics, effort

_ACCENT_NAMES = "en-us en en-us en-gb-x-rp en-029 gmw/en-GB-scotland en-gb-x-gbclan en-gb-x-gbcwmd"
_ACCENTS = _ACCENT_NAMES.split()
_TIMBRE_NAMES = """
f1 f2 f3 f4 m1 m2 m3 m4 m6 m7 m8 Alex Alicia Andrea Andy Annie Denis Diogo Gene Henrique Hugo Jacky Lee
Marco Michael Mike Nguyen Reed adam anika antonio belinda benjamin boris caleb david ed edward grandma
grandpa gustave ian iven john kaukovalta klatt klatt2 klatt4 linda marcelo max michel miguel norbert pablo
paul pedro quincy rob robert sandro shelby steph travis victor whisper zac
"""
_TIMBRES = _TIMBRE_NAMES.split()
_HELD_OUT_TIMBRES = ("f5", "m5", "Gene2", "Mario", "aunty", "steph3", "klatt3", "iven3")
_FOREIGN_SHARE = 0.55
_BREATH_SHARE = 0.3  # of the pauses
_TRIES = 5  # sentences, where espeak-ng crashes


@dataclass(frozen=True)
class Utterance:
    """Speech and its ground truth; `waveform` holds whole 40 ms frames."""

    waveform: Float  # [n_frames * 640] in -1..1 at 16 kHz
    segments: tuple[Segment, ...]
    visemes: Float  # [n_frames, 6] in 0..1, see phones.VISEMES
    phones: npt.NDArray[np.uint8]  # [n_frames] index into phones.PHONES
    voice: str

    @property
    def n_frames(self) -> int:
        """Frames at 25 fps."""
        return len(self.visemes)


def utter(rng: np.random.Generator, *, held_out: bool = False, n_phrases: int | None = None) -> Utterance:
    """A random utterance of some 2 to 10 s; `held_out` takes voices that the corpus never uses."""
    voice = _draw_voice(rng, held_out=held_out)
    if n_phrases is None:
        n_phrases = int(rng.choice([1, 2, 3], p=[0.45, 0.35, 0.2]))
    manner = draw_manner(rng)
    parts: list[Float] = [_silence(rng.uniform(0.1, 0.9))]
    segments: list[Segment] = []
    for index in range(n_phrases):
        start_s = sum(map(len, parts)) / SAMPLE_RATE
        samples, spoken = _phrase(rng, voice=voice, manner=manner)
        segments += [Segment(s.start_s + start_s, s.end_s + start_s, s.phone) for s in spoken]
        last = index == n_phrases - 1
        parts += [samples, _silence(rng.uniform(0.3, 1.0 if last else 1.5))]
    return _finished(parts, segments, voice=voice.name, rng=rng)


def silence(rng: np.random.Generator, *, duration_s: float) -> Utterance:
    """A recording in which nobody speaks: room noise, at times music."""
    return _finished([_silence(duration_s)], [], voice="none", rng=rng)


@dataclass(frozen=True)
class _Voice:
    name: str
    language: str


def _draw_voice(rng: np.random.Generator, *, held_out: bool) -> _Voice:
    timbre = rng.choice(_HELD_OUT_TIMBRES if held_out else _TIMBRES)
    if rng.random() < _FOREIGN_SHARE:
        language = str(rng.choice(LANGUAGES))
        return _Voice(f"{language}+{timbre}", language)
    return _Voice(f"{rng.choice(_ACCENTS)}+{timbre}", ENGLISH)


def _phrase(rng: np.random.Generator, *, voice: _Voice, manner: Manner) -> tuple[Float, list[Segment]]:
    samples, rate, segments = _said(rng, voice=voice, manner=manner)
    samples, segments = _resampled(samples, segments, rate=rate, factor=manner.factor)
    said = spoken(samples, manner, rng)
    return said * dynamics(len(said), rng), segments


def _said(rng: np.random.Generator, *, voice: _Voice, manner: Manner) -> tuple[Float, int, list[Segment]]:
    """What espeak-ng makes of a drawn sentence, of another one where it crashes."""
    n_words = int(rng.integers(3, 13 if manner.kind != "song" else 6))
    crash: Exception | None = None
    for _ in range(_TRIES):
        text = sentence(rng, voice.language, n_words=n_words)
        speed = int(np.clip(rng.uniform(115, 225) * manner.pace, 80, 400))
        prosody = Prosody(speed, int(rng.uniform(10, 90)), int(rng.uniform(15, 95)))
        try:
            return espeak_process.speak(text, voice=voice.name, prosody=prosody)
        except espeak_process.EspeakCrashedError as error:
            crash = error
    raise InputError(f"{crash}, and with {_TRIES - 1} sentences before; reinstall espeakng-loader.")


def _resampled(
    samples: Float, segments: list[Segment], *, rate: int, factor: float
) -> tuple[Float, list[Segment]]:
    """At 16 kHz and `factor` times faster and higher."""
    up = 320
    down = round(rate * factor * up / SAMPLE_RATE)
    faster = down * SAMPLE_RATE / (up * rate)
    slowed = [Segment(s.start_s / faster, s.end_s / faster, s.phone) for s in segments]
    sound = resample_poly(samples, up, down).astype(np.float32)
    return sound / (np.abs(sound).max() + 1e-6), slowed


def _finished(
    parts: list[Float], segments: list[Segment], *, voice: str, rng: np.random.Generator
) -> Utterance:
    """`parts`: a pause, a phrase, a pause and so on."""
    per_frame = SAMPLE_RATE // FPS
    sound = np.concatenate(parts)
    n_frames = len(sound) // per_frame
    how_wide = effort(sound, curve_length(n_frames))
    heard = np.concatenate([_with_breath(part, rng) if not i % 2 else part for i, part in enumerate(parts)])
    waveform = recorded(heard[: n_frames * per_frame], rng)
    voiced = [s for s in segments if s.phone != REST]
    visemes = viseme_curves(voiced, n_frames, how_wide)
    return Utterance(waveform, tuple(voiced), visemes, phone_ids(voiced, n_frames), voice)


def _with_breath(pause: Float, rng: np.random.Generator) -> Float:
    if rng.random() >= _BREATH_SHARE:
        return pause
    sound = breath(rng)[: len(pause)] * 10 ** (-rng.uniform(10, 36) / 20)
    at = int(rng.integers(0, len(pause) - len(sound) + 1))
    heard = pause.copy()
    heard[at : at + len(sound)] += sound
    return heard


def _silence(duration_s: float) -> Float:
    return np.zeros(int(duration_s * SAMPLE_RATE), np.float32)
