"""Twelve rows of the shipped example with the embedded weights: one worker, two workers, a Ray cluster."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hallo_cli
from hallo_cli.batch.batch_events import BatchPlanned, RowEnded
from hallo_cli.batch.ledger import Record, read_records
from hallo_cli.batch.report import ReportOptions, write_page
from hallo_cli.batch.run import Batch, opened
from hallo_cli.batch.states import Counts
from hallo_cli.cli.batch_build import build_batch
from hallo_cli.cli.batch_options import BatchOptions
from hallo_cli.media.probe import frame_hashes, probe
from hallo_cli.settings.resolve import Sources

pytestmark = pytest.mark.slow
EXAMPLES = Path(hallo_cli.__file__).parent / "assets" / "examples"
# One thread a worker: how many there are may change the last bit of a sum, and these runs are compared.
FLAGS = {"duration": "0.6", "threads": "1", "device": "cpu"}
SHORT_FRAMES = 15
CELLS: dict[str, dict[str, str]] = {
    "first": {},
    "second": {"audio": "1"},
    "third": {"audio": "2"},
    "other-seed": {"seed": "7"},
    "still": {"preset": "still"},
    "full": {"framing": "full"},
    "shoulders": {"framing": "head-and-shoulders"},
    "loud-lips": {"lip_weight": "1.5"},
    "still-head": {"pose_weight": "0.3"},
    "later": {"start": "1.0", "seed": "3"},
    "one-step": {"steps": "1"},
    "longer": {"duration": "1.0", "audio": "1"},
}


def write_manifest(folder: Path) -> Path:
    recordings = sorted(EXAMPLES.glob("*.wav"))
    (portrait,) = EXAMPLES.glob("*.png")
    columns = sorted({column for cells in CELLS.values() for column in cells} - {"audio"})
    manifest = folder / "batch.csv"
    with manifest.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["id", "portrait", "audio", *columns])
        table.writeheader()
        for name, cells in CELLS.items():
            audio = recordings[int(cells.get("audio", "0"))]
            table.writerow({**cells, "id": name, "portrait": portrait, "audio": audio})
    return manifest


def batch_in(folder: Path, **options: Any) -> Batch:
    folder.mkdir()
    typed = BatchOptions(manifest=str(write_manifest(folder)), **options)
    return build_batch(typed.with_settings(Sources(dict(FLAGS))))


def run(batch: Batch) -> Iterator[object]:
    with opened(batch) as open_batch:
        list(open_batch.check())
        yield from open_batch.run()


def records_of(batch: Batch) -> dict[str, Record]:
    return {record.id: record for record in read_records(batch.paths.results)}


def frames_of(batch: Batch) -> dict[str, list[str]]:
    """The frames of each row: whole files differ in their signatures."""
    folder = batch.paths.base.parent
    return {name: list(frame_hashes(folder / record.output)) for name, record in records_of(batch).items()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """The rows rendered by one worker."""
    batch = batch_in(tmp_path_factory.mktemp("alone") / "batch")
    list(run(batch))
    return batch


def test_twelve_rows_are_rendered_and_measured(alone: Batch) -> None:
    records = records_of(alone)
    assert records.keys() == CELLS.keys()
    assert all(record.is_rendered for record in records.values()), records
    for name, record in records.items():
        track = probe(alone.paths.base.parent / record.output, what="video").video
        assert track is not None
        assert track.n_frames == record.frames == (25 if name == "longer" else SHORT_FRAMES)
        assert "identity" in record.quality
    assert len({record.sha256 for record in records.values()}) == len(CELLS)


def test_rows_that_are_done_are_not_rendered_again(alone: Batch) -> None:
    (plan,) = (event for event in run(alone) if isinstance(event, BatchPlanned))
    assert (plan.ready, plan.skipped + plan.left_out) == (0, len(CELLS))


def test_report_shows_every_row(alone: Batch, tmp_path: Path) -> None:
    options = ReportOptions("x", alone.paths.base.parent, Counts(len(CELLS), done=len(CELLS)))
    write_page(tmp_path / "page.html", records_of(alone).values(), options)
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("data:video/mp4;base64,") == len(CELLS)


def test_two_workers_make_the_videos_of_one(alone: Batch, tmp_path: Path) -> None:
    batch = batch_in(tmp_path / "two", jobs=2, has_gate=False)
    list(run(batch))
    assert {record.worker for record in records_of(batch).values()} == {"cpu-1", "cpu-2"}
    assert frames_of(batch) == frames_of(alone)


@pytest.mark.filterwarnings("ignore")
def test_cluster_that_loses_a_node_makes_the_same_videos(alone: Batch, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="the ray extra is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        batch = batch_in(
            tmp_path / "ray",
            engine="ray",
            address=cluster.address,
            devices="cpu",
            jobs=2,
            has_gate=False,
        )
        n_ended = 0
        for event in run(batch):
            n_ended += isinstance(event, RowEnded)
            if n_ended == 3 and second is not None:
                cluster.remove_node(second, allow_graceful=False)
                second = None
                cluster.add_node(num_cpus=1)
        assert frames_of(batch) == frames_of(alone)
    finally:
        ray.shutdown()
        cluster.shutdown()
