"""What a person does during a take: the words, the part of them that is shown, blinks, glances, turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus.expression import Moment
from hallo_cli.workshop.corpus.filters import smooth_through
from hallo_cli.workshop.corpus.phones import FPS, VISEMES
from hallo_cli.workshop.corpus.utterances import Utterance, silence, utter

_CONTEXT_FRAMES = 50  # of sound kept before and after the frames
_SHOWN = ("open", "wide", "round", "close", "tuck", "tongue", "onset", "rest", "any")
_SHARES = (0.2, 0.14, 0.14, 0.16, 0.05, 0.03, 0.12, 0.06, 0.10)
_DROOPING = 0.45  # share of people whose lids rest lower than wide open
_TURN = np.array([0.055, 0.040, 0.028], np.float32)  # yaw, pitch, roll of lively heads, radians


@dataclass(frozen=True)
class Performance:
    """The plan of one take."""

    reference: Moment
    moments: tuple[Moment, ...]
    utterance: Utterance
    first_frame: int  # of the utterance, shown at moments[0]
    blinks: Float  # [n] how far the lids are shut, from where they rest (0) to meeting (1)

    @property
    def lead_frames(self) -> int:
        """Frames of sound before the first picture."""
        return min(self.first_frame, _CONTEXT_FRAMES)

    def sound(self) -> Float:
        """The samples of the frames with up to 2 s on both sides."""
        start = self.first_frame - self.lead_frames
        stop = min(self.first_frame + len(self.moments) + _CONTEXT_FRAMES, self.utterance.n_frames)
        per_frame = len(self.utterance.waveform) // self.utterance.n_frames
        return self.utterance.waveform[start * per_frame : stop * per_frame]


def rehearse(rng: np.random.Generator, *, n_frames: int, held_out: bool) -> Performance:
    """A random performance."""
    shown = str(rng.choice(_SHOWN, p=_SHARES))
    if shown == "rest" and n_frames < 2 * FPS:
        utterance = silence(rng, duration_s=rng.uniform(2, 4))
    else:
        utterance = utter(
            rng, held_out=held_out, n_phrases=int(rng.integers(1, 3)) if n_frames < 2 * FPS else 3
        )
    while utterance.n_frames < n_frames + 2:
        utterance = utter(rng, held_out=held_out, n_phrases=3)
    first = _choose_start(utterance, shown, n_frames, rng)
    visemes = utterance.visemes[first : first + n_frames] * _loudness(rng)
    reference_mood, mood = _draw_moods(rng)
    blinks = _blinks(n_frames, rng)
    droop = rng.uniform(0, 0.3) if rng.random() < _DROOPING else 0.0
    lids = droop + (1 - droop) * blinks
    gaze = rng.normal(size=2) * 0.07
    # turns, glances and brows need no reason here: the networks are told them beside the sound
    glances = gaze + _drift(n_frames, 2, rng) * rng.choice([0.0, 0.03, 0.09])
    turns = _drift(n_frames, 3, rng) * _TURN * rng.choice([0.0, 0.3, 1.0], p=[0.15, 0.35, 0.5])
    brows = np.clip(_drift(n_frames, 1, rng)[:, 0] * rng.choice([0.0, 0.15, 0.5]), -1, 1)
    moments = tuple(
        Moment(
            visemes[i],
            blink=float(lids[i]),
            mood=mood,
            gaze=(float(glances[i, 0]), float(glances[i, 1])),
            turn=(float(turns[i, 0]), float(turns[i, 1]), float(turns[i, 2])),
            brow=float(brows[i]),
        )
        for i in range(n_frames)
    )
    reference = _reference(reference_mood, droop, (float(gaze[0]), float(gaze[1])), rng)
    return Performance(reference, moments, utterance, first, blinks)


def _choose_start(utterance: Utterance, shown: str, n_frames: int, rng: np.random.Generator) -> int:
    """A start that puts the wanted mouth shape somewhere in the window."""
    last = utterance.n_frames - n_frames
    if shown in VISEMES:
        curve = utterance.visemes[:, VISEMES.index(shown)]
        strong = np.flatnonzero(curve >= max(0.15, 0.75 * float(curve.max())))
    elif shown == "onset":  # speech starts or stops within the window
        still = utterance.visemes.max(axis=1) < 0.05
        strong = np.flatnonzero(still[1:] != still[:-1])
    else:
        strong = np.arange(0)
    if not len(strong):
        return int(rng.integers(0, last + 1))
    return int(np.clip(rng.choice(strong) - rng.integers(0, n_frames), 0, last))


def _loudness(rng: np.random.Generator) -> Float:
    """A factor per viseme: some people hardly open their mouths; closures stay whole."""
    effort = rng.uniform(0.92, 1.12)
    return np.array([effort, effort, effort, 1, 1, 1], np.float32)


def _draw_moods(rng: np.random.Generator) -> tuple[dict[str, float], dict[str, float]]:
    """The face units of the reference picture and of the frames (which keep some of its smile)."""
    slight = max(0.0, float(rng.normal()) * 0.2)
    rest = {"mouthSmileLeft": slight, "mouthSmileRight": slight * rng.uniform(0.8, 1.2)}
    rest["browInnerUp"] = max(0.0, float(rng.normal()) * 0.2)
    for name, chance in (("mouthFrown", 0.15), ("browDown", 0.15), ("eyeSquint", 0.2), ("browOuterUp", 0.15)):
        if rng.random() < chance:
            strength = rng.uniform(0.1, 0.5)
            rest |= {f"{name}Left": strength, f"{name}Right": strength}
    kind = rng.random()
    if kind < 0.30:
        reference = rest | _toothy_smile(rng)
    elif kind < 0.42:
        reference = rest | {
            "jawOpen": rng.uniform(0.12, 0.6),
            "mouthFunnel": max(0.0, rng.uniform(-0.5, 0.4)),
        }
    elif kind < 0.55:
        smile = rng.uniform(0.3, 0.85)
        reference = rest | {"mouthSmileLeft": smile, "mouthSmileRight": smile * rng.uniform(0.85, 1.1)}
    else:
        reference = dict(rest)
    keep = rng.uniform(0.1, 0.2)
    frames = dict(rest)
    for side in ("Left", "Right"):
        name = f"mouthSmile{side}"
        frames[name] = rest[name] * (1 - keep) + reference[name] * keep
        frames[f"cheekSquint{side}"] = reference.get(f"cheekSquint{side}", 0.0) * keep
    return reference, frames


def _toothy_smile(rng: np.random.Generator) -> dict[str, float]:
    smile, up, down = rng.uniform(0.4, 1.0), rng.uniform(0.15, 0.6), rng.uniform(0.1, 0.6)
    mood = {"jawOpen": rng.uniform(0, 0.2)}
    for side in ("Left", "Right"):
        tilt = rng.uniform(0.9, 1.1)
        mood |= {
            f"mouthSmile{side}": smile * tilt,
            f"mouthUpperUp{side}": up * tilt,
            f"mouthLowerDown{side}": down * tilt,
            f"cheekSquint{side}": 0.45 * smile,
        }
    return mood


def _reference(
    mood: dict[str, float], droop: float, gaze: tuple[float, float], rng: np.random.Generator
) -> Moment:
    parted = np.zeros(len(VISEMES), np.float32)
    if rng.random() < 0.25:  # lips a little apart, as in many photographs
        parted[0] = rng.uniform(0.02, 0.15)
    return Moment(parted, blink=droop + max(0.0, float(rng.normal()) * 0.04), mood=mood, gaze=gaze)


def _blinks(n_frames: int, rng: np.random.Generator) -> Float:
    """How far the lids are shut [n]: each blink shuts in 2 frames and opens in about 5."""
    curve = np.zeros(n_frames, np.float32)
    n_blinks = int(rng.random() < 0.45) if n_frames < 2 * FPS else max(1, int(rng.poisson(n_frames / 90)))
    time = np.arange(n_frames)
    for _ in range(n_blinks):
        since = time - rng.uniform(-2, n_frames + 1)
        falling, rising = np.clip(1 + since / 2.2, 0, 1), np.clip(1 - (since - 0.5) / 4.5, 0, 1)
        curve = np.maximum(curve, np.where(since < 0.5, falling, rising))
    smooth = curve * curve * (3 - 2 * curve)
    return smooth.astype(np.float32)


def _drift(n_frames: int, channels: int, rng: np.random.Generator) -> Float:
    """Slow smooth noise [n, channels] of about unit size."""
    knots = rng.normal(size=(n_frames // 8 + 3, channels))
    return smooth_through(knots, n_frames).astype(np.float32)
