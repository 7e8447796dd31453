"""The layers and the noise schedule that come from diffusers, imported without torch's compiler.

diffusers loads the compiler to mark classes that are not used here: a second and 70 MB at every start.
It does without where the compiler is missing, and so it is hidden while diffusers is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager

import torch  # noqa: F401  (first: it may load the compiler itself)

COMPILER = "torch._dynamo"


@contextmanager
def _hidden(module: str) -> Generator[None]:
    """Importing the module fails meanwhile, unless it is loaded already."""
    is_loaded = module in sys.modules
    if not is_loaded:
        sys.modules[module] = None  # type: ignore[assignment]  # Python's own mark for "not to be found"
    try:
        yield
    finally:
        if not is_loaded:
            del sys.modules[module]


with _hidden(COMPILER):
    from diffusers import DDIMScheduler
    from diffusers.models.attention import FeedForward
    from diffusers.models.downsampling import Downsample2D
    from diffusers.models.embeddings import TimestepEmbedding, Timesteps
    from diffusers.models.resnet import ResnetBlock2D

__all__ = [
    "DDIMScheduler",
    "Downsample2D",
    "FeedForward",
    "ResnetBlock2D",
    "TimestepEmbedding",
    "Timesteps",
]
