"""What stays the same through a job, as the networks see it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hallo_cli.domain import Window
from hallo_cli.models.anchored import Anchor
from hallo_cli.models.attention import KeyValue, TokenAttention
from hallo_cli.models.context import PerLayer
from hallo_cli.settings.schema import RenderSettings


@dataclass(frozen=True)
class PortraitContext:
    """The portrait as the reference UNet sees it; a row an identity: none and the face's, or one in all."""

    latents: Tensor  # [1, channels, height, width], whole; of anchored models the portrait's features
    features: PerLayer[Tensor]  # [identities, positions, channels]
    keys: PerLayer[KeyValue]  # the same rows, as the denoising UNet reads them


@dataclass(frozen=True)
class JobContext:
    """Everything about a job that stays the same from clip to clip."""

    settings: RenderSettings
    pictures: Tensor  # [1, 3, height, width] the portrait in -1..1
    anchor: Anchor | None  # of anchored autoencoders
    portrait: PortraitContext
    portrait_once: PortraitContext | None  # where the portrait's own was normalised twice (compat)
    reference_identity: PerLayer[TokenAttention] | None  # rows: identities
    identity: PerLayer[TokenAttention] | None  # rows: halves
    masks: tuple[Tensor, ...]
    region_weights: Tensor  # [3]
    face: Tensor  # bool [height, width]: where the face locator is told that the face is
    window: Window  # where anchored models paint
    face_features: Tensor  # [1, channels, height, width] what the face locator makes of the portrait
