"""A decoder that learns against a discriminator, at toy scale."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from bundles import make_bundle
from PIL import Image
from safetensors.torch import load_file
from training.toy import NETWORK, write_takes
from typer.testing import CliRunner

from hallo_cli.cli.app import register
from hallo_cli.errors import SettingsError
from hallo_cli.models.autoencoder import TinyAutoencoder
from hallo_cli.training.encoded import EncodedFolder
from hallo_cli.training.init import new_networks
from hallo_cli.training.takes import Take, TakeInfo, TakeWriter
from hallo_cli.workshop.discriminator import MOMENTS, Discriminator, hinge
from hallo_cli.workshop.mouth_windows import COARSE, Windows, WindowSettings, make_windows, measure
from hallo_cli.workshop.polish_decoder import PolishReport, PolishSettings, polish_decoder
from hallo_cli.workshop.train_autoencoder import Pictures

SETTINGS = WindowSettings(clips=4, frames_per_clip=2, held_out=2, side=4, steps=1, takes_at_once=2)
SIZE = 32


@pytest.fixture
def vae() -> TinyAutoencoder:
    torch.manual_seed(0)
    return TinyAutoencoder(NETWORK)


def striped(n: int, vae: TinyAutoencoder) -> Windows:
    """True windows with fine stripes, which the decoder cannot know from the latents' means."""
    torch.manual_seed(n)
    made = torch.randn(n, 4, SIZE // 8, SIZE // 8)
    stripes = torch.tensor([60, 190]).repeat(SIZE // 2).expand(n, 3, SIZE, SIZE)
    with torch.no_grad():
        coarse = F.avg_pool2d(vae.decode(made), COARSE)
    return Windows(made.half(), stripes.to(torch.uint8), coarse.half(), torch.ones(n, 1, SIZE, SIZE).half())


def pictures() -> Pictures:
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 255, (128, 128, 3), dtype=np.uint8) for _ in range(2)]
    return Pictures(drawn, [(40.0, 60.0, 80.0, 90.0)] * 2, drawn)


def polished(vae: TinyAutoencoder, **changes: float) -> tuple[TinyAutoencoder, list[PolishReport]]:
    settings = replace(
        PolishSettings(steps=30, batch_size=4, learning_rate=3e-3, alone=4, discriminator_width=8),
        ema_decay=0.5,
        **changes,  # type: ignore[arg-type]
    )
    reports: list[PolishReport] = []
    windows = striped(8, vae), striped(4, vae)
    trained = polish_decoder(
        vae, *windows, pictures(), settings, on_report=lambda report, _: reports.append(report)
    )
    return trained, reports


def test_only_the_decoder_learns(vae: TinyAutoencoder) -> None:
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    trained, reports = polished(vae)
    assert reports[-1].step == 30
    assert all(torch.equal(before[name], value) for name, value in vae.state_dict().items())
    changed = {name for name, value in trained.state_dict().items() if not torch.equal(before[name], value)}
    assert changed
    assert all(name.startswith("decoder.") for name in changed)


def test_the_discriminator_makes_what_is_drawn_sharper(vae: TinyAutoencoder) -> None:
    held_out = striped(4, vae)
    without, _ = polished(vae, adversarial=0.0, truth=0.0)
    with_it, _ = polished(vae, truth=0.0)
    assert measure(with_it, held_out)[0] > 1.1 * measure(without, held_out)[0]


def test_the_same_seed_gives_the_same_decoder(vae: TinyAutoencoder) -> None:
    first, _ = polished(vae, steps=6)
    again, _ = polished(vae, steps=6)
    assert all(torch.equal(first.state_dict()[name], value) for name, value in again.state_dict().items())


