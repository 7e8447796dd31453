"""Recorded passes with a double for the device: it does the work again, into the same tensors."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from bundles import random_networks, tiny_config
from small_jobs import make_portrait, make_speech
from small_networks import Case, make_case, official_like

from hallo_cli.domain import Clip
from hallo_cli.errors import DeviceMemoryError
from hallo_cli.inference import graphs, speed
from hallo_cli.inference.animator import Animator
from hallo_cli.inference.graphs import Recorded, overwrite, tensors
from hallo_cli.inference.passes import NetworkPass, PassInputs
from hallo_cli.models.blocks import DeepFeatures
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

SETTINGS = RenderSettings(steps=2, guidance=3.5, solver="ddim", seed=7)
RUNTIME = RuntimeSettings(device="cpu", compile="off")


class Repeater:
    """Records like a CUDA graph: results hold nothing before a replay, and every replay overwrites them."""

    def __init__(self) -> None:
        self.n_recorded = 0

    def record(self, work):
        self.n_recorded += 1
        results = work()
        for result in tensors(results):
            result.fill_(torch.nan)
        return results, lambda: overwrite(results, work())


class Broken:
    def __init__(self, message: str) -> None:
        self.message = message

    def record(self, work):
        raise RuntimeError(self.message)


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case(official_like())


def inputs_of(case: Case, *, seed: int, timestep: int = 500) -> PassInputs:
    """A guidance pair's pass whose tensors are this call's own."""
    torch.manual_seed(seed)
    context = graphs.copied(case.context)
    for values in tensors(context):
        if values.is_floating_point():
            values.add_(0.1 * torch.randn_like(values))
    return PassInputs(torch.cat([case.latents] * 2), torch.tensor([timestep]), None, context)


def rendered(config, settings, recorder=None, n_clips=3):
    animator = Animator(random_networks(config), RUNTIME)
    if recorder is not None:
        animator.run_pass = Recorded(recorder)
    job = animator.prepare(make_portrait(config), settings)
    clips = animator.clips(job, make_speech(config, n_clips * config.clip_frames))
    return np.concatenate([clip.frames for clip in clips if isinstance(clip, Clip)])


KINDS = [
    (official_like(), {"guidance": 1.0}, 1),
    (official_like(), {"guidance": 3.5}, 1),
    (official_like(), {"guidance": 3.5, "guidance_stop": 0.5}, 2),
    (official_like(), {"guidance": 3.5, "deep_every": 2}, 2),
    (official_like(), {"guidance": 3.5, "guidance_start": 0.5, "deep_every": 2}, 4),
    (tiny_config(lid_channel=3), {}, 1),
]


@pytest.mark.parametrize(("config", "changes", "n_kinds"), KINDS)
def test_frames_are_those_without_and_each_kind_of_step_is_recorded_once_a_job(config, changes, n_kinds):
    settings = dataclasses.replace(SETTINGS, steps=4, **changes)
    recorder = Repeater()
    assert np.array_equal(rendered(config, settings, recorder), rendered(config, settings))
    assert recorder.n_recorded == n_kinds


@torch.inference_mode()
def test_replay_reads_nothing_of_what_it_was_recorded_with(case):
    work, recorder = NetworkPass(case.networks.denoising_unet, 1), Repeater()
    run, first = Recorded(recorder), inputs_of(case, seed=1)
    run(work, first)
    for values in tensors(first):
        values.fill_(torch.nan if values.is_floating_point() else 1 << 40)
    other = inputs_of(case, seed=2, timestep=100)
    expected, found = work(other), run(work, other)
    assert torch.equal(found.prediction, expected.prediction)
    assert torch.equal(found.deep.maps, expected.deep.maps)
    assert recorder.n_recorded == 1


@torch.inference_mode()
def test_deep_features_of_each_step_are_read(case):
    unet, run, full = case.networks.denoising_unet, Recorded(Repeater()), inputs_of(case, seed=1)
    for seed in (2, 3):
        torch.manual_seed(seed)
        maps = NetworkPass(unet, 1)(full).deep.maps
        shallow = full._replace(deep=DeepFeatures(torch.randn_like(maps), 1))
        assert torch.equal(
            run(NetworkPass(unet, 1), shallow).prediction, NetworkPass(unet, 1)(shallow).prediction
        )


@torch.inference_mode()
def test_results_outlive_the_next_replay(case):
    work, run = NetworkPass(case.networks.denoising_unet, 1), Recorded(Repeater())
    first = run(work, inputs_of(case, seed=1))
    kept = graphs.copied(first)
    run(work, inputs_of(case, seed=2))
    assert all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(kept), strict=True))


@torch.inference_mode()
def test_recordings_start_over_where_there_are_too_many_kinds(case, monkeypatch):
    monkeypatch.setattr(graphs, "MAX_RECORDINGS", 2)
    recorder = Repeater()
    run, inputs = Recorded(recorder), inputs_of(case, seed=1)
    for n_kept in (None, 0, 1, None):
        work = NetworkPass(case.networks.denoising_unet, n_kept)
        assert torch.equal(run(work, inputs).prediction, work(inputs).prediction)
    assert recorder.n_recorded == 4


def test_passes_that_cannot_be_recorded_are_run_plainly_with_one_warning(caplog):
    config = official_like()
    with caplog.at_level(logging.WARNING):
        frames = rendered(config, SETTINGS, Broken("operation not permitted when stream is capturing"))
    assert np.array_equal(frames, rendered(config, SETTINGS))
    assert [record.message for record in caplog.records] == [
        "the network's passes cannot be recorded, going on without: "
        "operation not permitted when stream is capturing"
    ]


def test_lack_of_memory_while_recording_takes_the_fallbacks():
    with pytest.raises(DeviceMemoryError):
        rendered(official_like(), SETTINGS, Broken("CUDA out of memory"))


@pytest.mark.parametrize(
    ("changes", "records"),
    [
        ({"compile": "on"}, True),
        ({"compile": "auto"}, False),
        ({"compile": "on", "decode_chunk": 1}, False),
        ({"compile": "on", "split_guidance": True}, False),
        ({"compile": "on", "offload": True}, False),
    ],
)
def test_passes_are_recorded_on_cuda_where_compiling_was_asked_for_and_memory_is_not_short(
    monkeypatch, changes, records
):
    monkeypatch.setattr(speed, "resolve_device", torch.device)
    execution = speed.choose_execution(RuntimeSettings(device="cuda", **changes))
    assert execution.records_passes is records
    assert not speed.choose_execution(RuntimeSettings(device="cpu", **changes)).records_passes
