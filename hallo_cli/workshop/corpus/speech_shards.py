"""Speech alone, as shards for training the speech encoder: `speech-000000.npz` and so on.

A shard holds `n` utterances laid end to end:
  waveform int16 [samples] at 16 kHz; visemes float16 [frames, 6] and phones uint8 [frames] at 25 fps, frame i
  covering samples 640 i .. 640 (i + 1); frame_offsets int64 [n + 1] (samples: times 640);
  segment_times float32 [m, 2] in seconds from the utterance's start, segment_phones uint8 [m],
  segment_offsets int64 [n + 1]; voices str [n]; phone_names, viseme_names str.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from hallo_cli.store.writing import make_folder, replacing
from hallo_cli.training.takes import note_origin, require_same_origin
from hallo_cli.workshop.corpus.phones import FPS, PHONE_ID, PHONES, VISEMES
from hallo_cli.workshop.corpus.pool import map_in_processes
from hallo_cli.workshop.corpus.utterances import Utterance, silence, utter

UTTERANCES_PER_SHARD = 64
_SILENT_SHARE = 0.04


def write_speech_shards(
    folder: Path, *, n_shards: int, seed: int, workers: int, held_out: bool = False
) -> Iterator[tuple[Path, float]]:
    """Write the missing shards; yields each shard's path and its seconds of audio as it is finished.

    Raises InputError if the folder holds shards of another seed or of other voices, OutputError.
    """
    make_folder(folder)
    origin = {"seed": seed, "held-out voices": held_out}
    require_same_origin(folder, origin, suffix=".npz")
    note_origin(folder, origin)
    missing = [i for i in range(n_shards) if not _shard_path(folder, i).exists()]
    yield from map_in_processes(
        partial(_write_shard, folder, seed=seed, held_out=held_out), missing, workers=workers
    )


def _shard_path(folder: Path, index: int) -> Path:
    return folder / f"speech-{index:06d}.npz"


def _write_shard(folder: Path, index: int, *, seed: int, held_out: bool) -> tuple[Path, float]:
    rng = np.random.default_rng([seed, index, 1])
    utterances = [_draw(rng, held_out=held_out) for _ in range(UTTERANCES_PER_SHARD)]
    path = _shard_path(folder, index)
    with replacing(path) as file:
        np.savez(file, **_packed(utterances))  # type: ignore[arg-type]
    return path, sum(u.n_frames for u in utterances) / FPS


def _draw(rng: np.random.Generator, *, held_out: bool) -> Utterance:
    if rng.random() < _SILENT_SHARE:
        return silence(rng, duration_s=rng.uniform(2, 5))
    return utter(rng, held_out=held_out)


def _packed(utterances: list[Utterance]) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    segments = [s for u in utterances for s in u.segments]
    return {
        "waveform": (np.concatenate([u.waveform for u in utterances]) * 32767).astype(np.int16),
        "visemes": np.concatenate([u.visemes for u in utterances]).astype(np.float16),
        "phones": np.concatenate([u.phones for u in utterances]),
        "frame_offsets": np.cumsum([0, *(u.n_frames for u in utterances)]),
        "segment_times": np.array([[s.start_s, s.end_s] for s in segments], np.float32).reshape(-1, 2),
        "segment_phones": np.array([PHONE_ID[s.phone] for s in segments], np.uint8),
        "segment_offsets": np.cumsum([0, *(len(u.segments) for u in utterances)]),
        "voices": np.array([u.voice for u in utterances]),
        "phone_names": np.array(PHONES),
        "viseme_names": np.array(VISEMES),
    }
