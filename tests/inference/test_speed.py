"""Choices for speed: refused where the device is missing, otherwise the same pictures."""

import dataclasses

import pytest
import torch
from small_bundles import random_networks, tiny_config

from hallo_cli.inference import speed
from hallo_cli.models.attention import fused_kernel
from hallo_cli.settings.schema import RuntimeSettings

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("dtype", "device", "rounds"),
    [(torch.float32, "cuda", False), (torch.bfloat16, "cuda", True), (torch.float32, "cpu", True)],
)
def test_float32_on_cuda_is_not_rounded_to_tf32(monkeypatch, dtype, device, rounds):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    speed.keep_precision(dtype, torch.device(device))
    assert torch.backends.cudnn.allow_tf32 is rounds


def test_networks_are_present_while_used():
    networks = random_networks(tiny_config())
    execution = dataclasses.replace(speed.Execution(torch.device("meta"), fused_kernel, 1), offloads=True)
    with speed.present(torch.nn.Linear(1, 1, device="meta"), speed.Execution(CPU, fused_kernel, 1)) as module:
        assert module.weight.is_meta
    with pytest.raises(NotImplementedError), speed.present(networks.vae, execution) as module:
        assert all(value.is_meta for value in module.parameters())


def test_settings_become_an_execution():
    runtime = RuntimeSettings(device="cpu", decode_chunk=3, split_guidance=True, offload=True)
    execution = speed.choose_execution(runtime)
    assert (execution.decode_chunk, execution.splits_guidance) == (3, True)
    assert not execution.offloads  # a CPU has nowhere to offload to


@pytest.mark.parametrize(
    ("decode_behind", "is_anchored", "threads", "overlaps"),
    [
        ("auto", True, 2, True),
        ("auto", True, 1, False),
        ("auto", False, 2, False),
        ("on", False, 1, True),
        ("off", True, 2, False),
    ],
)
def test_anchored_clips_are_decoded_behind_where_threads_are_left(
    monkeypatch, decode_behind, is_anchored, threads, overlaps
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    runtime = RuntimeSettings(device="cpu", decode_behind=decode_behind)
    assert speed.choose_execution(runtime, is_anchored=is_anchored).overlaps is overlaps
