"""The denoising UNet saves work without changing a number, at every shape, and can be trained."""

import dataclasses
from collections.abc import Callable
from functools import cached_property

import plain_unet
import pytest
import torch
from small_bundles import tiny_config
from small_networks import Case, make_case, official_like, shared_case
from torch.utils.flop_counter import FlopCounterMode

from hallo_cli.inference.step_plan import DeepReuse
from hallo_cli.jobs.forecast import SHALLOW_COST
from hallo_cli.models import compat
from hallo_cli.models.attention import adaptive_kernel, fused_kernel, matmul_kernel, use_attention_kernel
from hallo_cli.models.blocks import DeepFeatures
from hallo_cli.models.context import ClipContext, PerLayer, zip_layers
from hallo_cli.models.denoising_unet import DenoisingUNet
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import build_networks

STEP = torch.tensor([500])
# Rounding of float32 through some forty layers; predictions have a deviation near 1.
NEAR = {"rtol": 1e-4, "atol": 1e-5}


def predict(case: Case) -> torch.Tensor:
    pair = torch.cat([case.latents, case.latents])
    return case.networks.denoising_unet(pair, STEP, case.context)


@pytest.mark.parametrize(
    ("config", "size", "n_frames"),
    [
        (official_like(), (8, 8), 4),
        (official_like(), (6, 10), 3),
        (official_like(), (7, 5), 1),
        (official_like(compat="sane"), (8, 8), 3),
        (official_like(motion_frames=1), (8, 8), 5),
        (tiny_config(), (6, 8), 4),
        (tiny_config(layers_per_block=2, attention_levels=(True, False, True)), (8, 8), 2),
    ],
)
def test_step_equals_one_with_nothing_saved(config, size, n_frames):
    case = shared_case(config, size, n_frames)
    expected = plain_unet.predict(case.networks.denoising_unet, case.latents, STEP, case.plain)
    assert expected.std() > 0.01
    torch.testing.assert_close(predict(case), expected, **NEAR)


@pytest.mark.parametrize("config", [official_like(), tiny_config()])
def test_halves_one_after_the_other_equal_the_pair(config):
    case = shared_case(config)
    halves = [case.networks.denoising_unet(case.latents, STEP, half) for half in case.context.halves()]
    torch.testing.assert_close(torch.cat(halves), predict(case), **NEAR)


def test_every_condition_reaches_the_prediction():
    case = shared_case(official_like())
    before = predict(case)
    layers = case.context.layers
    for name in ("reference", "identity", "motion"):
        without = layers.map(lambda layer, name=name: dataclasses.replace(layer, **{name: None}))
        case.context = dataclasses.replace(case.context, layers=without)
        assert not torch.allclose(predict(case), before, **NEAR), name
    case.context = dataclasses.replace(case.context, layers=layers, face_features=None)
    assert not torch.allclose(predict(case), before, **NEAR)


def test_unconditional_half_ignores_portrait_and_audio():
    case, other = shared_case(official_like()), shared_case(official_like())
    audio = other.networks.denoising_unet.project_audio(
        torch.randn_like(other.plain.audio), other.plain.masks, other.plain.region_weights
    )
    other.context = dataclasses.replace(
        other.context,
        layers=zip_layers(
            lambda layer, heard: dataclasses.replace(layer, audio=heard), other.context.layers, audio
        ),
    )
    first, second = predict(case).chunk(2), predict(other).chunk(2)
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)
    assert not torch.allclose(first[1], second[1], **NEAR)


@pytest.mark.parametrize("kernel", [matmul_kernel, adaptive_kernel])
def test_attention_kernels_agree(kernel):
    case = make_case(official_like())
    use_attention_kernel(case.networks.denoising_unet, fused_kernel)
    fused = predict(case)
    use_attention_kernel(case.networks.denoising_unet, kernel)
    torch.testing.assert_close(predict(case), fused, **NEAR)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adaptive_kernel_attends_in_either_format(dtype):
    query, key, value = (torch.randn(2, 2, 6, 4).to(dtype) for _ in range(3))
    found = adaptive_kernel(query, key, value)
    torch.testing.assert_close(found, fused_kernel(query, key, value), rtol=0.02, atol=0.02)


def test_channels_last_changes_nothing():
    case = make_case(official_like())
    expected = predict(case)
    case.networks.denoising_unet.to(memory_format=torch.channels_last)
    torch.testing.assert_close(predict(case), expected, **NEAR)


def test_bfloat16_runs_near_float32():
    config = official_like()
    expected = predict(shared_case(config))
    case = make_case(config)

    def half(value):
        return value.bfloat16() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    unet = case.networks.denoising_unet.bfloat16()
    features = case.plain.features.map(half)
    masks = tuple(map(half, case.plain.masks))
    context = dataclasses.replace(
        case.context,
        masks=masks,
        face_features=half(case.plain.face_features),
        layers=unet.layer_contexts(
            reference=unet.project_reference(features.map(lambda f: f[:, 0])),
            identity=unet.project_identity(half(case.plain.identity)),
            audio=unet.project_audio(half(case.plain.audio), masks, half(case.plain.region_weights)),
            motion=unet.project_motion(features.map(lambda f: f[:, 1:])),
        ),
    )
    found = unet(half(torch.cat([case.latents] * 2)), STEP, context)
    assert found.dtype is torch.bfloat16
    # bfloat16 has 8 bits: about 1 % after all layers.
    assert (found.float() - expected).abs().mean() < 0.03 * expected.abs().mean()


