"""espeak-ng through its shared library: speech with the time of every phone.

The library (GPL-3.0) comes with the PyPI package espeakng-loader of the `synth` extra; it is used at run time
and is no part of this package.
"""

from __future__ import annotations

import _ctypes
import ctypes
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from hallo_cli.domain import Float
from hallo_cli.errors import InputError
from hallo_cli.workshop.corpus.phones import REST, Segment

# our phones <- letters of the International Phonetic Alphabet, as espeak-ng writes them in any language
_LETTERS = {
    "aa": "ɑ a ɒ",
    "ay": "aɪ ai aj",
    "aw": "aʊ au ɑu ao",
    "ey": "eɪ ei eː",
    "ow": "oʊ o oː əʊ ou",
    "oy": "ɔɪ ɔø oi ɔʏ",
    "iy": "i",
    "ih": "ɪ ᵻ ɨ ɯ",
    "eh": "ɛ ε e",
    "ah": "ʌ ɐ ɤ",
    "ax": "ə ɜ ɘ ɵ",
    "er": "ɜː ɚ ɝ œ",
    "ao": "ɔ",
    "uw": "u ʉ y",
    "uh": "ʊ ʏ ø",
    "ae": "æ",
    "l": "l ɫ ɭ ʎ ɬ ʟ r",
    "p": "p",
    "b": "b β ɓ",
    "m": "m ɱ",
    "t": "t ʈ",
    "d": "d ɖ ɗ ɾ ɽ",
    "n": "n ɲ ɳ",
    "k": "k c q",
    "g": "ɡ g ɟ ɣ ʁ ʀ ɢ ɠ",
    "ng": "ŋ ɴ",
    "f": "f ɸ",
    "v": "v ʋ",
    "th": "θ",
    "dh": "ð",
    "s": "s",
    "z": "z",
    "sh": "ʃ ʂ ɕ ç",
    "zh": "ʒ ʐ ʑ",
    "ch": "tʃ tɕ ʈʂ tʂ",
    "jh": "dʒ dʑ dʐ ɖʐ",
    "hh": "h ɦ x χ ħ ʕ ʜ",
    "r": "ɹ ɻ",
    "w": "w ɥ ʍ",
    "y": "j ʲ ʝ",
}
_PHONES = {letters: phone for phone, names in _LETTERS.items() for letters in names.split()}
_REDUCED = {"ɐ": "ax"}  # without stress
_SOFT_BREAK_S = 0.06  # a shorter gap in a word (a glottal stop, a linking vowel) does not shut the mouth
_PHONE_EVENT, _END_OF_LIST = 7, 0
_SYNCHRONOUS, _PHONE_EVENTS, _IPA = 2, 1, 2
_RATE, _PITCH, _RANGE = 1, 3, 4
_UTF8 = 1


class _Name(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Prosody:
    """How fast and how high to speak."""

    words_per_minute: int = 160  # 80..400
    pitch: int = 50  # 0..99
    pitch_range: int = 50  # 0..99


def speak(text: str, *, voice: str, prosody: Prosody) -> tuple[Float, int, list[Segment]]:
    """Mono samples in -1..1, their rate, and the phones in them. Voice: like "en-us+f3".

    The same arguments give the same samples: the library's state is thrown away after each utterance.
    """
    with _fresh_library() as (library, data):
        return _Engine(library, data).speak(text, voice=voice, prosody=prosody)


class _Engine:
    def __init__(self, library: ctypes.CDLL, data: str) -> None:
        self._library = library
        self._chunks: list[np.ndarray[tuple[int], np.dtype[np.int16]]] = []
        self._events: list[tuple[float, str]] = []
        self._callback = _CALLBACK(self._receive)
        self._rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _PHONE_EVENTS | _IPA)
        if self._rate <= 0:
            raise InputError(f"espeak-ng did not start (data in {data!r}); reinstall espeakng-loader.")
        library.espeak_ng_SetRandSeed(1)
        library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, *, voice: str, prosody: Prosody) -> tuple[Float, int, list[Segment]]:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise InputError(f"espeak-ng has no voice {voice!r}.")
        values = {_RATE: prosody.words_per_minute, _PITCH: prosody.pitch, _RANGE: prosody.pitch_range}
        for parameter, value in values.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._chunks).astype(np.float32) / np.float32(32768)
        return samples, self._rate, self._segments(len(samples) / self._rate)

    def _segments(self, end_s: float) -> list[Segment]:
        starts = [start for start, _ in self._events] + [end_s]
        segments: list[Segment] = []
        for index, (start, letters) in enumerate(self._events):
            phones = phones_of(letters)
            if not phones and segments and starts[index + 1] - start < _SOFT_BREAK_S:
                phones = (segments[-1].phone,)
            segments += _divided(start, starts[index + 1], phones or (REST,))
        return segments

    def _receive(
        self, samples: ctypes._Pointer[ctypes.c_short], n_samples: int, events: ctypes._Pointer[_Event]
    ) -> int:
        if n_samples > 0 and samples:
            self._chunks.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        index = 0
        while events[index].type != _END_OF_LIST:
            event = events[index]
            if event.type == _PHONE_EVENT:
                letters = bytes(event.id.string).split(b"\0")[0].decode("utf8", "replace")
                self._events.append((event.audio_position / 1000, letters))
            index += 1
        return 0


def phones_of(letters: str) -> tuple[str, ...]:
    """Our phones for what espeak-ng calls one, in phonetic letters; none for a pause or a glottal stop."""
    stressed = letters.startswith(("ˈ", "ˌ"))
    table = _PHONES if stressed else _PHONES | _REDUCED
    rest = unicodedata.normalize("NFD", letters.lstrip("ˈˌ").replace("ç", "ɕ"))
    found: list[str] = []
    while rest:
        size = next((n for n in (2, 1) if rest[:n] in table), 0)
        if size and not (found and rest[0] == "ʲ"):
            found.append(table[rest[:size]])
        rest = rest[max(size, 1) :]
    return tuple(found)


def _divided(start_s: float, end_s: float, phones: tuple[str, ...]) -> list[Segment]:
    edges = np.linspace(start_s, end_s, len(phones) + 1)
    return [Segment(float(edges[i]), float(edges[i + 1]), phone) for i, phone in enumerate(phones)]


@contextmanager
def _fresh_library() -> Iterator[tuple[ctypes.CDLL, str]]:
    """The library as just loaded, and where its data are.

    Noise and pitch phases would else go on from one utterance to the next.
    """
    try:
        import espeakng_loader
    except ImportError as error:
        raise InputError("Synthetic speech needs espeak-ng: pip install 'hallo-cli[synth]'") from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
        ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
    ]  # fmt: skip
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    try:
        yield library, str(espeakng_loader.get_data_path())
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)
