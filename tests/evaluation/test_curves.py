"""Curves over a video's time, and the plots that show them."""

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from hallo_cli.evaluation.curves import LONG, SHORT, Curves, from_json, relative, sampled, to_json
from hallo_cli.evaluation.plots import bars, drift_plot, motion_plot, mouth_plot, plots, write_page

CURVES = Curves(
    seconds=4.0,
    opening=(0.0, 0.1, None, 0.2, 0.05),
    level=(-50.0, -10.0, -5.0, 0.0, -30.0),
    motion=(None, 1.0, 2.0, 4.0, 1.0),
    colour=(1.0, 1.01, 1.02, 1.0, 0.99),
    sharpness=(1.0, 0.9, 0.8, 0.7, 0.6),
    likeness=(1.0, 1.0),
    joins=(0.25, 0.5),
)


def test_curve_has_means_of_neighbours_and_gaps() -> None:
    values = np.array([1, 3, np.nan, np.nan, 5, np.nan], np.float32)
    assert sampled(values, 3) == (2.0, None, 5.0)
    assert sampled(values) == (1.0, 3.0, None, None, 5.0, None)
    assert sampled(np.zeros(0, np.float32)) == ()
    assert len(sampled(np.zeros(100_000, np.float32))) == LONG


def test_curves_are_relative_to_their_start() -> None:
    values = np.array([np.nan, 2, *[3] * 18], np.float32)
    assert relative(values)[2:].tolist() == [1.5] * 18
    assert math.isnan(relative(values)[0])
    assert np.isnan(relative(np.full(20, np.nan, np.float32))).all()


def test_curves_survive_being_written_and_read() -> None:
    assert from_json(to_json(CURVES)) == CURVES
    newer = {**json.loads(to_json(CURVES)), "smile": [1.0]}
    assert from_json(json.dumps(newer).encode()) == CURVES
    long = Curves(100.0, motion=sampled(np.arange(LONG, dtype=np.float32)))
    assert len(long.shortened().motion) == SHORT


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"seconds": "4"}',
        b'{"seconds": 4, "opening": ["<b>"], "joins": []}',
        b'{"seconds": 4, "opening": 5, "joins": []}',
        b'{"seconds": NaN}',
        b'{"seconds": 1e99}',
    ],
)
def test_what_is_no_curves_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any text will do, it is only logged
        from_json(content)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)


def test_mouth_is_drawn_over_the_speech_with_gaps() -> None:
    plot = parsed(mouth_plot(CURVES))
    lines = [line.get("points", "").split() for line in plot.iter("polyline")]
    assert [len(line) for line in lines] == [2, 2]
    assert len(list(plot.iter("polygon"))) == 1
    heights = [float(point.split(",")[1]) for line in lines for point in line]
    assert min(heights) == heights[2]  # the widest opening is highest


def test_joins_are_marked_at_their_time() -> None:
    plot = parsed(motion_plot(CURVES))
    assert [line.get("x1") for line in plot.iter("line")] == ["160.0", "320.0"]


def test_drift_shows_three_curves_around_the_start() -> None:
    plot = parsed(drift_plot(CURVES))
    colour, sharpness, likeness = (line.get("points", "").split() for line in plot.iter("polyline"))
    assert (len(colour), len(sharpness), len(likeness)) == (5, 5, 2)
    assert float(sharpness[-1].split(",")[1]) > float(sharpness[0].split(",")[1])
    assert "40%" in "".join(plot.itertext())


def test_plots_of_nothing_are_empty_frames() -> None:
    assert plots(Curves(0.0)).count("<svg") == 3


def test_page_holds_no_script_and_no_markup_of_others(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "<b>x</b>", [plots(CURVES), bars("<i>", {"<script>": 2.0}, "ms")])
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert "<b>x" not in page
    assert "default-src 'none'" in page