def test_checkpointing_gives_the_same_gradients():
    config = tiny_config()
    gradients = []
    for checkpoints in (False, True):
        case = make_case(config)
        unet = case.networks.denoising_unet.requires_grad_(True)
        unet.checkpointing = checkpoints
        predict(case).square().mean().backward()
        gradients.append(
            {name: value.grad for name, value in unet.named_parameters() if value.grad is not None}
        )
    assert gradients[0]
    torch.testing.assert_close(gradients[1], gradients[0])


def test_training_reaches_every_parameter():
    case = make_case(official_like())
    unet = case.networks.denoising_unet.requires_grad_(True)
    layers = unet.layer_contexts(
        reference=unet.project_reference(case.plain.features.map(lambda f: f[:, 0])),
        identity=unet.project_identity(case.plain.identity),
        audio=unet.project_audio(case.plain.audio, case.plain.masks, torch.ones(3)),
        motion=unet.project_motion(case.plain.features.map(lambda f: f[:, 1:])),
    )
    case.context = dataclasses.replace(case.context, layers=layers)
    predict(case).square().mean().backward()
    idle = [name for name, value in unet.named_parameters() if value.grad is None or not value.grad.any()]
    assert idle == []


@pytest.mark.slow
def test_network_is_traced_without_a_break():
    case = make_case(tiny_config())
    expected = predict(case)
    traced = torch.compile(case.networks.denoising_unet, backend="eager", fullgraph=True, dynamic=False)
    found = traced(torch.cat([case.latents] * 2), STEP, case.context)
    torch.testing.assert_close(found, expected, **NEAR)


def test_values_of_other_numbers_of_layers_do_not_combine():
    with pytest.raises(ValueError, match="zip"):
        zip_layers(lambda a, b: a, PerLayer((1, 1)), PerLayer((1,)))


@dataclasses.dataclass
class FullSize:
    """The official networks at 512 x 512 with 16 frames and a guidance pair, as shapes only."""

    unet: DenoisingUNet
    context: ClipContext
    plain: plain_unet.PlainConditions
    latents: torch.Tensor

    def count(self, work: Callable[[], object]) -> float:
        """TFLOP."""
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            work()
        return counter.get_total_flops() / 1e12

    @cached_property
    def step(self) -> float:
        """TFLOP of a whole step."""
        return self.count(lambda: self.unet(*self.inputs, self.context))

    @property
    def inputs(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of a guidance pair, and a timestep."""
        return self.latents.repeat(2, 1, 1, 1), torch.zeros(1, device="meta")


@pytest.fixture(scope="module")
def full_size() -> FullSize:
    config, n_frames, side = NetworkConfig.official(), 16, 64
    with torch.device("meta"), torch.no_grad():
        networks = build_networks(config)
        unet, reference = networks.denoising_unet, networks.reference_unet
        identity = torch.zeros(2, config.identity_tokens, config.cross_dim)
        features = reference(torch.zeros(2, 4, side, side), reference.project_identity(identity))
        features = features.map(lambda f: f[:, None].expand(-1, 3, -1, -1))
        masks = tuple(torch.zeros(1, (side >> level) ** 2, 3) for level in range(4))
        audio = torch.zeros(n_frames, config.audio_tokens, config.audio_token_dim)
        face, weights = torch.zeros(1, 320, side, side), torch.zeros(3)
        rows = compat.reference_rows(config, 2, n_frames).to("meta")
        layers = unet.layer_contexts(
            reference=unet.project_reference(features.map(lambda f: f[:, 0])),
            identity=unet.project_identity(identity),
            audio=unet.project_audio(audio, masks, weights),
            motion=unet.project_motion(features.map(lambda f: f[:, 1:])),
        )
        context = ClipContext(layers, masks, n_frames, n_frames, rows[n_frames:], face)
        plain = plain_unet.PlainConditions(features, rows, identity, audio, masks, weights, face, n_frames)
        return FullSize(unet, context, plain, torch.zeros(n_frames, 4, side, side))


def test_full_size_step_takes_at_most_forty_six_and_a_half_tflop(full_size):
    step = full_size.inputs[1]
    theirs = full_size.count(
        lambda: plain_unet.predict(full_size.unet, full_size.latents, step, full_size.plain)
    )
    assert full_size.step <= 46.5
    assert full_size.step > 40  # the counter saw the whole network
    # The published implementation takes 53.95.
    assert abs(theirs - 53.95) < 0.3


def test_full_size_pass_without_deep_layers_costs_what_estimates_assume(full_size):
    deep = DeepFeatures(torch.zeros(32, 320, 64, 64, device="meta"), DeepReuse().n_layers)
    shallow = full_size.count(
        lambda: full_size.unet.forward_shallow(*full_size.inputs, full_size.context, deep)
    )
    assert shallow / full_size.step == pytest.approx(SHALLOW_COST, abs=0.02)
