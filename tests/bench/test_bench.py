"""The bench times what a render does and compares settings clip by clip."""

import dataclasses
import gc
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from remembered import portraits_set_upright_once
from small_bundles import make_bundle
from small_networks import official_like
from typer.testing import CliRunner

from hallo_cli.bench import clock as bench_clock
from hallo_cli.bench.against import differences
from hallo_cli.bench.clock import Marks
from hallo_cli.bench.example import Example, open_example
from hallo_cli.bench.stages import STAGES, bench
from hallo_cli.cli.app import register
from hallo_cli.errors import SettingsError
from hallo_cli.jobs.forecast import read_speeds
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

app = register("bench")
RUNTIME = RuntimeSettings(device="cpu", threads=1)
QUICK = {"repeats": 1, "warmups": 0, "n_clips": 1}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bench") / "tiny").path


@pytest.fixture(scope="module", autouse=True)
def portraits_are_set_upright_once() -> Iterator[None]:
    """Every repetition analyses the same portrait."""
    with portraits_set_upright_once():
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))


def example_of(bundle: Path) -> tuple[Example, RenderSettings]:
    settings = RenderSettings(bundle=str(bundle), dtype="float32", size=64)
    return open_example(settings, RUNTIME), settings


def run_bench(bundle: Path, *options: str) -> str:
    """What `hallo bench` prints for a bundle in float32, quickly."""
    quick = ["--repeats", "1", "--warmups", "0", "--clips", "1", "--device", "cpu", "--dtype", "float32"]
    arguments = ["bench", "--bundle", str(bundle), *quick, *options]
    return CliRunner().invoke(app, arguments, catch_exceptions=False).stdout


def test_every_stage_is_timed_in_every_repetition(bundle: Path) -> None:
    example, settings = example_of(bundle)
    variants = [dataclasses.replace(settings, steps=steps) for steps in (1, 3)]
    one, three = bench(example, variants, repeats=2, warmups=1, n_clips=2)
    assert all(set(found.times) == {*STAGES, "step", "frame"} for found in one.repetitions)
    assert min(one.spread(stage)["lowest_s"] for stage in STAGES) > 0
    assert len(one.repetitions) == len(three.repetitions) == 2
    assert [len(found.repetitions[0].times["step"]) for found in (one, three)] == [1, 3]
    assert len(one.repetitions[0].frames) == 2 * example.animator.config.clip_frames
    frame = one.spread("frame")
    assert frame["lowest_s"] <= frame["median_s"] <= frame["highest_s"]


def test_settings_of_different_dtypes_are_refused(bundle: Path) -> None:
    example, settings = example_of(bundle)
    with pytest.raises(SettingsError, match="--dtype"):
        bench(example, [settings, dataclasses.replace(settings, dtype="bfloat16")], **QUICK)


def test_command_keeps_the_speed_for_later_forecasts(bundle: Path) -> None:
    printed = json.loads(run_bench(bundle, "--json"))
    (run,) = printed["runs"]
    ((workload, seconds_per_frame),) = read_speeds().items()
    assert seconds_per_frame == run["frame"]["median_s"]
    assert workload.size == 512


def test_networks_are_timed_with_random_weights() -> None:
    settings = RenderSettings(dtype="float32", steps=1, solver="ddim", guidance=1.0, size=64)
    example = open_example(settings, RUNTIME, official_like())
    (figures,) = bench(example, [settings], **QUICK)
    assert figures.spread("frame")["median_s"] > 0
    weights = example.animator.networks.denoising_unet.parameters()
    assert all(bool(weight.isfinite().all()) for weight in weights)


def test_random_weights_are_of_the_official_size(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    asked: list[NetworkConfig | None] = []

    def small(settings: RenderSettings, runtime: RuntimeSettings, config: NetworkConfig | None) -> Example:
        asked.append(config)
        return open_example(settings, runtime, official_like())

    monkeypatch.setattr("hallo_cli.bench.example.open_example", small)
    run_bench(bundle, "--random-weights", "--steps", "1", "--size", "64")
    assert asked == [NetworkConfig.official()]
    assert read_speeds() == {}  # they say nothing of real weights


def test_nothing_is_left_in_the_temporary_folder(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    example, settings = example_of(bundle)
    example.portrait(example.engine.resolve_settings(settings))
    assert list(scratch.iterdir())
    del example
    gc.collect()
    assert not list(scratch.iterdir())


def test_equal_frames_differ_in_nothing_and_others_do() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    same, spoilt = differences(frames, [frames, 255 - frames])
    assert same.psnr == 100
    assert spoilt.psnr is not None
    assert spoilt.psnr < 20


def test_preset_is_compared_with_the_settings(bundle: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    shown = run_bench(
        bundle, "--against", "realtime", "--steps", "2", "--size", "64", "--report", str(report)
    )
    result: Any = json.loads(report.read_text())
    first, other = result["runs"]
    assert (first["name"], other["name"], other["steps"]) == ("settings", "realtime", 8)
    assert "difference" not in first
    assert other["difference"]["psnr"] < 100
    assert other["time_against_first"]["median"] == pytest.approx(
        other["frame"]["median_s"] / first["frame"]["median_s"]
    )
    assert f"PSNR {other['difference']['psnr']:.1f} dB" in shown
    page = report.with_suffix(".html").read_text()
    assert page.count("<svg") == 3
    assert "realtime" in page


def test_report_that_has_the_pages_name_is_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the page lies beside"):
        run_bench(bundle, "--report", str(tmp_path / "report.html"))


def test_steps_lie_between_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    times: Iterator[float] = iter([0.0, 1.0, 3.0, 3.0])
    monkeypatch.setattr(bench_clock, "now", lambda device: next(times))
    marks = Marks(torch.device("cpu"))
    for _ in range(3):
        marks.set()
    assert marks.seconds() == [1.0, 2.0]
