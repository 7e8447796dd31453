"""Named pictures and recordings, rendered by the networks in training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from family_trees import small, write_tree
from safetensors.torch import load_file
from small_bundles import make_bundle, random_networks
from training.footage_files import ASSETS
from training.toy import write_network, write_takes

from hallo_cli.bundles.bundle import Bundle, read_bundle
from hallo_cli.bundles.trees import OFFICIAL
from hallo_cli.errors import PortraitError, SettingsError
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.media.probe import frame_hashes, probe
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.training.checkpoint import RunFolder
from hallo_cli.training.config import (
    DataSettings,
    RunSettings,
    StartSettings,
    TrainingConfig,
    ValidationSettings,
)
from hallo_cli.training.export import BundleOptions, export_bundle
from hallo_cli.training.logs import Spoken, TrainingEvent
from hallo_cli.training.loop import train
from hallo_cli.training.spoken import analyse_pairs

FACE, SOUND = ASSETS / "portrait_astronaut.png", next(ASSETS.glob("*.wav"))
PAIRS = ValidationSettings(((FACE, SOUND),), duration_s=0.28)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder, levels = tmp_path_factory.mktemp("spoken"), (False, True)
    return make_bundle(folder / "base", channels=(8, 16), attention_levels=levels, motion_levels=levels)


@pytest.fixture(scope="module")
def takes(base: Bundle) -> Path:
    return write_takes(base.path.with_name("takes"), network=base.manifest.networks)


@pytest.fixture
def config(tmp_path: Path, base: Bundle, takes: Path) -> TrainingConfig:
    torch.set_num_threads(1)
    return TrainingConfig(
        run=RunSettings(
            tmp_path / "run", steps=2, device="cpu", ema_decay=0.9, render_every=2, render_steps=1, threads=1
        ),
        start=StartSettings(bundle=str(base.path)),
        data=DataSettings(takes, held_out=2, takes=2),
        validation=PAIRS,
    )


def weights(config: TrainingConfig) -> dict[str, torch.Tensor]:
    checkpoint = RunFolder(config.run.output).latest()
    assert checkpoint is not None
    return load_file(checkpoint / "networks.safetensors")


def test_pairs_look_as_the_exported_weights_render_them(config: TrainingConfig, tmp_path: Path) -> None:
    events: list[TrainingEvent] = []
    train(config, "stage2", on_event=events.append)
    (spoken,) = [event for event in events if isinstance(event, Spoken)]
    video = spoken.folder / "pair-1.mp4"
    options = BundleOptions("toy", base=config.start.bundle, steps=1)
    bundle = export_bundle(config.run.output, tmp_path / "bundle", options, dtype=torch.float32)
    settings = RenderSettings(size=64, duration_s=PAIRS.duration_s, dtype="float32")
    job = Job(FACE, SOUND, tmp_path / "out.mp4", settings)
    run_job(job, BundleEngine(read_bundle(bundle.path), RuntimeSettings(device="cpu", threads=1)))
    assert list(frame_hashes(video)) == list(frame_hashes(job.output))
    assert probe(video).audio is not None


def test_rendering_pairs_changes_no_weight(config: TrainingConfig) -> None:
    longer = replace(config, run=replace(config.run, steps=3))
    plain = replace(longer, run=replace(longer.run, output=config.run.output.with_name("plain")))
    train(longer, "stage2")
    train(replace(plain, validation=ValidationSettings()), "stage2")
    ours, theirs = weights(longer), weights(plain)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_published_networks_see_the_pairs_with_their_identity(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    tree = write_tree(OFFICIAL, tmp_path / "tree")
    own = replace(config, start=StartSettings(bundle=str(tree.path)))
    pairs = analyse_pairs(own, small(OFFICIAL), torch.device("cpu"))
    assert pairs is not None
    assert pairs.pairs[0].portrait.identity is not None
    (video,) = pairs.render(random_networks(small(OFFICIAL)), tmp_path / "out", torch.float32)
    assert len(list(frame_hashes(video))) == 7


def test_pairs_that_cannot_be_rendered_are_named_before_the_first_step(
    config: TrainingConfig, tmp_path: Path
) -> None:
    missing = ValidationSettings(((tmp_path / "nobody.png", SOUND),))
    with pytest.raises(PortraitError, match=r"nobody\.png"):
        train(replace(config, validation=missing), "stage2")
    with pytest.raises(SettingsError, match="stage 1 trains no audio attention"):
        train(config, "stage1")
    with pytest.raises(SettingsError, match=r"run\.render_every"):
        train(replace(config, run=replace(config.run, render_every=0)), "stage2")
    unheard = replace(config, start=StartSettings(network=write_network(tmp_path)))
    with pytest.raises(SettingsError, match=r"give validation\.bundle"):
        analyse_pairs(unheard, small(OFFICIAL), torch.device("cpu"))
    with pytest.raises(SettingsError, match="encoded with"):
        analyse_pairs(config, small(OFFICIAL), torch.device("cpu"))
