"""espeak-ng through its shared library: speech with the time of every phone.

The library (GPL-3.0) comes with the PyPI package espeakng-loader of the `synth` extra; it is used at run time
and is no part of this package.
"""

from __future__ import annotations

import _ctypes
import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from hallo_cli.domain import Float
from hallo_cli.errors import InputError
from hallo_cli.workshop.corpus.phones import REST, Segment

# our phones <- espeak-ng's mnemonics
_MNEMONICS = {
    "aa": "a A: A 0 0# A@",
    "ay": "aI aI@ aI3 aI2",
    "aw": "aU aU@",
    "ey": "eI",
    "ow": "oU oU#",
    "oy": "OI",
    "iy": "i: i",
    "ih": "I I2 I# i@ i@3",
    "eh": "E e E# E2 e@",
    "ah": "V",
    "ax": "@ @2 @5 @# a# @-",
    "l": "@L l l# L",
    "er": "3 3: VR",
    "ao": "O: O O2 O@ o@",
    "uw": "u: u",
    "uh": "U U@",
    "ae": "aa a2 &",
    "p": "p",
    "b": "b",
    "m": "m m-",
    "t": "t t2 t[",
    "d": "d t# *",
    "n": "n n-",
    "k": "k",
    "g": "g Q",
    "ng": "N N-",
    "f": "f",
    "v": "v",
    "th": "T",
    "dh": "D",
    "s": "s",
    "z": "z z#",
    "sh": "S C",
    "zh": "Z",
    "ch": "tS",
    "jh": "dZ",
    "hh": "h x",
    "r": "r r-",
    "w": "w w#",
    "y": "j ;",
    REST: "? _ _:",
}
_PHONES = {mnemonic: phone for phone, names in _MNEMONICS.items() for mnemonic in names.split()} | {"": REST}
_VOWELS = frozenset("aeiouAEIOUV@308&")
_PHONE_EVENT, _END_OF_LIST = 7, 0
_SYNCHRONOUS, _PHONE_EVENTS = 2, 1
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
    with _fresh_library() as library:
        return _Engine(library).speak(text, voice=voice, prosody=prosody)


class _Engine:
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._chunks: list[np.ndarray[tuple[int], np.dtype[np.int16]]] = []
        self._events: list[tuple[float, str]] = []
        self._callback = _CALLBACK(self._receive)
        self._rate = library.espeak_Initialize(_SYNCHRONOUS, 0, _data_path(), _PHONE_EVENTS)
        if self._rate <= 0:
            raise InputError(
                f"espeak-ng did not start (data in {_data_path()!r}); reinstall espeakng-loader."
            )
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
        return [
            Segment(start, starts[i + 1], _phone(mnemonic))
            for i, (start, mnemonic) in enumerate(self._events)
        ]

    def _receive(
        self, samples: ctypes._Pointer[ctypes.c_short], n_samples: int, events: ctypes._Pointer[_Event]
    ) -> int:
        if n_samples > 0 and samples:
            self._chunks.append(np.ctypeslib.as_array(samples, (n_samples,)).copy())
        index = 0
        while events[index].type != _END_OF_LIST:
            event = events[index]
            if event.type == _PHONE_EVENT:
                mnemonic = bytes(event.id.string).split(b"\0")[0].decode("utf8", "replace")
                self._events.append((event.audio_position / 1000, mnemonic))
            index += 1
        return 0


def _phone(mnemonic: str) -> str:
    plain = mnemonic.strip("',%=|").strip()
    if plain in _PHONES:
        return _PHONES[plain]
    return "ax" if plain[:1] in _VOWELS else REST


@contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    """The library as just loaded; else noise and pitch phases go on from one utterance to the next."""
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
        yield library
    finally:
        library.espeak_Terminate()
        _unload(library._handle)


def _unload(handle: int) -> None:
    if sys.platform == "win32":
        _ctypes.FreeLibrary(handle)
    else:
        _ctypes.dlclose(handle)


def _data_path() -> bytes:
    import espeakng_loader

    return str(espeakng_loader.get_data_path()).encode()
