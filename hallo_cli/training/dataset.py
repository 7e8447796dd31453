"""Batches out of encoded takes.

Which takes and frames the n-th batch holds is a pure function of (seed, n): nothing has to be remembered to
continue a run, and the batches prepared ahead cannot get out of step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from hallo_cli.errors import InputError, SettingsError
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.training.config import DataSettings, Stage
from hallo_cli.training.encoded_shards import EncodedTake, read_encoded

BALANCED_VISEMES = 4  # open, wide, round, close: the first columns of truth.visemes; a fifth class is rest
SHUT = 0.7  # of truth.blink, 0 open to 1 shut
T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Takes side by side, and of each the same number of frames."""

    latents: Tensor  # [takes, frames, channels, height, width] scaled, as the autoencoder gives them
    reference: Tensor  # [takes, channels, height, width]
    grey: Tensor  # [channels, height, width]
    audio: Tensor  # [takes, frames, window, blocks, width]
    masks: tuple[Tensor, ...]  # a level: [takes, 3, height, width] for full, face, lip
    boxes: Tensor  # [takes, 3, 4] locator rectangle, face, lips: left, top, right, bottom in 0..1
    motion: Tensor | None = None  # [takes, motion frames, channels, height, width]; None on single frames
    pixels: Tensor | None = None  # uint8 [takes, height, width, 3] the portraits
    identity: Tensor | None = None  # [takes, width]

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        moved = {
            item.name: value.to(device, non_blocking=True)
            for item in fields(self)
            if isinstance(value := getattr(self, item.name), Tensor)
        }
        return replace(self, masks=tuple(m.to(device, non_blocking=True) for m in self.masks), **moved)


class BatchSource:
    """Puts batches together. Raises InputError if the takes do not suit the networks or the stage."""

    def __init__(
        self,
        takes: Sequence[EncodedTake],
        data: DataSettings,
        *,
        network: NetworkConfig,
        stage: Stage,
        seed: int,
    ) -> None:
        self.data, self.network, self.stage, self.seed = data, network, stage, seed
        needed = data.frames + (network.motion_frames + data.end_margin if stage == "stage2" else 0)
        self.takes = [take for take in takes if take.n_frames >= needed]
        if not self.takes:
            raise InputError(
                f"no take has the {needed} frames of {stage}: lower data.frames or encode longer takes"
            )
        self._has_own_reference = network.locator_input == "portrait"
        self._require_tensors()
        if data.blink_repeats > 1:
            blinking = [take for take in self.takes if _has_blink(take)]
            self.takes += blinking * (data.blink_repeats - 1)

    def batch(self, number: int) -> Batch:
        """The batch of that number, counted over all processes and accumulation rounds."""
        rng = np.random.default_rng((self.seed, number))
        chosen = [self._take(number * self.data.takes + i) for i in range(self.data.takes)]
        samples = [self._sample(take, rng) for take in chosen]
        n_levels = sum(name.startswith("masks.") for name in chosen[0].shard)

        def of_takes(name: str) -> Tensor:
            return torch.stack([take.of_take(name) for take in chosen])

        return Batch(
            **{name: torch.stack([sample[name] for sample in samples]) for name in samples[0]},
            grey=chosen[0].shard["grey"].float(),
            masks=tuple(of_takes(f"masks.{level}").float() for level in range(n_levels)),
            boxes=of_takes("boxes"),
            pixels=of_takes("reference_pixels") if self._has_own_reference else None,
            identity=of_takes("identity") if self.network.identity_tokens else None,
        )

    def _require_tensors(self) -> None:
        data, network = self.data, self.network
        for name, is_needed in (
            ("identity", network.identity_tokens > 0),
            ("truth.visemes", data.balance_visemes),
            ("truth.blink", data.blink_repeats > 1),
            ("reference_pixels", network.locator_input == "portrait"),
        ):
            lacking = sorted({take.file for take in self.takes if is_needed and name not in take.shard})
            if lacking:
                others = f" (and {len(lacking) - 1} other shards)" if len(lacking) > 1 else ""
                raise InputError(
                    f"the encoded shard {lacking[0]}{others} lacks {name} in one take or more, and this "
                    "run needs it: prepare and encode its takes with it, or remove the shard"
                )

    def _take(self, position: int) -> EncodedTake:
        epoch, index = divmod(position, len(self.takes))
        return self.takes[_permutation(self.seed, epoch, len(self.takes))[index]]

    def _sample(self, take: EncodedTake, rng: np.random.Generator) -> dict[str, Tensor]:
        """What a batch shows of a take that is drawn: latents, reference, audio and motion."""
        n_motion = self.network.motion_frames if self.stage == "stage2" else 0
        is_own = self._has_own_reference or bool(take.of_take("own_reference"))
        n_starts = take.n_frames - self.data.frames - self.data.end_margin + 1
        reference_row = int(rng.integers(n_motion, n_starts if n_motion else take.n_frames))
        if n_motion:
            start = int(rng.integers(n_motion, n_starts))
            rows = torch.arange(start, start + self.data.frames)
        else:
            rows = torch.as_tensor(self._single_frames(take, rng, None if is_own else reference_row))
        sample = {"audio": take.audio_windows(rows, self.network.audio_window).float()}
        if is_own:
            sample["reference"] = take.of_take("reference").float()
        else:
            sample["reference"] = self._latents(take, torch.tensor([reference_row]), rng)[0]
        sample["latents"] = self._latents(take, rows, rng)
        if n_motion:
            sample["motion"] = self._latents(take, rows[0] - n_motion + torch.arange(n_motion), rng)
        return sample

    def _single_frames(self, take: EncodedTake, rng: np.random.Generator, reference: int | None) -> list[int]:
        allowed = np.arange(take.n_frames)
        if reference is not None:
            later = allowed[reference + self.data.margin :]
            earlier = allowed[: max(0, reference - self.data.margin + 1)]
            allowed = next((rows for rows in (later, earlier) if len(rows) >= self.data.frames), allowed)
        weights = np.ones((len(allowed), 1))
        if self.data.balance_visemes:
            visemes = take.frames("truth.visemes", torch.as_tensor(allowed)).float().clamp(0, 1).numpy()
            shaped = visemes[:, :BALANCED_VISEMES]
            weights = 0.05 + np.concatenate([shaped, 1 - shaped.max(1, keepdims=True)], 1)
        chosen: list[int] = []
        for _ in range(self.data.frames):
            weight = weights[:, rng.integers(weights.shape[1])].copy()
            weight[chosen] = 0
            chosen.append(int(rng.choice(len(allowed), p=weight / weight.sum())))
        return [int(allowed[i]) for i in chosen]

    def _latents(self, take: EncodedTake, rows: Tensor, rng: np.random.Generator) -> Tensor:
        mean = take.frames("latents", rows).float()
        if "latents_spread" not in take.shard or not self.data.sample_latents:
            return mean
        noise = torch.from_numpy(rng.standard_normal(mean.shape, np.float32))
        return mean + noise * take.frames("latents_spread", rows).float()


