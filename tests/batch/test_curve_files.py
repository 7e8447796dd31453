from pathlib import Path

import numpy as np
import pytest
from batch_doubles import batch_of, results, run, write_batch

from hallo_cli.batch.curve_files import keep_curves, read_curves
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.report import ReportOptions, write_page
from hallo_cli.batch.status import read_known
from hallo_cli.evaluation.curves import Curves, sampled

DIGEST = "a" * 64
CURVES = Curves(2.0, motion=sampled(np.arange(50, dtype=np.float32)), joins=(0.5,))


def test_curves_are_found_by_the_videos_digest(tmp_path: Path) -> None:
    keep_curves(tmp_path / "week.batch" / "curves", DIGEST, CURVES)
    assert read_curves(tmp_path / "week.batch" / "curves", DIGEST) == CURVES
    assert read_curves(tmp_path / "week.batch" / "curves", "b" * 64) is None


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64])
def test_digest_of_a_strange_ledger_names_no_file(tmp_path: Path, digest: str) -> None:
    assert read_curves(tmp_path, digest) is None


def test_damaged_curves_and_links_give_no_plots(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / f"{DIGEST}.json").write_text('{"seconds": 2, "motion": ["<svg>"]}')
    assert read_curves(tmp_path, DIGEST) is None
    (tmp_path / f"{'b' * 64}.json").symlink_to(tmp_path / f"{DIGEST}.json")
    assert read_curves(tmp_path, "b" * 64) is None
    assert caplog.text.count("no plots") == 2


def test_report_shows_the_plots_of_rows_that_have_curves(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["one", "two"])
    run(batch_of(manifest))
    paths = Paths(manifest.with_suffix(""))
    keep_curves(paths.curves, results(manifest)["one"].sha256, CURVES)
    known = read_known(paths)
    options = ReportOptions("week", paths.merged.parent, known.counts, curves=paths.curves)
    write_page(paths.report, known.in_order, options)
    page = paths.report.read_text()
    assert page.count('<div class="plots" hidden><svg') == 1
    assert page.index("Motion and joins") < page.index('data-id="two"')
