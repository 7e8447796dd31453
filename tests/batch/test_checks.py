"""What is looked at before a batch renders, and where the findings are kept."""

import dataclasses
import os
import shutil
import time
from pathlib import Path

import pytest
from batch_doubles import batch_of, results, write_batch
from job_doubles import SIZE

from hallo_cli.batch import findings
from hallo_cli.batch.checks import Looker
from hallo_cli.batch.findings import Checks, Finding, Request, request_for
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.run import opened
from hallo_cli.errors import Interrupted, OutputError
from hallo_cli.jobs.forecast import disk_needed
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.settings.values import to_values
from hallo_cli.store.digests import file_digest


def test_stopping_while_inputs_are_checked_renders_nothing(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    with opened(batch_of(manifest)) as batch:
        batch.stop(130)
        with pytest.raises(Interrupted, match="before the first row"):
            list(batch.check())
    assert not results(manifest)


def test_check_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c"])
    with opened(batch_of(manifest)) as batch:
        checking = batch.check()
        next(checking)
        next(checking)
        checking.close()
    with opened(batch_of(manifest)) as batch:
        assert list(batch.check())[-1] == 3  # of 4


@pytest.mark.parametrize(("n_workers", "n_in_hand"), [(2, 2), (9, 3)])
def test_disk_of_a_plan_is_that_of_its_videos_and_of_the_rows_in_hand(
    tmp_path: Path, n_workers: int, n_in_hand: int
) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c"])
    with opened(dataclasses.replace(batch_of(manifest), n_workers=n_workers)) as batch:
        list(batch.check())
        plan = batch.planner.summary()
    one = disk_needed(RenderSettings(segment_s=0.5), 15, (SIZE, SIZE))
    assert (plan.disk_bytes, plan.work_bytes) == (3 * one.output_bytes, n_in_hand * one.work_bytes)


def test_damaged_findings_are_made_anew(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    folder = Paths(manifest.with_suffix("")).folder
    folder.mkdir()
    (folder / "checks.sqlite").write_bytes(b"no database" * 1000)
    with opened(batch_of(manifest)) as batch:
        assert list(batch.check())[-1] == 2


def test_findings_are_looked_up_by_the_next_run(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b"])
    with opened(batch_of(manifest)) as batch:
        assert list(batch.check())[-1] == 3
    with opened(batch_of(manifest, workers=1)) as batch:
        assert list(batch.check())[-1] == 0
        assert batch.planner.summary().ready == 2


def test_content_that_was_found_good_is_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_batch(tmp_path, ["a", "b"])
    with opened(batch_of(manifest)) as batch:
        list(batch.check())
    for file in (*tmp_path.glob("*.png"), *tmp_path.glob("*.wav")):
        shutil.copy(file, file.with_suffix(".copy"))
        file.with_suffix(".copy").replace(file)  # another file by its number and times
    seen: list[Path] = []
    monkeypatch.setattr(Looker, "_examine", lambda self, request, digest: seen.append(request.path))
    with opened(batch_of(manifest)) as batch:
        assert list(batch.check())[-1] == 3
        assert batch.planner.summary().ready == 2
    assert seen == []


def fill_a_small_disk(path: Path) -> None:
    with Checks(path) as checks:
        checks._db.execute("PRAGMA max_page_count=2")
        for number in range(1000):
            checks.keep(Request(str(number), "audio", path, "{}"), Finding(message="x" * 1000))


def test_findings_that_cannot_be_written_are_an_error_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: database or disk is full"):
        fill_a_small_disk(tmp_path / "checks.sqlite")


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_row_of_a_pipe_or_device_is_refused_and_the_others_go_on(tmp_path: Path, kind: str) -> None:
    manifest = write_batch(tmp_path, ["a", "b"])
    (tmp_path / "b.png").unlink()
    if kind == "pipe":
        os.mkfifo(tmp_path / "b.png")
    else:
        (tmp_path / "b.png").symlink_to("/dev/zero")
    with opened(batch_of(manifest)) as batch:
        list(batch.check())
        ((bad, _),) = batch.queue.bad_rows()
        assert (bad.id, batch.planner.summary().ready) == ("b", 1)
    assert "is a pipe or device; give the path of a file" in bad.message


def test_digest_of_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        file_digest(tmp_path / "pipe")


def test_file_that_takes_for_ever_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "sleep-check", "c"])
    runtime = RuntimeSettings(device="cpu", look_limit_s=2.0)
    patient = batch_of(manifest, workers=1)
    began = time.monotonic()
    spec = dataclasses.replace(patient.renderer, runtime=runtime)
    with opened(dataclasses.replace(patient, renderer=spec)) as batch:
        list(batch.check())
        ((bad, _),) = batch.queue.bad_rows()
        assert (bad.id, batch.planner.summary().ready) == ("sleep-check", 2)
    assert "takes longer than 2 s to read" in bad.message
    assert time.monotonic() - began < 60


def test_stop_does_not_wait_for_a_file_that_takes_for_ever(tmp_path: Path) -> None:
    began = time.monotonic()
    with opened(batch_of(write_batch(tmp_path, ["sleep-check"]), workers=1)) as batch:
        checking = batch.check()
        next(checking)
        batch.stop(143)
        with pytest.raises(Interrupted):
            list(checking)
    assert time.monotonic() - began < 15


def test_finding_is_looked_up_anew_when_anything_about_the_file_changes(tmp_path: Path) -> None:
    file, other = tmp_path / "a.png", tmp_path / "b.png"
    file.write_bytes(b"one")
    other.write_bytes(b"one")
    small, large = (dict[str, object](to_values(RenderSettings(size=size))) for size in (64, 128))
    key = request_for("portrait", file, small).key
    assert request_for("portrait", file, small).key == key
    assert request_for("audio", file, small).key != key
    assert request_for("portrait", other, small).key != key
    assert request_for("portrait", file, large).key != key
    times = file.stat()
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    touched = request_for("portrait", file, small).key
    assert touched != key
    file.write_bytes(b"longer")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert request_for("portrait", file, small).key not in (key, touched)


@dataclasses.dataclass(frozen=True)
class ScriptedFile:
    """A file whose times stay the same, as on disks with a coarse clock."""

    st_size: int
    st_mtime_ns: int = 1
    st_ctime_ns: int = 1
    st_ino: int = 1

    def stat(self) -> "ScriptedFile":
        return self


@pytest.mark.parametrize("changed", ["st_size", "st_mtime_ns", "st_ctime_ns", "st_ino"])
def test_each_sign_of_a_changed_file_counts_by_itself(monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    file = ScriptedFile(st_size=1)
    monkeypatch.setattr(findings, "require_file", lambda path, error, what: file)
    settings = dict[str, object](to_values(RenderSettings()))
    before = request_for("portrait", Path("a.png"), settings).key
    file = dataclasses.replace(file, **{changed: 2})
    assert request_for("portrait", Path("a.png"), settings).key != before
