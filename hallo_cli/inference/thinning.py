"""Greys part of the motion frames' background (Hallo2, arXiv 2410.07718, section 3.2).

The next clip then gets the whole face but only parts of the rest, so that errors there do not accumulate.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

DRAW = 1  # apart from the noise, which is drawn from (seed, clip)


def thinning_mask(shape: tuple[int, int], share: float, *, seed: int, clip: int) -> Tensor:
    """Bool [height, width]: which pixels go grey. It follows from seed and clip: jobs can begin anywhere."""
    words = np.random.SeedSequence((seed, clip, DRAW)).generate_state(1, np.uint64)
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(int(words[0])))
    return drawn < share


def thinned(pictures: Tensor, mask: Tensor, face: Tensor) -> Tensor:
    """Pictures [frames, 3, height, width] in -1..1, grey where the mask says so outside the face.

    mask and face [height, width] or [frames, 1, height, width]; all frames and channels lose the same pixels.
    """
    return pictures.masked_fill(mask & ~face, 0)
