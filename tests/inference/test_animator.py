"""Whole renders with tiny networks: every shape of job, and what must not depend on how it is run."""

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from small_bundles import random_networks, tiny_config
from small_jobs import SIZE, make_portrait, make_speech
from small_networks import middle_of, official_like

from hallo_cli.domain import CONTROLS, Clip, MotionFrames, MotionShape, StepDone
from hallo_cli.errors import DeviceMemoryError, PortraitError
from hallo_cli.inference.animator import Animator, audio_windows
from hallo_cli.inference.memory import reporting_memory
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

SETTINGS = RenderSettings(steps=2, guidance=3.5, solver="ddim", seed=7)
RUNTIME = RuntimeSettings(device="cpu")


ANIMATORS: dict[str, Animator] = {}


def make_animator(config: NetworkConfig) -> Animator:
    """One for all tests, which do not change its networks: building these takes longer than a clip."""
    key = repr(config)
    if key not in ANIMATORS:
        ANIMATORS[key] = Animator(random_networks(config), RUNTIME)
    return ANIMATORS[key]


def render(
    config: NetworkConfig, n_frames: int = 8, settings: RenderSettings = SETTINGS, **portrait: int
) -> list[Clip]:
    animator = make_animator(config)
    job = animator.prepare(make_portrait(config, **portrait), settings)
    return [e for e in animator.clips(job, make_speech(config, n_frames)) if isinstance(e, Clip)]


CASES = [
    ("official", official_like(), SETTINGS, {}),
    ("sane", official_like(compat="sane"), SETTINGS, {}),
    ("embedded", tiny_config(), SETTINGS, {}),
    ("without guidance", official_like(), dataclasses.replace(SETTINGS, guidance=1.0), {}),
    ("guidance below one", official_like(), dataclasses.replace(SETTINGS, guidance=0.5), {}),
    ("guidance for a while", official_like(), dataclasses.replace(SETTINGS, guidance_stop=0.5), {}),
    ("one frame a clip", official_like(clip_frames=1), SETTINGS, {}),
    ("three frames a clip", official_like(clip_frames=3), SETTINGS, {}),
    ("no motion frames", official_like(motion_frames=0), SETTINGS, {}),
    ("wide", official_like(), SETTINGS, {"height": 48, "width": 80}),
    ("odd latents", official_like(), SETTINGS, {"height": 56, "width": 40}),
    ("many steps", tiny_config(), dataclasses.replace(SETTINGS, solver="dpm++", steps=5), {}),
]


