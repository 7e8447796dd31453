"""The reference implementation's own numbers, at every stage from the conditions to both clips' video.

HALLO_GOLDEN names another directory of the same format; its golden.json says how large its networks are.
Tolerances: another implementation in float32 differs by rounding alone, which the networks carry to about
1e-5 in a prediction (of deviation 0.24) and a few 1e-4 over the steps and the autoencoder.
"""

import copy
import dataclasses
import json
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from golden_inputs import Golden, rows_of, strided
from small_networks import middle_of
from torch import Tensor

from hallo_cli.bundles.trees import JOYHALLO
from hallo_cli.domain import CropBox, Portrait, RegionMasks, Speech
from hallo_cli.inference.animator import Animator, audio_windows
from hallo_cli.inference.sampling import denoise
from hallo_cli.models.audio_attention import AudioBlock
from hallo_cli.models.denoising_unet import DenoisingUNet
from hallo_cli.models.weights import Networks, ignored_reason
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

COMMITTED = Path(__file__).parents[1] / "data" / "golden" / "pipeline"
TAPPED = ("conv_in", "down_blocks.0", "mid_block", "up_blocks.1", "up_blocks.3")
ONLY_CPU = RuntimeSettings(device="cpu")


def portrait_of(golden: Golden) -> Portrait:
    # Pixels that are no whole numbers: the golden portrait is random and was never a file.
    pixels = ((golden.reference[0].permute(1, 2, 0) + 1) * 127.5).numpy()
    full, face, lip = (tuple(m.numpy() for m in golden.mask(name)) for name in ("full", "face", "lip"))
    size = golden.params["px"]
    return Portrait(
        pixels=pixels,
        crop=CropBox(0, 0, size),
        source_size=(size, size),
        landmarks=np.zeros((478, 2), np.float32),
        face_region=golden.face_region.numpy(),
        masks=RegionMasks(full, face, lip),
        identity=golden.face_embedding.numpy(),
        digest="",
    )


def speech_of(golden: Golden) -> Speech:
    features = golden.audio.numpy()
    return Speech(np.pad(features, ((2, 2), (0, 0), (0, 0)), mode="edge"), 0, len(features), 25.0)


def settings_of(golden: Golden) -> RenderSettings:
    pose, face, lip = golden.params["scale"]
    steps, guidance = golden.params["steps"], golden.params["cfg"]
    return RenderSettings(
        steps=steps, guidance=guidance, solver="ddim", pose_weight=pose, face_weight=face, lip_weight=lip
    )


def render(
    golden: Golden, networks: Networks, n_clips: int = 2, n_steps: int | None = None
) -> dict[str, Tensor]:
    """The clips, everything that is in the golden file under its name there; each with its first steps."""
    animator = Animator(networks, ONLY_CPU)
    predictions: list[Tensor] = []
    networks.denoising_unet.register_forward_hook(lambda *call: predictions.append(call[-1]))
    portrait, speech, settings = portrait_of(golden), speech_of(golden), settings_of(golden)
    found = tap(networks, golden)
    with torch.inference_mode():
        job, motion = animator.prepare(portrait, settings), None
        found["clip0.face_features"] = job.face_features[:, :, None]
        features = job.portrait.features
        found["reference.down"] = features.values[0]
        found["reference.mid"] = middle_of(features, networks.config)
        found["reference.up"] = features.values[-1]
        for index in range(n_clips):
            windows = audio_windows(
                speech, index * golden.params["F"], golden.params["F"], networks.config.audio_window
            )
            solver, predictor = animator.sampler(settings, animator.clip_context(job, windows, motion))
            steps = islice(denoise(predictor, solver, golden.noise(index)), n_steps)
            for step, after in enumerate(steps):
                latents = found[f"clip{index}.step{step}.latents"] = after
                found[f"clip{index}.step{step}.prediction"] = predictions[-1]
            frames = animator.finisher.pictures(latents)
            found[f"clip{index}.video"] = frames / 2 + 0.5
            motion = animator.finisher.begin(job, latents, index, motion).motion
    return found


def tap(networks, golden: Golden) -> dict[str, Tensor]:
    """Remember what blocks give the first time they run."""
    found: dict[str, Tensor] = {}
    unet = networks.denoising_unet

    def keep(name: str, count: int):
        seen = [0]

        def hook(module, arguments, output):
            seen[0] += 1
            if seen[0] == count:
                found[name] = output.detach()

        return hook

    unet.conv_in.register_forward_hook(keep("first_forward.conv_in", 1))
    unet.down_blocks[0].downsamplers[0].register_forward_hook(keep("first_forward.down_blocks.0", 1))
    unet.mid_block.resnets[-1].register_forward_hook(keep("first_forward.mid_block", 1))
    unet.up_blocks[1].upsamplers[0].register_forward_hook(keep("first_forward.up_blocks.1", 1))
    unet.up_blocks[3].motion_modules[-1].register_forward_hook(keep("first_forward.up_blocks.3", 1))
    networks.audio_projection.register_forward_hook(keep("clip0.audio_tokens", 1))
    networks.audio_projection.register_forward_hook(keep("clip1.audio_tokens", 2))
    networks.image_projection.register_forward_hook(keep("clip0.identity_tokens", 1))
    return found


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden(Path(os.environ.get("HALLO_GOLDEN", COMMITTED)))


