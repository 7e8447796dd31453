"""What one row does to its worker harms no other row."""

import dataclasses
import json
from pathlib import Path

import pytest
from batch_doubles import (
    batch_of,
    make_engine,
    results,
    run,
    write_batch,
)

from hallo_cli.batch.batch_events import (
    BatchPlanned,
    RowStarted,
    WorkerLost,
)
from hallo_cli.batch.ledger import Record, read_records
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.scheduler import Policy
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.media.probe import frame_hashes
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings


@dataclasses.dataclass
class Ran:
    """A batch that ran, with one of each trouble in it."""

    manifest: Path
    events: list[object]
    results: dict[str, Record]

    def record(self, name: str) -> Record:
        return self.results[name]


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("troubled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALLO_TEST_MARKER", str(folder / "marker"))
        names = ["good", "kill", "once", "bug", "memory", "device", "encoder", "crash-check", "notes"]
        manifest = write_batch(folder, names)
        (folder / "notes.png").write_text("no picture", encoding="utf-8")
        with manifest.open("a", encoding="utf-8") as file:
            file.write("absent,nowhere.png,speech.wav\nsilent,good.png,notes.png\n")
        events: list[object] = [*run(batch_of(manifest, workers=2, policy=Policy(retries=1)))]
    return Ran(manifest, events, results(manifest))


def test_row_that_failed_has_a_log_of_its_own(troubled: Ran) -> None:
    logs = Paths(troubled.manifest.with_suffix("")).folder / "logs"
    bug = logs / f"row-{troubled.record('bug').row:06d}.log"
    assert "ZeroDivisionError: division by zero" in bug.read_text(encoding="utf-8")
    assert not (logs / f"row-{troubled.record('good').row:06d}.log").exists()


def test_every_row_is_in_the_ledger_once(troubled: Ran) -> None:
    records = list(read_records(Paths(troubled.manifest.with_suffix("")).results))
    assert len(records) == len(troubled.results) == 11


def test_row_is_rendered_to_the_frames_of_a_single_job(troubled: Ran, tmp_path: Path) -> None:
    folder = troubled.manifest.parent
    output = tmp_path / "alone.mp4"
    settings = RenderSettings(segment_s=0.5)
    engine = make_engine("embedded", RuntimeSettings())
    run_job(Job(folder / "good.png", folder / "speech.wav", output, settings), engine)
    assert list(frame_hashes(output)) == list(frame_hashes(folder / troubled.record("good").output))


def test_row_that_kills_its_worker_once_is_done_by_the_next(troubled: Ran) -> None:
    assert troubled.record("once").status == "done"
    assert troubled.record("once").attempts == 2


def test_row_that_always_kills_its_worker_goes_into_quarantine(troubled: Ran) -> None:
    record = troubled.record("kill")
    assert (record.status, record.attempts, record.error) == ("quarantined", 2, "WorkerDied")
    assert "SIGKILL" in record.message
    place = Paths(troubled.manifest.with_suffix("")).folder / "quarantine" / "row-000003"
    assert str(place) in record.message
    assert (place / "portrait.png").read_bytes() == (troubled.manifest.parent / "kill.png").read_bytes()
    assert json.loads((place / "row.json").read_text())["id"] == "kill"
    assert (place / "settings.toml").read_text().startswith('bundle = "embedded"')


def test_lost_device_takes_the_worker_along(troubled: Ran) -> None:
    assert "its device failed" in troubled.record("device").message
    assert "CUDA error" in (
        Paths(troubled.manifest.with_suffix("")).folder / "quarantine/row-000007/worker.log"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "status", "kind", "message"),
    [
        ("bug", "error", "ZeroDivisionError", "division by zero"),
        ("memory", "error", "DeviceMemoryError", "out of memory after every fallback"),
        ("encoder", "error", "EncoderError", "ffmpeg ended with status 1"),
        ("crash-check", "invalid", "InputError", "crashes its decoder"),
        ("notes", "invalid", "PortraitError", "not a readable picture"),
        ("absent", "invalid", "InputError", "does not exist"),
        ("silent", "invalid", "SpeechError", "has no sound track"),
    ],
)
def test_each_trouble_is_told_by_its_own_name(
    troubled: Ran, name: str, status: str, kind: str, message: str
) -> None:
    record = troubled.record(name)
    assert (record.status, record.error) == (status, kind)
    assert message in record.message


def test_lost_workers_are_replaced_and_only_busy_rows_are_blamed(troubled: Ran) -> None:
    assert sum(isinstance(event, WorkerLost) for event in troubled.events) >= 4
    assert troubled.record("good").attempts == 1


def test_rerun_repeats_errors_and_leaves_done_and_quarantined_rows(troubled: Ran) -> None:
    again = run(batch_of(troubled.manifest, policy=Policy(retries=0)))
    assert {event.id for event in again if isinstance(event, RowStarted)} == {"bug", "memory", "encoder"}
    (plan,) = (event for event in again if isinstance(event, BatchPlanned))
    assert (plan.skipped, plan.left_out, plan.invalid) == (2, 2, 4)
