"""Names of a batch's files, shards, and the merging of their ledgers."""

from pathlib import Path

import pytest

from hallo_cli.batch.ledger import Ledger, Record, Run, read_ledger, read_records
from hallo_cli.batch.ledger_sync import merge
from hallo_cli.batch.paths import Paths, Shard, read_shard
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.rows import Row
from hallo_cli.batch.states import Counts
from hallo_cli.batch.status import read_known
from hallo_cli.errors import ManifestError, SettingsError


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("2/4", {}, Shard(2, 4)),
        (
            "auto",
            {"SLURM_ARRAY_TASK_ID": "11", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_COUNT": "4"},
            Shard(2, 4),
        ),
        ("auto/8", {"JOB_COMPLETION_INDEX": "0"}, Shard(1, 8)),
        ("auto/8", {"JOB_COMPLETION_INDEX": "7"}, Shard(8, 8)),
    ],
)
def test_shard_is_read_from_text_or_environment(text: str, environment: dict[str, str], shard: Shard) -> None:
    assert read_shard(text, environment) == shard


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("0/4", {}, "the first is 1/4"),
        ("5/4", {}, "the last 4/4"),
        ("half", {}, "is not I/N"),
        ("auto", {}, "neither SLURM_ARRAY_TASK_ID nor JOB_COMPLETION_INDEX"),
        ("auto", {"JOB_COMPLETION_INDEX": "0"}, "use --shard auto/N"),
        ("auto/2", {"JOB_COMPLETION_INDEX": "x"}, "whole numbers"),
        ("auto/2", {"JOB_COMPLETION_INDEX": "2"}, "--shard 3/2"),
    ],
)
def test_shard_that_makes_no_sense_is_refused(text: str, environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_shard(text, environment)


def test_shards_take_every_row_exactly_once() -> None:
    taken = []
    for index in range(3):
        with Queue() as queue:
            queue.add_rows(
                Row(n, f"r{n}", Path("/p"), Path("/s"), Path(f"/{n}.mp4")) for n in range(2, 30, 3)
            )
            queue.keep_share(index, 3)
            taken.append([row.number for row in queue.rows("new")])
    assert sorted(number for part in taken for number in part) == list(range(2, 30, 3))
    assert [len(part) for part in taken] == [4, 3, 3]


def test_merged_ledger_holds_what_the_shards_know_once(tmp_path: Path) -> None:
    base = tmp_path / "b"
    for index in (1, 2):
        with Ledger(Paths(base, Shard(index, 2)).results) as ledger:
            ledger.append(Run({"shard": f"{index}/2", "rows": 6}))
            ledger.append(Record(f"r{index}", index, "done", f"r{index}.mp4", quality={"x": 1.0}))
    paths = Paths(base)
    assert merge(paths) == 2
    assert merge(paths) == 0
    assert [record.id for record in read_records(paths.merged)] == ["r1", "r2"]
    head = [entry for entry in read_ledger(paths.merged) if isinstance(entry, Run)][-1]
    assert head.options == {"shard": "1/1", "rows": 6}


def test_what_the_whole_batch_did_after_a_shard_counts(tmp_path: Path) -> None:
    base = tmp_path / "b"
    for paths, status in ((Paths(base, Shard(1, 2)), "error"), (Paths(base), "done")):
        with Ledger(paths.results) as ledger:
            ledger.append(Run({"rows": 2}))
            ledger.append(Record("a", 2, status, "a.mp4", compute_s=2.0))
    known = read_known(Paths(base))
    assert (known.counts, known.counts.pending) == (Counts(2, done=1), 1)
    assert known.failures == []


def test_of_two_ledgers_the_later_entry_of_a_row_counts(tmp_path: Path) -> None:
    base = tmp_path / "b"
    entries = ((Paths(base), "error", "2026-01-01"), (Paths(base, Shard(1, 2)), "done", "2026-01-02"))
    for paths, status, finished in entries:
        with Ledger(paths.results) as ledger:
            ledger.append(Run({"rows": 1}), Record("a", 2, status, "a.mp4", finished=finished))
    assert read_known(Paths(base)).counts == Counts(1, done=1)
    with Queue() as queue:
        for number, path in enumerate(Paths(base).ledgers()):
            queue.history.remember(read_records(path), tmp_path, ledger=number)
        past = queue.history.past(tmp_path / "a.mp4")
    assert past is not None
    assert past.status == "done"


def test_ledgers_of_other_shards_are_read_before_ones_own(tmp_path: Path) -> None:
    for index in (1, 2):
        Paths(tmp_path / "b", Shard(index, 2)).results.touch()
    Paths(tmp_path / "b").results.touch()
    names = [path.name for path in Paths(tmp_path / "b", Shard(1, 2)).ledgers()]
    assert names == ["b.2-of-2.results.jsonl", "b.results.jsonl", "b.1-of-2.results.jsonl"]


def test_merging_without_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no ledgers of shards"):
        merge(Paths(tmp_path / "b"))


def test_everything_is_named_after_the_manifest(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "week.12", Shard(2, 8))
    assert paths.results.name == "week.12.2-of-8.results.jsonl"
    assert paths.merged.name == "week.12.results.jsonl"
    assert paths.videos.name == "week.12.videos"
    assert paths.folder.name == "week.12.2-of-8.batch"
    assert paths.report.name == "week.12.report.html"