@pytest.fixture(scope="module")
def made(golden) -> Networks:
    """Copied by each test, which puts hooks into them: to draw the weights takes longer."""
    return golden.networks()


@pytest.fixture
def networks(made) -> Networks:
    return copy.deepcopy(made)


@pytest.fixture(scope="module")
def found(golden, made):
    return render(golden, copy.deepcopy(made))


def assert_near(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual.float(), expected.float(), rtol=0, atol=tolerance)


def test_conditions_agree(golden, found):
    for index in (0, 1):
        assert_near(found[f"clip{index}.audio_tokens"], golden.arrays[f"clip{index}.audio_tokens"][0], 2e-5)
    assert_near(found["clip0.identity_tokens"], golden.arrays["clip0.identity_tokens"], 2e-5)
    assert_near(found["clip0.face_features"], golden.arrays["clip0.face_features"], 2e-5)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("reference.down", "reference.down_blocks.0.attentions.0.transformer_blocks.0"),
        ("reference.mid", "reference.mid_block.attentions.0.transformer_blocks.0"),
        ("reference.up", "reference.up_blocks.3.attentions.2.transformer_blocks.0"),
    ],
)
def test_reference_features_agree(golden, found, name, key):
    # Stored as portrait, motion, motion of each half; in clip 0 all show the portrait, and the two identities
    # take turns, so the first two rows are the two that we compute.
    assert_near(found[name], golden.arrays[key][:2], 1e-4)
    assert_near(found[name].repeat(3, 1, 1), golden.arrays[key], 1e-4)


@pytest.mark.parametrize("name", TAPPED)
def test_block_outputs_agree(golden, found, name):
    n_samples, key = 2, f"first_forward.{name}"
    output = found[key].unflatten(0, (n_samples, -1)).transpose(1, 2)
    if key in golden.arrays:
        assert_near(output, golden.arrays[key], 1e-4)
    else:
        assert_near(strided(output), golden.arrays[f"{key}.strided"], 1e-4)


def test_every_prediction_agrees(golden, found):
    for key in sorted(k for k in golden.arrays if k.endswith(".prediction")):
        assert_near(found[key], rows_of(golden.arrays[key]), 1e-4)


def test_latents_agree_through_both_clips(golden, found):
    for key in sorted(k for k in golden.arrays if k.endswith(".latents") and k.startswith("clip")):
        assert_near(found[key], rows_of(golden.arrays[key]), 5e-4)


def test_video_agrees(golden, found):
    for index in (0, 1):
        assert_near(found[f"clip{index}.video"], rows_of(golden.arrays[f"clip{index}.video"]), 1e-3)


def test_features_rounded_to_float16_agree_as_officially(golden, networks):
    config = golden.config(round_features=True)
    rounded = render(golden, dataclasses.replace(networks, config=config))
    last = golden.params["steps"] - 1
    for index in (0, 1):
        expected = rows_of(golden.arrays[f"fp16_bank.clip{index}.step{last}.latents"])
        assert_near(rounded[f"clip{index}.step{last}.latents"], expected, 5e-4)


def tied(networks: Networks) -> Networks:
    """JoyHallo's networks whose one audio attention is the full attention of these."""
    config = dataclasses.replace(networks.config, shared_audio_attention=True)
    unet = DenoisingUNet(config)
    state = networks.denoising_unet.state_dict()
    unet.load_state_dict({name: state[name] for name in unet.state_dict()})
    return dataclasses.replace(networks, config=config, denoising_unet=unet.eval().requires_grad_(False))


def tie(networks: Networks) -> None:
    """Make face and lip attention equal to the full one."""
    for module in networks.denoising_unet.modules():
        if isinstance(module, AudioBlock):
            for layer in (module.attn2_1, module.attn2_2):
                layer.load_state_dict(module.attn2_0.state_dict())


def test_shared_audio_attention_is_three_equal_ones(golden, networks):
    tie(networks)
    three, one = (render(golden, either, n_clips=1, n_steps=2) for either in (networks, tied(networks)))
    untied = golden.arrays["clip0.step0.prediction"]
    assert (three["clip0.step0.prediction"] - rows_of(untied)).abs().max() > 1e-3
    # The same products in matrices of other shapes; the networks carry the rounding on as above.
    for name in one:
        tolerance = {"latents": 5e-4, "video": 1e-3}.get(name.rpartition(".")[2], 1e-4)
        assert_near(one[name], three[name], tolerance)


def test_shared_audio_attention_of_the_published_size_lacks_two_of_three():
    published = json.loads((COMMITTED.parents[1] / "official_net_manifest.json").read_text())
    with torch.device("meta"):
        unet = DenoisingUNet(JOYHALLO.networks)
    names = {f"denoising_unet.{name}" for name in unet.state_dict()}
    shared = {name for name in published if ".attn2_1." not in name and ".attn2_2." not in name}
    assert len(published) - len(shared) == 16 * 2 * 5
    assert {n for n in shared if n.startswith("denoising_unet.") and not ignored_reason(n)} == names
