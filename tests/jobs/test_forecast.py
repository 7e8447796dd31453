import dataclasses
import json
from pathlib import Path

import pytest

from hallo_cli.evaluation.view import MAX_SIDE
from hallo_cli.jobs.forecast import (
    MEASURED_SIDE,
    Load,
    Speed,
    count_passes,
    estimate,
    measuring_seconds,
    read_speeds,
    remember,
)
from hallo_cli.settings.schema import RenderSettings

LOAD = Load("weights", "cpu", "float32", 256, 4.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "speeds.json"


def test_measuring_is_bounded_by_the_size_that_is_measured() -> None:
    assert measuring_seconds(25, (512, 512)) == pytest.approx(25 * 0.085, rel=0.05)
    assert measuring_seconds(25, (256, 256)) == pytest.approx(25 * 0.034, rel=0.05)
    assert measuring_seconds(25, (4096, 4096)) == pytest.approx(measuring_seconds(25, (512, 512)))
    assert MEASURED_SIDE == MAX_SIDE


def test_measured_speed_is_used(file: Path) -> None:
    remember(Speed(LOAD, 0.25), file=file)
    found = estimate(LOAD, file=file)
    assert (found.seconds_per_frame, found.basis) == (0.25, "measured")


def test_last_measurement_counts(file: Path) -> None:
    for seconds in (0.25, 0.5):
        remember(Speed(LOAD, seconds), file=file)
    assert estimate(LOAD, file=file).seconds_per_frame == 0.5
    assert len(read_speeds(file)) == 1


def test_other_size_and_steps_are_scaled(file: Path) -> None:
    remember(Speed(LOAD, 0.25), file=file)
    found = estimate(dataclasses.replace(LOAD, size=512, passes=8.0), file=file)
    assert (found.seconds_per_frame, found.basis) == (2.0, "scaled")


def test_unknown_weights_are_guessed(file: Path) -> None:
    remember(Speed(LOAD, 0.25), file=file)
    assert estimate(dataclasses.replace(LOAD, weights_id="others"), file=file).basis == "guess"


@pytest.mark.parametrize("text", ["", "[1]", '[{"load": {}}]', '{"a": 1}', "[" * 5000])
def test_broken_file_of_speeds_is_no_file(file: Path, text: str) -> None:
    file.write_text(text)
    assert read_speeds(file) == []


def test_guidance_costs_a_second_pass_where_it_acts() -> None:
    settings = RenderSettings(steps=10, guidance=3.5, guidance_stop=0.6)
    assert count_passes(settings) == pytest.approx(16)
    assert count_passes(dataclasses.replace(settings, guidance=1.0)) == 10
    assert 8 < count_passes(dataclasses.replace(settings, deep_every=2)) < 16


COMPILED = dataclasses.replace(LOAD, is_compiled=True)


def test_speeds_are_scaled_from_the_same_way_of_running(file: Path) -> None:
    remember(Speed(dataclasses.replace(COMPILED, passes=5.0), 0.1), file=file)
    remember(Speed(dataclasses.replace(LOAD, passes=8.0), 0.8), file=file)
    found = estimate(LOAD, file=file)
    assert (found.seconds(1), found.basis) == (pytest.approx(0.4), "scaled")


def test_speeds_of_earlier_versions_are_read(file: Path) -> None:
    load = dataclasses.asdict(LOAD)
    del load["is_compiled"]
    file.write_text(json.dumps([{"load": load, "seconds_per_frame": 0.25, "compile_s": 3.0}]))
    assert read_speeds(file) == [Speed(LOAD, 0.25)]