def test_a_discriminator_learns_to_tell_grain_from_plain_pictures() -> None:
    torch.manual_seed(0)
    critic, weights = Discriminator(8), torch.ones(4, 1, SIZE, SIZE)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-2, betas=MOMENTS)
    losses = []
    for _ in range(40):
        grain, plain = torch.randn(4, 3, SIZE, SIZE), torch.rand(4, 3, 1, 1).expand(4, 3, SIZE, SIZE)
        loss = hinge(critic(grain)[0], critic(plain)[0], weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert losses[-1] < 0.5, losses


def test_measures_of_perfect_and_of_blurred_windows(vae: TinyAutoencoder) -> None:
    perfect = striped(2, vae)
    with torch.no_grad():
        levels = ((vae.decode(perfect.made.float()).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    sharpness, distance = measure(vae, replace(perfect, true=levels))
    assert sharpness == pytest.approx(1, abs=0.02)
    assert distance < 0.6
    brighter = (levels.float() + 10).clamp(max=255).to(torch.uint8)
    assert measure(vae, replace(perfect, true=brighter))[1] == pytest.approx(10, abs=0.7)


def test_windows_follow_from_the_seed_and_keep_takes_apart(tmp_path: Path) -> None:
    shards = write_takes(tmp_path / "shards", n_takes=6)
    networks = new_networks(NETWORK, seed=0)
    told: list[tuple[int, int]] = []
    learned, held_out = make_windows(networks, shards, SETTINGS, on_clip=lambda *state: told.append(state))
    again, _ = make_windows(networks, shards, SETTINGS)
    other, _ = make_windows(networks, shards, replace(SETTINGS, seed=1))
    assert told == [(2, 4), (4, 4)]
    assert (len(learned.made), len(held_out.made)) == (8, 4)
    assert learned.true.shape == (8, 3, 32, 32)
    assert learned.coarse.shape == (8, 3, 8, 8)
    assert torch.equal(learned.made, again.made)
    assert torch.equal(learned.true, again.true)
    assert not torch.equal(learned.made, other.made)
    seen = {tuple(row.flatten().tolist()) for row in learned.true}
    assert not seen & {tuple(row.flatten().tolist()) for row in held_out.true}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"latent_channels": 8}, "4 channels of latents, the networks take 8"),
        ({"audio_dim": 8}, "130 audio features, the networks take 8"),
        (
            {"channels": (8, 16, 16), "attention_levels": (True,) * 3, "motion_levels": (True,) * 3},
            "2 levels of masks, the networks take 3",
        ),
    ],
)
def test_shards_of_another_model_are_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    folder = EncodedFolder(write_takes(tmp_path / "shards"))
    folder.require_fit(NETWORK)
    with pytest.raises(SettingsError, match=what):
        folder.require_fit(replace(NETWORK, **changes))


def test_the_command_writes_an_autoencoder_with_the_same_encoder(tmp_path: Path) -> None:
    bundle = make_bundle(
        tmp_path / "base",
        audio_dim=130,
        channels=(16, 16),
        attention_levels=(False, True),
        motion_levels=(False, True),
    )
    shards = write_takes(tmp_path / "shards", n_takes=4)
    rng = np.random.default_rng(0)
    frame = tmp_path / "photograph.png"
    Image.fromarray(rng.integers(0, 255, (128, 128, 3), dtype=np.uint8)).save(frame)
    box = (30.0, 30.0, 90.0, 90.0)
    with TakeWriter(tmp_path / "takes", "take") as writer:
        info = TakeInfo(1, 25.0, 128, "test", box, box)
        writer.add(Take("a", info, (frame.read_bytes(),), b"", np.zeros((478, 2))))
    output = tmp_path / "vae.safetensors"
    arguments = ["train", "polish", str(tmp_path / "takes"), str(tmp_path), str(output)]
    options = ["--shards", str(shards), "--bundle", str(bundle.path), "--steps", "2", "--clips", "8"]
    result = CliRunner().invoke(register(), [*arguments, *options])
    assert result.exit_code == 0, result.output
    assert "sharpness" in result.output
    assert [file.name for file in tmp_path.glob("vae*")] == ["vae.safetensors"]
    before, after = load_file(bundle.file("vae")), load_file(output)
    same = {name for name, value in before.items() if torch.equal(value.float(), after[name].float())}
    assert {name for name in before if not name.startswith("decoder.")} <= same
    assert len(same) < len(before)
