"""The bench times what a render does and compares settings clip by clip."""

import dataclasses
import json
from pathlib import Path

import pytest
from bundles import make_bundle
from typer.testing import CliRunner

from hallo_cli.cli.app import app, register
from hallo_cli.errors import SettingsError
from hallo_cli.jobs.bench import EVERY_CLIP, ONCE, bench
from hallo_cli.jobs.bench_rig import RANDOM_KINDS, Rig, bundle_rig, random_rig
from hallo_cli.jobs.estimate import read_speeds
from hallo_cli.models.config import NetworkConfig
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

register()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bench") / "tiny").path


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))


def rig(bundle: Path) -> tuple[Rig, RenderSettings]:
    settings = RenderSettings(bundle=str(bundle), dtype="float32")
    return bundle_rig(settings, RuntimeSettings(device="cpu", threads=1)), settings


def test_every_stage_is_timed_and_twice_the_steps_are_twice_the_work(bundle: Path) -> None:
    made, settings = rig(bundle)
    variants = [dataclasses.replace(settings, steps=steps) for steps in (1, 2)]
    one, two = bench(made, variants, repeats=2, warmups=0)
    assert set(one.stages) == {*ONCE, *EVERY_CLIP}
    assert min(spread.lowest_s for spread in one.stages.values()) > 0
    assert len(one.frame_s) == 2
    assert one.frame.lowest_s <= one.frame.median_s <= one.frame.highest_s
    assert two.clip_tflop == pytest.approx(2 * one.clip_tflop)
    assert one.clip_tflop > 0


def test_guidance_doubles_the_work(bundle: Path) -> None:
    made, settings = rig(bundle)
    variants = [dataclasses.replace(settings, steps=1, guidance=guidance) for guidance in (1.0, 3.0)]
    alone, pair = bench(made, variants, repeats=1, warmups=0)
    assert 1.5 * alone.clip_tflop < pair.clip_tflop <= 2 * alone.clip_tflop


def test_settings_of_different_dtypes_are_refused(bundle: Path) -> None:
    made, settings = rig(bundle)
    with pytest.raises(SettingsError, match="--dtype"):
        bench(made, [settings, dataclasses.replace(settings, dtype="bfloat16")])


def test_command_keeps_the_speed_for_later_estimates(bundle: Path) -> None:
    arguments = ["bench", "--bundle", str(bundle), "--dtype", "float32", "--repeats", "1", "--warmups", "0"]
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    printed = json.loads(result.stdout)
    (row,) = printed["runs"]
    (speed,) = read_speeds()
    assert speed.seconds_per_frame == row["frame"]["median_s"]
    assert speed.load.size == 64
    assert row["share_of_peak"] == pytest.approx(row["tflops"] / printed["matmul_peak_tflops"])


def test_reduced_networks_are_timed_with_random_weights() -> None:
    settings = RenderSettings(dtype="float32", steps=1)
    made = random_rig("golden", settings, RuntimeSettings(device="cpu", threads=1))
    settled = made.studio.settle(settings)
    assert settled.size == 128
    (figures,) = bench(made, [settings], repeats=1, warmups=0)
    assert figures.n_frames == 6
    weights = made.animator.networks.denoising_unet.parameters()
    assert all(bool(weight.isfinite().all()) for weight in weights)


def test_full_size_networks_are_a_kind_of_their_own() -> None:
    config, sampling = RANDOM_KINDS["official"]()
    assert config == NetworkConfig.official()
    assert (sampling.steps, sampling.guidance) == (40, 3.5)
