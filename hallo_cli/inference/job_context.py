"""What stays the same through a job, as the networks see it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hallo_cli.inference.skin import Skin
from hallo_cli.models.attention import KeyValue, TokenAttention
from hallo_cli.models.context import UNetTree
from hallo_cli.settings.schema import RenderSettings


@dataclass(frozen=True)
class PortraitContext:
    """The portrait as the reference UNet sees it; a row an identity: none and the face's, or one in all."""

    latents: Tensor  # [1, channels, height, width], whole
    features: UNetTree[Tensor]  # [identities, positions, channels]
    keys: UNetTree[KeyValue]  # the same rows, as the denoising UNet reads them


@dataclass(frozen=True)
class JobContext:
    """Everything about a job that stays the same from clip to clip."""

    settings: RenderSettings
    pictures: Tensor  # [1, 3, height, width] the portrait in -1..1
    portrait: PortraitContext
    portrait_once: PortraitContext | None  # where the portrait's own was normalised twice (compat)
    copy: Tensor | None  # [1, 3, height, width] the portrait after the autoencoder
    ink: Tensor | None  # the colours of a portrait of a single ink, see inks.py
    skin: Skin | None  # the colours of other portraits' skin, see skin.py
    reference_identity: UNetTree[TokenAttention] | None  # rows: identities
    identity: UNetTree[TokenAttention] | None  # rows: halves
    masks: tuple[Tensor, ...]
    region_weights: Tensor  # [3]
    face: Tensor  # bool [height, width]: where the face locator is told that the face is
    face_features: Tensor  # [1, channels, height, width] what the face locator makes of open eyes
    located: Tensor  # [1, 3, height, width] the picture it looks at
    eyes: Tensor  # [1, 1, height, width] where the lids are in it
