"""One pass of the denoising UNet as a value: what it reads, what it gives, and who runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from hallo_cli.models.blocks import DeepFeatures
from hallo_cli.models.context import ClipContext
from hallo_cli.models.denoising_unet import DenoisingUNet


class PassInputs(NamedTuple):
    """All that differs from pass to pass."""

    latents: Tensor  # [rows, channels, height, width]
    timestep: Tensor  # [1]
    deep: DeepFeatures | None  # of an earlier step, where the deep layers are left out
    context: ClipContext


class PassOutputs(NamedTuple):
    """What a pass gives."""

    prediction: Tensor  # v, of the latents' shape
    deep: DeepFeatures | None  # for later steps, where some are to leave the deep layers out


@dataclass(frozen=True)
class NetworkPass:
    """A pass as a function of its inputs alone; equal ones do the same."""

    unet: DenoisingUNet
    n_kept: int | None = None  # layers that run in every step (`DeepFeatures`); None: nothing is kept

    def __call__(self, inputs: PassInputs) -> PassOutputs:
        """Run the network."""
        latents, timestep, deep, context = inputs
        if deep is not None:
            return PassOutputs(self.unet.forward_shallow(latents, timestep, context, deep), None)
        if self.n_kept is None:
            return PassOutputs(self.unet(latents, timestep, context), None)
        return PassOutputs(*self.unet.forward_keeping(latents, timestep, context, self.n_kept))


PassRunner = Callable[[NetworkPass, PassInputs], PassOutputs]


def run_plainly(work: NetworkPass, inputs: PassInputs) -> PassOutputs:
    """Just run it."""
    return work(inputs)
