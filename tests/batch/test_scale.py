"""Many rows: the scheduler's own cost, memory, and a twentieth of the rows poisoned in twelve ways."""

import json
import resource
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_doubles import batch_of, results, run, write_picture, write_sound

from hallo_cli.batch.batch_events import RowEnded
from hallo_cli.batch.budget import Allowance
from hallo_cli.batch.ledger import Ledger, Record, read_records
from hallo_cli.batch.local_pool import LocalPool
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.rows import Row
from hallo_cli.batch.run import opened
from hallo_cli.batch.scheduler import Policy, Scheduler
from hallo_cli.batch.task import Rendered, Task
from hallo_cli.jobs.runner import StopRequest
from hallo_cli.settings.schema import RenderSettings

# What goes wrong, how the ledger calls it, and a word of the reason. Rows take it from the picture's name,
# the recording's, or a cell.
POISONS: dict[str, tuple[str, str, str]] = {
    "kill": ("quarantined", "WorkerDied", "SIGKILL"),
    "device": ("quarantined", "WorkerDied", "device failed"),
    "memory": ("error", "DeviceMemoryError", "out of memory"),
    "bug": ("error", "ZeroDivisionError", "division by zero"),
    "encoder": ("error", "EncoderError", "ffmpeg ended"),
    "taken": ("error", "SettingsError", "exists and is from another render"),
    "crash-check": ("invalid", "InputError", "crashes its decoder"),
    "text": ("invalid", "PortraitError", "not a readable picture"),
    "absent": ("invalid", "InputError", "does not exist"),
    "mute": ("invalid", "SpeechError", "has no sound track"),
    "broken": ("invalid", "ManifestError", "not JSON"),
    "steps": ("invalid", "ManifestError", "steps: 0 is not"),
}


def write_rows(folder: Path, n_rows: int, poison_every: int) -> Path:
    """A manifest of JSON lines in which every so many rows is poisoned, in turn in each way."""
    write_sound(folder / "speech.wav", 0.3)
    for seed, name in enumerate(["good", *POISONS]):
        write_picture(folder / f"{name}.png", seed)
    (folder / "text.png").write_text("no picture", encoding="utf-8")
    (folder / "absent.png").unlink()
    videos = folder / "batch.videos"
    videos.mkdir()
    manifest = folder / "batch.jsonl"
    with manifest.open("w", encoding="utf-8") as file:
        for number in range(n_rows):
            is_poisoned = number % poison_every == poison_every - 1
            poison = list(POISONS)[number // poison_every % len(POISONS)] if is_poisoned else ""
            if poison == "taken":
                (videos / f"{number}-taken.mp4").touch()
            file.write(line_of(number, poison) + "\n")
    return manifest


def line_of(number: int, poison: str) -> str:
    picture = poison if poison not in ("", "mute", "broken", "steps", "taken") else "good"
    row: dict[str, object] = {"id": f"{number}-{poison}", "portrait": f"{picture}.png", "seed": number}
    row["audio"] = "text.png" if poison == "mute" else "speech.wav"
    if poison == "steps":
        row["steps"] = 0
    return json.dumps(row)[: -5 if poison == "broken" else None]


def require_expected(found: dict[str, Record], n_rows: int, poison_every: int) -> None:
    """Every row is there; exactly the poisoned ones failed, each with its own reason."""
    assert len(found) == n_rows
    for name, record in found.items():
        poison = name.partition("-")[2] if not name.startswith("row-") else "broken"
        expected = POISONS.get(poison, ("done", "", ""))
        assert (record.status, record.error) == expected[:2], (name, record)
        assert expected[2] in record.message
    assert Counter(record.status for record in found.values())["done"] == n_rows - n_rows // poison_every


def test_poisoned_rows_fail_each_with_its_own_reason_and_no_other_does(tmp_path: Path) -> None:
    manifest = write_rows(tmp_path, 24, 2)
    run(batch_of(manifest, workers=2, policy=Policy(retries=0)))
    require_expected(results(manifest), 24, 2)


@pytest.mark.slow
@pytest.mark.parametrize("n_rows", [1_000, 10_000])
def test_thousands_of_rows_with_a_twentieth_poisoned(tmp_path: Path, n_rows: int) -> None:
    """Only the network is a double: decoding, segments, encoding, ledger and processes are real."""
    manifest = write_rows(tmp_path, n_rows, 20)
    batch = batch_of(manifest, workers=3, policy=Policy(retries=1))
    n_ended, early_kib, began = 0, 0, time.process_time()
    with opened(batch) as open_batch:
        for _ in open_batch.check():
            pass
        for event in open_batch.run():
            n_ended += isinstance(event, RowEnded)
            early_kib = early_kib or (memory_kib() if n_ended == n_rows // 4 else 0)
    cpu_s = time.process_time() - began
    grown_kib = memory_kib() - early_kib
    print(f"{n_rows} rows: {1000 * cpu_s / n_rows:.2f} ms of the scheduler's processor time a row, "  # noqa: T201
          f"{grown_kib} KiB more memory than after a quarter of them")  # fmt: skip
    assert cpu_s / n_rows < 0.020
    assert grown_kib < 8192
    require_expected(results(manifest), n_rows, 20)


class InstantRenderer:
    """Takes no time, so that what remains is the scheduler's own."""

    def prepare(self, task: Task) -> object:
        return None

    def render(
        self, task: Task, prepared: object, *, report: Callable[[int, int], None], stop: StopRequest
    ) -> Rendered:
        report(task.frames, task.frames)
        return Rendered(task.frames, task.seconds, 42)

    def measure(self, task: Task, rendered: Rendered) -> Rendered:
        return rendered


def make_instant_renderer(device: str) -> InstantRenderer:
    return InstantRenderer()


def memory_kib() -> int:
    """What this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


@pytest.mark.parametrize("n_rows", [600, pytest.param(10_000, marks=pytest.mark.slow)])
def test_scheduler_costs_little_time_and_no_memory_a_row(tmp_path: Path, n_rows: int) -> None:
    paths = Paths(tmp_path / "batch")
    picture, sound = Path("/p.png"), Path("/s.wav")
    settings = RenderSettings()
    pool = LocalPool(make_instant_renderer, ["cpu", "cpu"], tmp_path / "logs")
    with Queue() as queue, Ledger(paths.results) as ledger:
        queue.add_rows(Row(n, f"r{n}", picture, sound, tmp_path / f"{n}.mp4") for n in range(n_rows))
        for row in queue.rows("new"):
            cost = row.number % 97
            queue.accept(
                Task(row.number, row.id, picture, sound, row.output, settings, "", "f", 25, 1.0, cost)
            )
        scheduler = Scheduler(queue, pool, ledger, Policy(), Allowance(), tmp_path)
        memory, n_events, began = 0, 0, time.process_time()
        for n_events, _ in enumerate(scheduler.run()):
            memory = memory or (memory_kib() if n_events == 500 else 0)
        cpu_s = time.process_time() - began
        pool.close()
    assert n_events > n_rows
    assert cpu_s / n_rows < 0.020  # measured: 0.001 s
    assert memory_kib() - memory < 4096
    assert len({record.id for record in read_records(paths.results)}) == n_rows
