"""What conditions the denoising UNet besides latents and timestep, in the network's own shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor

from hallo_cli.models.attention import KeyValue, TokenAttention

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class PerLayer(Generic[T]):
    """One value for each layer of a UNet, in the order in which they run; None if a layer has none."""

    values: tuple[T | None, ...]

    def map(self, change: Callable[[T], U]) -> PerLayer[U]:
        """The same with every value changed."""
        return PerLayer(tuple(None if value is None else change(value) for value in self.values))

    def known(self) -> list[T]:
        """The values that are there."""
        return [value for value in self.values if value is not None]


def zip_layers(combine: Callable[..., U | None], *parts: PerLayer[Any]) -> PerLayer[U]:
    """`combine(values of the same layer)` for each layer, None included; the numbers of layers must agree."""
    layers = zip(*(part.values for part in parts), strict=True)
    return PerLayer(tuple(combine(*values) for values in layers))


class AudioContext(NamedTuple):
    """Audio as one layer's hierarchical attention sees it."""

    attention: TokenAttention  # full, face and lip attention side by side; rows: the conditional ones
    bias: Tensor  # [channels] added everywhere
    silence: Tensor  # [1 or masks' rows, positions, channels]: the whole result where audio is dropped


@dataclass(frozen=True)
class LayerContext:
    """The conditions of one layer. None means that this layer, or this run, goes without."""

    reference: KeyValue | None = None  # [reference rows, heads, positions, head width]
    identity: TokenAttention | None = None  # rows: one a sample
    audio: AudioContext | None = None
    motion: Tensor | None = None  # [samples, motion frames, positions, channels], projected


@dataclass(frozen=True)
class ClipContext:
    """The conditions of one forward pass over `samples * n_frames` rows, sample-major.

    With guidance the unconditional sample comes first: the rows before the last `n_conditional` get no
    reference attention, no audio and no face features.
    """

    layers: PerLayer[LayerContext]
    masks: tuple[Tensor, ...]  # a level: [1 or conditional rows, positions, 3] for full, face, lip
    n_frames: int
    n_conditional: int  # rows
    reference_rows: Tensor | None = None  # [conditional rows]: which reference row each one reads
    face_features: Tensor | None = None  # [1 or conditional rows, channels, height, width]
    runs_motion: bool = True  # False in training on single frames, and where motion modules add nothing

    def halves(self) -> tuple[ClipContext, ClipContext]:
        """A guidance pair's unconditional and conditional sample, each to be passed alone."""

        def first(layer: LayerContext) -> LayerContext:
            audio = layer.audio and layer.audio._replace(attention=layer.audio.attention.rows(slice(0)))
            return dataclasses.replace(_sample(layer, slice(1)), reference=None, audio=audio)

        unconditional = dataclasses.replace(
            self, layers=self.layers.map(first), n_conditional=0, reference_rows=None, face_features=None
        )
        second = self.layers.map(lambda layer: _sample(layer, slice(1, None)))
        return unconditional, dataclasses.replace(self, layers=second)


def _sample(layer: LayerContext, rows: slice) -> LayerContext:
    identity = layer.identity and layer.identity.rows(rows)
    motion = None if layer.motion is None else layer.motion[rows]
    return dataclasses.replace(layer, identity=identity, motion=motion)
