"""The ledger survives what happens to files, and the queue finds what the ledger knows."""

import dataclasses
import json
import math
import os
from pathlib import Path

import pytest

from hallo_cli.batch.ledger import (
    MAX_LINE,
    Ledger,
    Record,
    Run,
    read_ledger,
    read_records,
    stored_path,
)
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.rows import BadRow, Row
from hallo_cli.batch.task import Task
from hallo_cli.errors import JobError, ManifestError, OutputError
from hallo_cli.settings.schema import RenderSettings

RECORD = Record("a", 2, "done", "v/a.mp4", "f00", "abc", 10, 5, 0.2, 1.5, 1, 42, "cpu", quality={"x": 0.5})


def row(number: int, name: str = "", output: str = "") -> Row:
    name = name or f"r{number}"
    return Row(number, name, Path("/p.png"), Path("/s.wav"), Path(output or f"/out/{name}.mp4"))


def task(number: int, cost: float = 1.0) -> Task:
    a = row(number)
    return Task(number, a.id, a.portrait, a.audio, a.output, RenderSettings(), "", "f", 25, 1.0, cost)


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "batch.results.jsonl"
    with Ledger(path) as ledger:
        ledger.append(Run({"output_dir": "v"}, "now"))
        ledger.append(RECORD)
    assert list(read_ledger(path)) == [Run({"output_dir": "v"}, "now"), RECORD]


def test_row_that_names_no_output_is_read_back(tmp_path: Path) -> None:
    refused = Record("row-3", 3, "invalid", error="ManifestError", message="this line is not JSON")
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.append(refused)
    assert list(read_records(tmp_path / "ledger")) == [refused]


@pytest.mark.parametrize("n_bytes_lost", [1, 2, 20, 60])
def test_torn_last_line_costs_only_its_own_row(tmp_path: Path, n_bytes_lost: int) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        ledger.append(RECORD)
        ledger.append(RECORD)
    path.write_bytes(path.read_bytes()[:-n_bytes_lost])
    is_whole = n_bytes_lost == 1  # only the line's end was lost
    with Ledger(path) as ledger:
        ledger.append(RECORD)
    assert len(list(read_records(path))) == (3 if is_whole else 2)


HEAD = {"v": 1, "type": "run", "options": {}, "started": "now"}
ROW = {"v": 1, "type": "row", "id": "a", "row": 2, "status": "done"}
STRAY: list[object] = [
    *(1, -1.5, True, None, "x", "", [], [[]], {}, {"id": "a", "row": 2, "status": "done"}),
    *({"v": 1}, {"v": 1, "type": "cow"}, {"v": 1, "type": None}, {"v": 1, "type": []}, {"v": 1, "type": {}}),
    *({**ROW, "v": version} for version in (0, -1, 1.0, "1", None, True, [1])),
    *({**ROW, "id": name} for name in (None, 3, [], {}, "\ud800", True)),
    *({**ROW, "row": row} for row in ("2", 2.5, None, True, [2], 10**30)),
    *({**ROW, "status": status} for status in ("", "DONE", None, 1, [], "running")),
    *({**ROW, "output": output} for output in (None, 1, ["a.mp4"], "\udcff")),
    *({**ROW, "frames": frames} for frames in ("many", 1.5, None)),
    *({**ROW, "seconds": seconds} for seconds in ("1", None, [1], 1e300)),
    *({**ROW, "compute_s": seconds} for seconds in (float("nan"), float("inf"))),
    *({**ROW, "seed": seed} for seed in ("1", 1.5, [])),
    *({**ROW, "quality": quality} for quality in ([], None, {"x": "1"}, {"x": None}, {"x": [1]}, 3)),
    *({**ROW, "objections": said} for said in ("x", [1], {"a": 1}, None)),
    *({**ROW, "own": own} for own in ([], {"x": 1}, {"x": None})),
    *({**HEAD, "options": options} for options in (None, 3, [], "x")),
    {**HEAD, "started": 3},
]


