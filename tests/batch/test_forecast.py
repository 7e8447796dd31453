"""A dry run forecasts what `hallo check` forecasts."""

from pathlib import Path
from typing import Any

import pytest

import hallo_cli
from hallo_cli.api import Renderer
from hallo_cli.batch.run import opened
from hallo_cli.cli.batch_build import build_batch
from hallo_cli.cli.batch_options import BatchOptions
from hallo_cli.settings.resolve import Sources

EXAMPLES = Path(hallo_cli.__file__).parent / "assets" / "examples"
PORTRAIT, AUDIO = min(EXAMPLES.glob("*.png")), min(EXAMPLES.glob("*.wav"))


@pytest.mark.parametrize("framing", ["crop", "full"])
def test_batch_forecasts_the_disk_that_check_forecasts(tmp_path: Path, framing: str) -> None:
    flags: dict[str, Any] = {"duration": "0.6", "device": "cpu", "framing": framing}
    (tmp_path / "one.csv").write_text(f"portrait,audio\n{PORTRAIT},{AUDIO}\n", encoding="utf-8")
    typed = BatchOptions(manifest=str(tmp_path / "one.csv"))
    with opened(build_batch(typed.with_settings(Sources(flags))), is_dry=True) as batch:
        list(batch.check())
        plan = batch.planner.summary()
    found = Renderer(**flags).check(PORTRAIT, AUDIO).forecast
    assert (plan.disk_bytes, plan.work_bytes) == (found.output_bytes, found.work_bytes)
    assert plan.disk_bytes > 0
