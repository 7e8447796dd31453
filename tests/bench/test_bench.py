"""The bench times what a render does and compares settings clip by clip."""

import dataclasses
import gc
import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import sleep
from typing import Any

import numpy as np
import pytest
import torch
from bundles import make_bundle
from small_networks import official_like
from torch.autograd.profiler_util import EventList, FunctionEvent
from torch.profiler import DeviceType
from typer.testing import CliRunner

from hallo_cli.bench import against as bench_pareto
from hallo_cli.bench import clock as bench_clock
from hallo_cli.bench import example as bench_rig
from hallo_cli.bench import scaling as bench_scaling
from hallo_cli.bench.against import Loss, candidates, measure_losses, with_front
from hallo_cli.bench.clock import Clock, Marks
from hallo_cli.bench.example import RANDOM_KINDS, Rig, bundle_rig, open_rig, random_rig
from hallo_cli.bench.layers import LayerCase, bench_layers, choose_dtype, totals
from hallo_cli.bench.scaling import (
    Point,
    PointFailure,
    PointFigures,
    measure_scaling,
    peak_host_bytes,
    plan_points,
    send_row,
)
from hallo_cli.bench.stages import EVERY_CLIP, ONCE, bench, compile_seconds, keep_speeds, operation_shares
from hallo_cli.cli import bench_view
from hallo_cli.cli.app import app, register
from hallo_cli.errors import JobError, SettingsError
from hallo_cli.evaluation.figures import VideoFigures
from hallo_cli.inference import speed
from hallo_cli.inference.speed import choose_execution
from hallo_cli.jobs.forecast import read_speeds
from hallo_cli.models.config import NetworkConfig
from hallo_cli.models.manifest import Sampling
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


def bench_json(bundle: Path, options: str) -> Any:
    """What `hallo bench --json` prints for a bundle in float32."""
    arguments = ["bench", "--bundle", str(bundle), "--dtype", "float32", "--json", *options.split()]
    return json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)


def test_every_stage_is_timed_and_twice_the_steps_are_twice_the_work(bundle: Path) -> None:
    made, settings = rig(bundle)
    variants = [dataclasses.replace(settings, steps=steps) for steps in (1, 2)]
    one, two = bench(made, variants, repeats=2, warmups=0, n_clips=1)
    assert set(one.stages) == {*ONCE, *EVERY_CLIP}
    assert min(spread.lowest_s for spread in one.stages.values()) > 0
    assert len(one.frame_s) == 2
    assert one.frame.lowest_s <= one.frame.median_s <= one.frame.highest_s
    assert two.clip_tflop == pytest.approx(2 * one.clip_tflop)
    assert one.clip_tflop > 0


def test_guidance_doubles_the_work(bundle: Path) -> None:
    made, settings = rig(bundle)
    variants = [dataclasses.replace(settings, steps=1, guidance=guidance) for guidance in (1.0, 3.0)]
    alone, pair = bench(made, variants, repeats=1, warmups=0, n_clips=1)
    assert 1.5 * alone.clip_tflop < pair.clip_tflop <= 2 * alone.clip_tflop


def test_settings_of_different_dtypes_are_refused(bundle: Path) -> None:
    made, settings = rig(bundle)
    with pytest.raises(SettingsError, match="--dtype"):
        bench(made, [settings, dataclasses.replace(settings, dtype="bfloat16")])


def test_command_keeps_the_speed_for_later_estimates(bundle: Path) -> None:
    printed = bench_json(bundle, "--repeats 1 --warmups 0 --clips 1")
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
    (figures,) = bench(made, [settings], repeats=1, warmups=0, n_clips=1)
    assert figures.n_frames == 6
    weights = made.animator.networks.denoising_unet.parameters()
    assert all(bool(weight.isfinite().all()) for weight in weights)


