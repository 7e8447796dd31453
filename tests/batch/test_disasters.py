"""Whatever is killed, running the batch again finishes it, renders nothing twice and loses nothing."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import batch_doubles
import pytest
from batch_doubles import batch_of, results, run, write_batch
from forked import Command

from hallo_cli.batch import scheduler
from hallo_cli.batch.ledger import read_records
from hallo_cli.batch.paths import Paths
from hallo_cli.media.probe import frame_hashes

ROWS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Frame hashes by row of a batch that nothing happened to."""
    manifest = write_batch(tmp_path_factory.mktemp("undisturbed"), ROWS)
    run(batch_of(manifest))
    return hashes(manifest)


def hashes(manifest: Path) -> dict[str, list[str]]:
    return {
        name: list(frame_hashes(manifest.parent / record.output))
        for name, record in results(manifest).items()
    }


class Run:
    """A batch in a process of its own."""

    def __init__(self, manifest: Path, *, limit_bytes: int = 0) -> None:
        self.process = Command(
            batch_doubles.main,
            [str(manifest), "1"],
            limit_bytes=limit_bytes,
            environment={"HALLO_TEST_CLIP_S": "0.1"},
        )

    def wait_for(self, event: str, count: int = 1) -> None:
        for values in self.events():
            count -= values["event"] == event
            if count == 0:
                return
        raise AssertionError(f"no {event}: {self.finish()[1]}")

    def events(self) -> Iterator[dict[str, object]]:
        for line in self.process.stdout:
            yield json.loads(line)

    def finish(self) -> tuple[int, str]:
        return self.process.finish()


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    own = [int(child) for child in children.read_text().split()] if children.exists() else []
    return own + [found for child in own for found in descendants(child)]


def with_command(pid: int, word: str) -> list[int]:
    """Descendants that run a command with this word in it."""
    found = []
    for child in descendants(pid):
        command = Path(f"/proc/{child}/cmdline")
        if command.exists() and word in command.read_text().replace("\0", " "):
            found.append(child)
    return found


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def done_outputs(manifest: Path) -> dict[str, int]:
    """When each finished video was written."""
    folder = manifest.parent
    return {
        record.output: (folder / record.output).stat().st_mtime_ns
        for record in results(manifest).values()
        if record.is_rendered
    }


def test_killed_parent_takes_its_workers_along_and_the_next_run_goes_on(
    tmp_path: Path, undisturbed: dict[str, list[str]]
) -> None:
    manifest = write_batch(tmp_path, ROWS)
    for moment in (("row_advanced", 2), ("row_ended", 1), ("row_advanced", 3)):
        before = done_outputs(manifest)
        running = Run(manifest)
        running.wait_for(*moment)
        workers = with_command(running.process.pid, "spawn_main")
        assert workers
        running.process.kill()
        running.finish()
        deadline = time.monotonic() + 20
        while any(map(is_alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(is_alive, workers))
        assert before.items() <= done_outputs(manifest).items()
    assert Run(manifest).finish() == (0, "")
    assert hashes(manifest) == undisturbed
    done = [record.id for record in read_records(Paths(manifest.with_suffix("")).results)]
    assert sorted(done) == ROWS


def test_killed_worker_and_ffmpeg_and_termination_lose_nothing(
    tmp_path: Path, undisturbed: dict[str, list[str]]
) -> None:
    manifest = write_batch(tmp_path, ROWS)
    running = Run(manifest)
    running.wait_for("row_advanced")
    for pid in with_command(running.process.pid, "spawn_main"):
        os.kill(pid, signal.SIGKILL)
    running.wait_for("row_advanced", 2)
    for pid in with_command(running.process.pid, "ffmpeg"):
        os.kill(pid, signal.SIGKILL)
    running.wait_for("row_ended")
    running.wait_for("row_started")
    running.process.send_signal(signal.SIGTERM)
    status, said = running.finish()
    assert status == 143
    assert "the same command resumes" in said
    before = done_outputs(manifest)
    assert Run(manifest).finish() == (0, "")
    assert before.items() <= done_outputs(manifest).items()
    assert hashes(manifest) == undisturbed


def test_full_disk_ends_the_batch_and_the_next_run_finishes_it(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b"], seconds=1.0)
    status, said = Run(manifest, limit_bytes=50_000).finish()  # the decoded sound takes 64,000
    assert status == 1
    assert "finished work is kept" in said
    assert not results(manifest)
    assert Run(manifest).finish() == (0, "")
    assert {record.status for record in results(manifest).values()} == {"done"}


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a file system")
def test_really_full_disk_ends_the_batch_and_the_next_run_finishes_it(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        manifest = write_batch(disk, ROWS)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(100_000))
        while True:  # leave some 40 kB
            try:
                with ballast.open("ab") as file:
                    file.write(bytes(1000))
            except OSError:
                break
        with ballast.open("r+b") as file:
            file.truncate(ballast.stat().st_size - 120_000)
        status, said = Run(manifest).finish()
        assert status == 1
        assert "No space left" in said
        ballast.unlink()
        assert Run(manifest).finish() == (0, "")
        assert len(results(manifest)) == len(ROWS)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_clock_that_jumps_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = write_batch(tmp_path, ["a", "bug"])
    run(batch_of(manifest))
    monkeypatch.setattr(scheduler, "now", lambda: "1970-01-01T00:00:00+00:00")
    monkeypatch.setattr(time, "time", lambda: 0.0)
    (tmp_path / "bug.png").rename(tmp_path / "fine.png")
    manifest.write_text(manifest.read_text().replace("bug.png", "fine.png"))
    run(batch_of(manifest))
    assert results(manifest)["bug"].status == "done"
    assert results(manifest)["bug"].finished.startswith("1970")
    assert results(manifest)["a"].attempts == 1
