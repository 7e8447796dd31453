"""What fits into a budget is rendered, what does not is left and told."""

import math
import time
from pathlib import Path

import pytest
from batch_doubles import batch_of, results, run, write_batch

from hallo_cli.batch.batch_events import BudgetSpent, RowStarted
from hallo_cli.batch.budget import Allowance, Budget
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.status import read_known
from hallo_cli.errors import ManifestError


def started(events: list[object]) -> list[str]:
    return [event.id for event in events if isinstance(event, RowStarted)]


def left(events: list[object]) -> list[int]:
    return [event.left for event in events if isinstance(event, BudgetSpent)]


def test_rows_fit_until_the_compute_is_promised() -> None:
    allowance = Allowance(Budget(compute_s=10.0))
    assert allowance.fits(6.0, ahead_s=0)
    allowance.promise(1, 6.0)
    assert not allowance.fits(6.0, ahead_s=0)
    assert allowance.fits(4.0, ahead_s=0)


def test_predictions_are_corrected_by_what_rows_took() -> None:
    allowance = Allowance(Budget(compute_s=10.0))
    allowance.promise(1, 2.0)
    allowance.note_end(1, 4.0)
    assert allowance.fits(3.0, ahead_s=0)  # 4 used, twice 3 to come
    assert not allowance.fits(3.1, ahead_s=0)


def test_row_that_failed_frees_what_it_was_promised() -> None:
    allowance = Allowance(Budget(compute_s=10.0))
    allowance.promise(1, 9.0)
    allowance.note_end(1, 0.0)
    assert allowance.fits(9.0, ahead_s=0)


def test_rows_fit_until_the_time_to_finish_by() -> None:
    now = [100.0]
    allowance = Allowance(Budget(ends=110.0), clock=lambda: now[0])
    assert allowance.fits(10.0, ahead_s=0)
    assert not allowance.fits(6.0, ahead_s=5.0)
    now[0] = 110.0
    assert allowance.is_over
    assert Budget().ends == math.inf


def test_rows_that_do_not_fit_are_left_and_stay_pending(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c"])
    events: list[object] = [*run(batch_of(manifest, budget=Budget(compute_s=1.0)))]  # each row: 1.5
    assert (started(events), left(events)) == ([], [3])
    assert read_known(Paths(manifest.with_suffix(""))).counts.pending == 3
    assert left([*run(batch_of(manifest))]) == []
    assert set(results(manifest)) == {"a", "b", "c"}


def test_smaller_rows_are_rendered_where_a_larger_one_does_not_fit(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b"], seconds=2.0)
    manifest.write_text(
        "id,portrait,audio,duration\nlong,a.png,speech.wav,\nshort,b.png,speech.wav,0.4\n", encoding="utf-8"
    )
    events: list[object] = [*run(batch_of(manifest, budget=Budget(compute_s=1.5)))]
    assert (started(events), left(events)) == (["short"], [1])


def test_time_that_is_up_stops_the_batch_cleanly(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b"])
    assert left([*run(batch_of(manifest, budget=Budget(ends=time.time() - 1)))]) == [2]


def test_rows_of_higher_priority_go_first(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c"])
    manifest.write_text(
        "id,portrait,audio,priority\na,a.png,speech.wav,\nb,b.png,speech.wav,-1\nc,c.png,speech.wav,7\n",
        encoding="utf-8",
    )
    assert started([*run(batch_of(manifest))]) == ["c", "a", "b"]


def test_only_rows_with_ids_like_the_patterns_are_taken(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["anna-1", "anna-2", "ben-1"])
    assert started([*run(batch_of(manifest, only=("anna-*",)))]) == ["anna-1", "anna-2"]
    assert read_known(Paths(manifest.with_suffix(""))).counts.pending == 1
    assert started([*run(batch_of(manifest))]) == ["ben-1"]
    with pytest.raises(ManifestError, match="no row's id matches 'zoe'"):
        run(batch_of(manifest, only=("zoe",)))
