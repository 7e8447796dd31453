"""Which rows the scheduler gives to a worker together."""

from pathlib import Path

from hallo_cli.batch.budget import Allowance
from hallo_cli.batch.ledger import Ledger, read_records
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.rows import Row
from hallo_cli.batch.scheduler import Policy, Scheduler
from hallo_cli.batch.task import Began, Died, Ended, Message, Rendered, Task
from hallo_cli.settings.schema import RenderSettings


class DyingOnce:
    """One worker, which dies while it prepares its first row, and renders everything afterwards."""

    slots = ("cpu",)

    def __init__(self) -> None:
        self.held: list[Task] = []
        self.beside_suspects: list[int] = []  # how many rows the worker holds when it has a suspect
        self.has_died = False

    def send(self, slot: str, task: Task) -> None:
        self.held.append(task)
        if any(one.is_alone for one in self.held):
            self.beside_suspects.append(len(self.held))

    def wait(self, timeout_s: float) -> list[tuple[str, Message]]:
        first, *rest = self.held
        if self.has_died:
            self.held = rest
            return [("cpu", Ended(first.number, Rendered(first.frames, first.seconds, 42)))]
        self.held, self.has_died = [], True
        return [("cpu", Began(first.number, "prepare")), ("cpu", Died("it was ended by SIGKILL"))]

    def stop(self) -> None: ...

    def log(self, slot: str) -> Path | None:
        return None

    def close(self) -> None: ...


def test_row_that_may_have_killed_its_worker_has_the_next_one_for_itself(tmp_path: Path) -> None:
    pool, picture = DyingOnce(), Path("/p.png")
    with Queue() as queue, Ledger(tmp_path / "ledger") as ledger:
        queue.add_rows(Row(n, f"r{n}", picture, picture, tmp_path / f"{n}.mp4") for n in range(3))
        for n in range(3):
            output, settings = tmp_path / f"{n}.mp4", RenderSettings()
            queue.accept(Task(n, f"r{n}", picture, picture, output, settings, "", "f", 25, 1.0, -n))
        list(Scheduler(queue, pool, ledger, Policy(), Allowance(), tmp_path).run())
    assert pool.beside_suspects == [1]
    assert {record.id: record.attempts for record in read_records(tmp_path / "ledger")} == {
        "r0": 2,
        "r1": 1,
        "r2": 1,
    }
