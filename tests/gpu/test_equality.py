"""A CUDA device computes what the processor computes, however its work is arranged.

Tolerances are shares of the prediction's own deviation: float32 differs by the order of sums, bfloat16 has
eight bits of a number and float16 eleven, and sixty layers follow one another.
"""

import dataclasses

import numpy as np
import pytest
import torch
from gpu.networks_on_device import SETTINGS, animator, clips, prediction

LARGEST_DIFFERENCE = {torch.float32: 1e-4, torch.float16: 3e-2, torch.bfloat16: 2.5e-1}


@pytest.fixture(scope="module")
def on_processor() -> torch.Tensor:
    return prediction("cpu")


@pytest.mark.parametrize("dtype", LARGEST_DIFFERENCE, ids=str)
def test_prediction_is_that_of_the_processor(on_processor: torch.Tensor, dtype: torch.dtype) -> None:
    found = prediction("cuda", dtype)
    assert (found - on_processor).abs().max() < LARGEST_DIFFERENCE[dtype] * on_processor.std()


@pytest.mark.parametrize(
    "runtime",
    [
        {"decode_behind": "on"},
        {"decode_chunk": 1},
        {"offload": True},
        {"split_guidance": True},
        {"decode_chunk": 1, "decode_behind": "off", "split_guidance": True, "offload": True},
    ],
    ids=["overlap", "frame by frame", "offload", "split", "everything that saves memory"],
)
def test_ways_of_working_change_no_picture(runtime: dict[str, object]) -> None:
    plain = clips(animator("cuda", decode_behind="off"))
    other = clips(animator("cuda", **runtime))
    for a, b in zip(plain, other, strict=True):
        # Other sums: a level of 255 where a value lies at its edge.
        assert np.abs(a.frames.astype(int) - b.frames).max() <= 1


def test_same_job_gives_the_same_bytes_twice_with_streams_overlapping() -> None:
    subject = animator("cuda", torch.bfloat16, decode_behind="on")
    first, second = clips(subject), clips(subject)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.frames, b.frames)


def test_compiled_networks_give_the_same_pictures() -> None:
    plain = clips(animator("cuda"))
    compiled = clips(animator("cuda"), dataclasses.replace(SETTINGS, compile="on"))
    for a, b in zip(plain, compiled, strict=True):
        # Fused layers round elsewhere; three clips carry it on.
        assert np.abs(a.frames.astype(int) - b.frames).mean() < 0.5