def test_nothing_is_left_in_the_temporary_folder(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    made, settings = rig(bundle)
    made.portrait(made.studio.settle(settings))
    assert list(scratch.iterdir())
    del made
    gc.collect()
    assert not list(scratch.iterdir())


def test_full_size_networks_are_a_kind_of_their_own() -> None:
    config, sampling = RANDOM_KINDS["official"]()
    assert config == NetworkConfig.official()
    assert (sampling.steps, sampling.guidance) == (40, 3.5)


def test_film_is_traced_with_decoding_behind_denoising(bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    film = bench_json(bundle, f"--decode-behind on --clips 2 --trace {file}")["film"]
    assert film["n_frames"] == 8
    assert film["overlaps"]
    assert film["shared_s"] <= film["behind_s"]
    events = json.loads(file.read_text())["traceEvents"]
    threads = {event["args"]["name"]: event["tid"] for event in events if event["ph"] == "M"}
    by_name = {event["name"]: event["tid"] for event in events if event["ph"] == "X"}
    assert by_name["denoising step"] == threads["ahead"]
    assert by_name["decoding"] == by_name["encoding"] == threads["MainThread"]


def test_layers_equal_the_layers_with_nothing_saved() -> None:
    config = official_like()
    execution = choose_execution(RuntimeSettings(device="cpu", threads=1))
    layers = list(bench_layers(LayerCase(config, 64, 2), execution, repeats=1))
    assert len(layers) == 8 + 1 + 12  # two a block on the way down, three on the way up
    assert max(layer.difference for layer in layers) < 1e-4  # what fp32 kernels differ by
    assert min(layer.scale for layer in layers) > 0.1
    everything = totals(layers)
    assert everything.ratio == pytest.approx(everything.plain_s / everything.fast_s)


def test_losses_are_measured_against_many_steps(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_pareto, "REFERENCE_STEPS", 3)
    made, settings = rig(bundle)
    settled = made.studio.settle(settings)
    variants = {
        "same": dataclasses.replace(settled, solver="ddim", steps=3),
        "fewer": dataclasses.replace(settled, solver="ddim", steps=1),
    }
    reference, same, fewer = measure_losses(made, settled, variants, n_clips=1)
    assert reference.figures.psnr == same.figures.psnr == 100
    assert fewer.figures.psnr is not None
    assert fewer.figures.psnr < 100


def test_front_holds_what_nothing_beats() -> None:
    def loss(name: str, frame_s: float, psnr: float) -> Loss:
        return Loss(name, RenderSettings(), frame_s, VideoFigures(1, 1.0, psnr=psnr))

    losses = [loss("slow", 4, 100), loss("quick", 1, 30), loss("beaten", 2, 29), loss("middle", 2, 40)]
    assert [one.name for one in with_front(losses) if one.is_on_front] == ["slow", "quick", "middle"]


def test_guidance_is_only_approximated_where_it_is_on() -> None:
    names = [set(candidates(RenderSettings(guidance=g, steps=2))) for g in (1.0, 3.5)]
    assert names[1] - names[0] >= {"unipc 10 steps, guidance_stop 0.6"}
    assert not any("guidance" in name for name in names[0])


def test_points_cover_length_size_rows_and_every_fallback() -> None:
    settings = RenderSettings(size=64)
    base = Point("", "", settings, RuntimeSettings(threads=2))
    points = plan_points(base, clip_frames=4, longest=16, fits=lambda size: size % 32 == 0)
    assert [p.clip_frames for p in points if p.curve == "clip length"] == [4, 8, 12, 16]
    assert {p.settings.size for p in points if p.curve == "size"} == {32, 64, 96, 128}
    assert [(p.n_rows, p.runtime.threads) for p in points if p.curve == "rows"] == [(1, 2), (2, 1), (4, 1)]
    assert [p.runtime for p in points if p.curve == "fallback"][-1].offload


def quick_point(bundle: Path, **changes: Any) -> Point:
    """One clip of one step."""
    values = {"steps": 1, "guidance": 1.0, "solver": "ddim", "size": 64}
    settings = RenderSettings(bundle=str(bundle), dtype="float32", **values)  # type: ignore[arg-type]
    point = Point("rows", "2", settings, RuntimeSettings(device="cpu", threads=1), n_rows=2, n_clips=1)
    return dataclasses.replace(point, **changes)


@pytest.mark.slow
def test_point_that_fails_stops_no_other(bundle: Path) -> None:
    too_long, good = quick_point(bundle, clip_frames=31), quick_point(bundle)
    failure, figures = measure_scaling([too_long, good])
    assert isinstance(failure, PointFailure)
    assert "1 to 30" in failure.reason
    assert isinstance(figures, PointFigures)
    assert figures.frame_s > 0
    assert figures.host_bytes is None or figures.host_bytes > 1e8


def test_death_of_one_process_ends_the_others(bundle: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        measured = pool.submit(list, measure_scaling([quick_point(bundle)]))
        while len(processes := multiprocessing.active_children()) < 2:
            sleep(0.01)
        processes[0].kill()
        (failure,) = measured.result(timeout=60)
    assert isinstance(failure, PointFailure)
    assert "no result" in failure.reason
    assert not multiprocessing.active_children()


def test_row_does_not_wait_for_ever_for_another(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_scaling, "LEAST_WAIT_S", 0.01)
    monkeypatch.setattr(bench_scaling, "WAIT_FACTOR", 0.0)
    near, far = multiprocessing.Pipe(duplex=False)
    send_row(quick_point(bundle), Barrier(2), far)
    assert near.recv() == "another process of this point did not get ready"


@pytest.fixture
def short_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little of each measurement, and small networks in the place of the full-size ones."""
    monkeypatch.setitem(bench_rig.RANDOM_KINDS, "official", lambda: (official_like(), Sampling()))
    monkeypatch.setattr(bench_pareto, "REFERENCE_STEPS", 2)
    monkeypatch.setattr(bench_pareto, "SAMPLERS", bench_pareto.SAMPLERS[-1:])
    monkeypatch.setattr(bench_pareto, "APPROXIMATED", ())
    monkeypatch.setattr(bench_scaling, "CLIP_FRAMES", ())
    monkeypatch.setattr(bench_scaling, "SIZES", (1.0,))
    monkeypatch.setattr(bench_scaling, "ROWS", (2,))


def quick_report(bundle: Path, file: Path) -> Any:
    """What `hallo bench --report` writes for settings that are quick and leave one fallback to try."""
    quick = "--steps 1 --clips 1 --repeats 1 --warmups 0 --device cpu --threads 1"
    bench_json(bundle, f"--report {file} {quick} --decode-chunk 1 --decode-behind off --split-guidance")
    return json.loads(file.read_text())


def test_peak_of_memory_is_the_processes_own() -> None:
    assert np.ones(1_200_000_000, np.uint8).all()  # a peak that a child's count would inherit
    code = "from hallo_cli.bench.scaling import peak_host_bytes; print(peak_host_bytes())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(told) < 1_200_000_000 < peak_host_bytes()  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.usefixtures("short_report")
def test_report_measures_every_curve(bundle: Path, tmp_path: Path) -> None:
    rows = quick_report(bundle, tmp_path / "report.json")["scaling"]
    assert [row["curve"] for row in rows] == ["clip length", "size", "rows", "fallback"]
    assert min(row["frames_per_s"] for row in rows) > 0


@pytest.mark.usefixtures("short_report")
def test_report_holds_every_part_whatever_points_fail(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(point: Point) -> None:
        raise JobError("no memory")

    monkeypatch.setattr(bench_scaling, "_measure", fail)
    report = quick_report(bundle, tmp_path / "report.json")
    assert report["weights"] == "tiny"
    assert report["dtype"] == "float32"
    assert all(report[part] for part in ("runs", "operations", "film", "layers_case", "layers", "pareto"))
    assert report["matmul_peak_tflops"] > 0
    assert [row["failed"] for row in report["scaling"]] == 4 * ["no memory"]


def test_failed_point_is_shown_with_its_reason(bundle: Path) -> None:
    row = bench_view.point_row(PointFailure(quick_point(bundle), "no memory"))
    assert bench_view.scaling_line(row).endswith("failed: no memory")


def test_kernels_count_in_the_operations_that_launch_them_alone() -> None:
    product, scale, parent = (
        FunctionEvent(id, name, 0, start, stop, stack=[], use_device="cuda")
        for id, name, start, stop in ((1, "product", 1, 2), (2, "scale", 3, 4), (3, "attention", 0, 5))
    )
    product.append_kernel("gemm", 0, 30.0)
    scale.append_kernel("multiply", 0, 10.0)
    kernels = [
        FunctionEvent(4, name, 0, start, stop, stack=[], use_device="cuda", device_type=DeviceType.CUDA)
        for name, start, stop in (("gemm", 10, 40), ("multiply", 40, 50))
    ]
    events = EventList([product, scale, parent, *kernels], use_device="cuda")
    events._build_tree()
    shares = operation_shares(events.key_averages(), "self_device_time_total")
    assert shares == [("product", 0.75), ("scale", 0.25), ("attention", 0.0)]


def test_steps_lie_between_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    times: Iterator[float] = iter([0.0, 1.0, 3.0, 3.0])
    monkeypatch.setattr(bench_clock, "now", lambda device: next(times))
    marks = Marks(torch.device("cpu"))
    for _ in range(3):
        marks.set()
    assert marks.seconds() == [1.0, 2.0]


def test_layers_are_timed_in_what_a_gpu_renders_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_dtype("auto", torch.device("cuda")) == torch.bfloat16
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    assert choose_dtype("float16", torch.device("cpu")) == torch.float16


def test_losses_of_random_weights_are_refused() -> None:
    with pytest.raises(SettingsError, match="random-weights"):
        CliRunner().invoke(app, ["bench", "--random-weights", "golden", "--pareto"], catch_exceptions=False)


def test_clips_longer_than_the_networks_take_are_refused() -> None:
    with pytest.raises(SettingsError, match="1 to 30"):
        open_rig("golden", RenderSettings(), RuntimeSettings(device="cpu"), clip_frames=31)


def clock(denoising_s: float, frame_s: float) -> Clock:
    return Clock(torch.device("cpu"), {"denoising": denoising_s}, frame_s=frame_s)


def test_compiling_took_what_the_first_repetition_took_longer_and_what_it_did_before() -> None:
    firsts = [clock(20, 1.5), clock(3, 1.0)]
    others = [[clock(2, 1.0), clock(3, 1.0), clock(4, 1.0)], [clock(2, 1.0)]]
    assert compile_seconds(firsts, others, n_frames=10) == [17 + 5, 17 + 5 + 1]


def test_compiled_speeds_are_kept_beside_the_others(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "compile_regions", lambda unet: 0)
    settings = RenderSettings(bundle=str(bundle), dtype="float32")
    for word in ("off", "on"):
        made = bundle_rig(settings, RuntimeSettings(device="cpu", threads=1, compile=word))
        figures = bench(made, [settings], repeats=1, warmups=1, n_clips=1)
        assert (figures[0].compile_s is None) is (word == "off")
        keep_speeds(made, figures)
    plain, compiled = read_speeds()
    assert compiled.load == dataclasses.replace(plain.load, is_compiled=True)
    assert (plain.compile_s, compiled.compile_s) == (None, figures[0].compile_s)