@pytest.mark.parametrize(
    ("config", "settings", "portrait"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_every_kind_of_job_gives_its_frames(config, settings, portrait):
    n_frames = 2 * config.clip_frames + (config.clip_frames > 1)
    clips = render(config, n_frames, settings, **portrait)
    frames = np.concatenate([clip.frames for clip in clips])
    picture = (portrait.get("height", SIZE), portrait.get("width", SIZE), 3)
    motion = (MotionShape(SIZE // 2, 2 * SIZE).n_bytes,)
    assert frames.shape == (n_frames, *(motion if config.is_anchored else picture))
    assert frames.std() > 1
    assert [clip.index for clip in clips] == list(range(len(clips)))
    assert all(len(clip.motion.values) == config.motion_frames for clip in clips)


@pytest.mark.parametrize(
    "config",
    [official_like(), tiny_config(), official_like(motion_thinning=0.25)],
    ids=["official", "embedded", "hallo2"],
)
def test_continued_render_equals_an_uninterrupted_one(config):
    whole = render(config, 12)
    animator = make_animator(config)
    job = animator.prepare(make_portrait(config), SETTINGS)
    speech = make_speech(config, 8, first_frame=4)
    rest = animator.clips(job, speech, first_clip=1, motion=whole[0].motion)
    for clip, expected in zip((e for e in rest if isinstance(e, Clip)), whole[1:], strict=True):
        assert clip.index == expected.index
        assert np.array_equal(clip.frames, expected.frames)
        assert np.array_equal(clip.motion.values, expected.motion.values)


def test_motion_frames_carry_over():
    config = tiny_config()
    animator = make_animator(config)
    job = animator.prepare(make_portrait(config), SETTINGS)
    pair = [
        animator.clip_context(job, audio_windows(make_speech(config, 4), 0, 4, 5), motion)
        for motion in (
            None,
            MotionFrames(np.ones((2, SIZE // 8, SIZE // 8, config.latent_channels), np.float32)),
        )
    ]
    first, second = (middle_of(context.layers, config).motion for context in pair)
    assert not torch.allclose(first, second)


def test_motion_modules_that_add_nothing_are_left_out(monkeypatch):
    config = tiny_config()
    networks = random_networks(config)
    with torch.no_grad():
        for name, value in networks.denoising_unet.named_parameters():
            if "proj_out" in name and "motion_modules" in name:
                value.zero_()

    def frames(**change):
        animator = Animator(networks, RUNTIME)
        for name, value in change.items():
            monkeypatch.setattr(animator, name, value)
        job = animator.prepare(make_portrait(config), SETTINGS)
        return [e.frames for e in animator.clips(job, make_speech(config, 8)) if isinstance(e, Clip)]

    def fail(*arguments):
        pytest.fail("motion frames are looked at")

    plain = frames(runs_motion=True)
    np.testing.assert_array_equal(frames(_motion_features=fail), plain)
    assert make_animator(config).runs_motion


def test_portrait_alone_starts_the_first_clip():
    config = official_like()
    animator = make_animator(config)
    portrait = make_portrait(config)
    job = animator.prepare(portrait, SETTINGS)
    pixels = np.repeat(portrait.pixels[None].astype(np.float32) / 127.5 - 1, 2, axis=0)
    windows = audio_windows(make_speech(config, 4), 0, 4, 5)
    start = animator.clip_context(job, windows, None).layers
    given = animator.clip_context(job, windows, MotionFrames(pixels)).layers
    for a, b in zip(start.known(), given.known(), strict=True):
        torch.testing.assert_close(a.motion, b.motion, rtol=1e-4, atol=1e-5)


def test_progress_counts_every_step_before_its_clip():
    config = tiny_config()
    animator = make_animator(config)
    job = animator.prepare(make_portrait(config), SETTINGS)
    events = list(animator.clips(job, make_speech(config, 8)))
    assert events[:2] == [StepDone(0, 1, 2), StepDone(0, 2, 2)]
    assert [type(event) for event in events] == [StepDone, StepDone, Clip] * 2


def test_cancelled_render_ends_between_steps():
    config = tiny_config()
    animator = make_animator(config)
    job = animator.prepare(make_portrait(config), SETTINGS)
    answers = itertools.chain([False, False], itertools.repeat(True))
    events = list(animator.clips(job, make_speech(config, 8), is_cancelled=lambda: next(answers)))
    assert [type(event) for event in events] == [StepDone, StepDone, Clip, StepDone]


def test_speech_moves_the_frames_and_silenced_regions_do_not_listen():
    config = tiny_config()
    quiet = dataclasses.replace(SETTINGS, pose_weight=0, face_weight=0, lip_weight=0)
    spoken, other = render(config, 4)[0].frames, render(config, 4, quiet)[0].frames
    assert not np.array_equal(spoken, other)


@pytest.mark.parametrize("noise", ["independent", "published"])
def test_seed_and_noise_setting_choose_the_frames(noise):
    settings = dataclasses.replace(SETTINGS, noise=noise)
    config = official_like()
    first, again = render(config, 4, settings)[0], render(config, 4, settings)[0]
    assert np.array_equal(first.frames, again.frames)
    other = render(config, 4, dataclasses.replace(settings, seed=8))[0]
    assert not np.array_equal(first.frames, other.frames)


def test_portrait_without_face_embedding_is_refused_where_one_is_needed():
    config = official_like()
    animator = make_animator(config)
    portrait = dataclasses.replace(make_portrait(config), identity=None)
    with pytest.raises(PortraitError, match="face embedding"):
        animator.prepare(portrait, SETTINGS)


@pytest.mark.parametrize("kind", ["official", "sane"])
def test_bright_portrait_is_encoded_as_the_weights_are_used_to(kind):
    config = official_like(compat=kind)
    animator = make_animator(config)
    portrait = make_portrait(config)
    pixels = portrait.pixels // 2 + 128
    job = animator.prepare(dataclasses.replace(portrait, pixels=pixels), SETTINGS)
    assert (job.portrait_once is not None) is (kind == "official")
    dark = np.full((2, SIZE, SIZE, 3), -0.5, np.float32)
    motion = MotionFrames(dark)
    windows = audio_windows(make_speech(config, 4), 0, 4, 5)
    after = middle_of(animator.clip_context(job, windows, motion).layers, config).reference
    expected = animator.prepare(dataclasses.replace(portrait, pixels=pixels), SETTINGS)
    once = expected.portrait_once or expected.portrait
    assert torch.equal(after.key, middle_of(once.keys, config).key)


def test_memory_that_runs_out_is_reported_with_the_remedy():
    with pytest.raises(DeviceMemoryError, match="decode-chunk 1"), reporting_memory():
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(DeviceMemoryError, match="decode-chunk 1"), reporting_memory():
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
    with pytest.raises(DeviceMemoryError, match="computer"), reporting_memory():
        raise RuntimeError("DefaultCPUAllocator: not enough memory")
    with pytest.raises(RuntimeError, match="other"), reporting_memory():
        raise RuntimeError("other")


@pytest.mark.parametrize("config", [official_like(), tiny_config()])
def test_fast_choices_give_the_plain_frames(config):
    fast = levels(config, render(config, 4)[0])
    animator = Animator(
        random_networks(config), dataclasses.replace(RUNTIME, decode_chunk=4, split_guidance=True)
    )
    for module in (*animator.networks.by_prefix().values(), animator.networks.vae):
        module.to(memory_format=torch.contiguous_format)
    job = animator.prepare(make_portrait(config), SETTINGS)
    *_, plain = animator.clips(job, make_speech(config, 4))
    # Rounding may tip a value over the edge between two grey levels.
    assert np.abs(fast - levels(config, plain)).max() <= 1


def levels(config, clip):
    """Grey levels, and of packed motion the flow's steps beside them."""
    if not config.is_anchored:
        return clip.frames.astype(int)
    n_flow = 4 * (config.image_size // 2) ** 2
    flow = np.ascontiguousarray(clip.frames[:, :n_flow]).view("<i2")
    return np.concatenate([flow, clip.frames[:, n_flow:]], axis=1).astype(int)


def test_lids_and_brows_reach_the_frames_and_not_the_networks():
    config = tiny_config()
    speech = make_speech(config, 4)
    lids, brows = (config.control_channel + CONTROLS.index(name) for name in ("blink", "brow"))
    speech.features[..., [lids, brows]] = 0
    (resting,) = clips_of(config, speech)
    speech.features[2:6, 0, lids] = (0, 0.5, 1, 0.2)
    speech.features[2:6, 0, brows] = (1, 0.2, 0, 0)
    (moving,) = clips_of(config, speech)
    assert (moving.frames[:, -2] == (0, 128, 255, 51)).all()
    assert (moving.frames[:, -1] == (255, 51, 0, 0)).all()
    assert not resting.frames[:, -2:].any()
    assert np.array_equal(resting.frames[:, :-2], moving.frames[:, :-2])


def clips_of(config, speech):
    animator = make_animator(config)
    job = animator.prepare(make_portrait(config), SETTINGS)
    return [item for item in animator.clips(job, speech) if isinstance(item, Clip)]


@pytest.fixture
def own_threads() -> Iterator[None]:
    """Later tests compute with as many threads as before."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("own_threads")
@pytest.mark.parametrize("config", [tiny_config(), tiny_config(clip_frames=1), tiny_config(motion_frames=0)])
def test_overlapped_render_gives_the_same_bytes(config):
    n_frames = 3 * config.clip_frames + (config.clip_frames > 1)
    networks, rendered = make_animator(config).networks, {}
    for overlap in ("off", "on"):
        animator = Animator(networks, dataclasses.replace(RUNTIME, decode_behind=overlap, threads=2))
        assert animator.execution.overlaps is (overlap == "on")
        job = animator.prepare(make_portrait(config), SETTINGS)
        rendered[overlap] = list(animator.clips(job, make_speech(config, n_frames)))
    assert [type(event) for event in rendered["on"]] == [type(event) for event in rendered["off"]]
    for clip, expected in zip(rendered["on"], rendered["off"], strict=True):
        if isinstance(clip, Clip):
            assert np.array_equal(clip.frames, expected.frames)
            assert np.array_equal(clip.motion.values, expected.motion.values)


def test_next_clip_is_denoised_while_the_reader_works_on_one(monkeypatch):
    config = tiny_config()
    animator = Animator(random_networks(config), dataclasses.replace(RUNTIME, decode_behind="on"))
    job = animator.prepare(make_portrait(config), SETTINGS)
    threads = []
    forward = animator.networks.denoising_unet.forward

    def noted(*arguments):
        threads.append(threading.current_thread().name)
        return forward(*arguments)

    monkeypatch.setattr(animator.networks.denoising_unet, "forward", noted)
    events = animator.clips(job, make_speech(config, 8))
    first = next(event for event in events if isinstance(event, Clip))
    n_passes, deadline = SETTINGS.steps, time.monotonic() + 60
    while len(threads) <= n_passes and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(threads) > n_passes
    assert [event.index for event in events if isinstance(event, Clip)] == [first.index + 1]
    assert set(threads) == {"ahead"}


def test_failure_while_denoising_is_raised(monkeypatch):
    config = tiny_config()
    animator = Animator(random_networks(config), dataclasses.replace(RUNTIME, decode_behind="on"))
    job = animator.prepare(make_portrait(config), SETTINGS)

    def fail(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(animator.networks.denoising_unet, "forward", fail)
    with pytest.raises(DeviceMemoryError):
        list(animator.clips(job, make_speech(config, 8)))


def test_segments_are_denoised_in_one_thread():
    config = tiny_config()
    animator = Animator(random_networks(config), dataclasses.replace(RUNTIME, decode_behind="on"))
    job, seen = animator.prepare(make_portrait(config), SETTINGS), []
    animator.networks.denoising_unet.register_forward_hook(lambda *call: seen.append(threading.get_ident()))
    for _ in range(2):
        list(animator.clips(job, make_speech(config, 4)))
    assert len(seen) == 4
    assert set(seen) - {threading.get_ident()} == {seen[0]}


def test_settings_of_reuse_reach_the_sampler():
    config = official_like()
    settings = dataclasses.replace(SETTINGS, deep_every=2)
    animator = make_animator(config)
    job = animator.prepare(make_portrait(config), settings)
    windows = audio_windows(make_speech(config, 4), 0, 4, 5)
    _, predictor = animator.sampler(settings, animator.clip_context(job, windows, None))
    assert predictor.deep.every == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore")
def test_cuda_graphs_give_the_same_frames():
    config, runtime = official_like(), RuntimeSettings(device="cuda")
    settings = dataclasses.replace(SETTINGS, solver="dpm++", steps=4, deep_every=2)
    animator = Animator(random_networks(config), runtime)
    made = []
    for word in ("off", "on"):
        job = animator.prepare(make_portrait(config), dataclasses.replace(settings, compile=word))
        steps = animator.clips(job, make_speech(config, 12))
        made.append(np.concatenate([e.frames for e in steps if isinstance(e, Clip)]).astype(int))
    assert np.abs(made[1] - made[0]).mean() < 1