def chosen_takes(data: DataSettings, network: NetworkConfig) -> tuple[list[EncodedTake], list[EncodedTake]]:
    """A run's takes: those to train on, and those held out. Raises InputError or SettingsError."""
    takes = read_encoded(data.shards, network)
    if data.validation is None:
        return split_takes(takes, data.held_out)
    return takes, read_encoded(data.validation, network)


def frames_of(data: DataSettings, network: NetworkConfig, stage: Stage) -> int:
    """Frames of each take in a batch. Raises SettingsError if the motion modules cannot take them."""
    if stage == "stage1":
        return data.frames or 1
    frames = data.frames or network.clip_frames
    most = network.max_temporal - network.motion_frames
    if not 2 <= frames <= most:
        raise SettingsError(f"data.frames = {frames}: a clip of stage 2 has 2 to {most} frames")
    return frames


def split_takes(takes: list[EncodedTake], held_out: int) -> tuple[list[EncodedTake], list[EncodedTake]]:
    """Takes to train on and `held_out` of them for validation, spread over all; at least one of each."""
    if len(takes) < 2:
        return takes, takes
    n_held = max(1, min(held_out, len(takes) // 2))
    held = {i * len(takes) // n_held for i in range(n_held)}
    return [t for i, t in enumerate(takes) if i not in held], [takes[i] for i in sorted(held)]


def prefetched(make: Callable[[int], T], numbers: Iterator[int], depth: int) -> Iterator[T]:
    """make(n) for each number in order, up to `depth` of them prepared ahead in a thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting: deque[Future[T]] = deque()
        try:
            for number in numbers:
                waiting.append(pool.submit(make, number))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _has_blink(take: EncodedTake) -> bool:
    return bool((take.frames("truth.blink", torch.arange(take.n_frames)) > SHUT).any())


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, n: int) -> list[int]:
    order: list[int] = np.random.default_rng((seed, epoch, n)).permutation(n).tolist()
    return order