@pytest.mark.parametrize(
    "stray", STRAY, ids=lambda stray: str(stray)[:80].encode("ascii", "replace").decode()
)
def test_stray_line_is_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, stray: object
) -> None:
    path = tmp_path / "ledger"
    path.write_text(f"{json.dumps(HEAD)}\n{json.dumps(stray)}\n{json.dumps(ROW)}\n", encoding="utf-8")
    assert list(read_ledger(path)) == [Run({}, "now"), Record("a", 2, "done")]
    assert "ledger: line 2 is not an entry and is skipped" in caplog.text


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b"[" * 3000, b'{"a":' * 3000, b"{", b"1" * 5000, b"x" * (MAX_LINE + 10), b"\x00"]
)
def test_line_that_is_no_json_is_named_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(line + b"\n" + json.dumps(ROW).encode() + b"\n")
    assert list(read_ledger(path)) == [Record("a", 2, "done")]
    assert "line 1 is not an entry and is skipped" in caplog.text


def test_figures_that_are_no_numbers_and_fields_of_newer_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_text(
        '{"v": 1, "type": "row", "id": "a", "row": 2, "status": "fail", "new": 1, "quality": {"x": NaN}}'
    )
    (record,) = read_records(path)
    assert math.isnan(record.quality["x"])


def test_ledger_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ledger")
    with pytest.raises(JobError, match="not a plain file"):
        list(read_ledger(tmp_path / "ledger"))


def test_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_text('{"v": 2, "type": "row"}\n', encoding="utf-8")
    with pytest.raises(JobError, match="update hallo"):
        list(read_ledger(path))


def test_ledger_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), Ledger(tmp_path):
        pass


def test_outputs_are_named_relative_to_the_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "a.results.jsonl"
    assert stored_path(tmp_path / "v" / "x.mp4", ledger) == "v/x.mp4"
    assert stored_path(Path("/elsewhere/x.mp4"), ledger) == "/elsewhere/x.mp4"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (row(7, "other", "/out/r3.mp4"), "rows 3 and 7 would both write /out/r3.mp4"),
        (row(7, "r3", "/out/other.mp4"), "rows 3 and 7 both have the id r3"),
    ],
)
def test_two_rows_for_one_file_or_id_are_refused(second: Row, message: str) -> None:
    with Queue() as queue, pytest.raises(ManifestError, match=message):
        queue.add_rows([row(2), row(3), second])


def test_queue_gives_the_costliest_row_first() -> None:
    with Queue() as queue:
        queue.add_rows([row(n) for n in range(2, 6)])
        for number, cost in ((2, 1), (3, 9), (4, 5), (5, 9)):
            queue.accept(task(number, cost))
        assert [t.number for t in iter(queue.take, None)] == [3, 5, 4, 2]


def test_parts_of_a_row_have_its_priority() -> None:
    with Queue() as queue:
        queue.add_rows([row(2), dataclasses.replace(row(3), priority=1)])
        queue.accept(task(2, 9))
        queue.add_parts(task(3), [dataclasses.replace(task(3), id="part", parent=3)])
        assert [t.id for t in iter(queue.take, None)] == ["part", "r2"]


def test_row_put_back_keeps_its_counts() -> None:
    with Queue() as queue:
        queue.add_rows([row(2)])
        queue.accept(task(2))
        taken = queue.take()
        assert taken is not None
        queue.accept(taken.tried(is_alone=True).with_other_seed())
        again = queue.take()
        assert again is not None
        assert (again.attempts, again.is_alone, again.seed_offset) == (1, 1, 1)


def test_reason_of_a_refused_row_can_be_printed() -> None:
    with Queue() as queue:
        queue.add_rows([row(2), BadRow(3, "b3", "no\x1b[2J")])
        queue.refuse(2, "InputError", "a\x1b[2J.png does not exist")
        told = [bad.message for bad, _ in queue.bad_rows()]
    assert told == ["a\\x1b[2J.png does not exist", "no\\x1b[2J"]


def test_queue_remembers_the_last_record_of_an_output(tmp_path: Path) -> None:
    with Queue() as queue:
        queue.history.remember([Record("a", 2, "error", "v/a.mp4"), RECORD], tmp_path)
        past = queue.history.past(tmp_path / "v/a.mp4")
        assert past is not None
        assert (past.status, past.fingerprint, past.size) == ("done", "f00", 10)
        assert queue.history.past(tmp_path / "a.mp4") is None


def test_queue_walks_more_rows_than_one_block() -> None:
    with Queue() as queue:
        queue.add_rows(BadRow(n, f"b{n}", "no") if n % 3 else row(n) for n in range(1, 3001))
        assert sum(1 for _ in queue.rows("new")) == 1000
        assert [bad.number for bad, _ in queue.bad_rows()][-1] == 2999
        assert {state: total.rows for state, total in queue.totals().items()} == {
            "new": 1000,
            "invalid": 2000,
        }
