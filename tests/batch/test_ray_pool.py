"""The same rows on a Ray cluster of two nodes, one of which is killed in the middle."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_doubles import batch_of, results, run, write_batch

from hallo_cli.batch.batch_events import RowEnded
from hallo_cli.batch.ray_pool import RayPool
from hallo_cli.batch.run import opened
from hallo_cli.media.probe import frame_hashes

pytestmark = pytest.mark.slow
ray = pytest.importorskip("ray", reason="the ray extra is not installed")
TESTS = Path(__file__).parent.parent
ROWS = [f"r{number}" for number in range(12)]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("HALLO_TEST_CLIP_S", "0.2")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_rows_of_a_killed_node_are_finished_by_the_other(tmp_path: Path, cluster: Any) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "ray").mkdir()
    local = write_batch(tmp_path / "local", ROWS)
    run(batch_of(local))
    manifest = write_batch(tmp_path / "ray", ROWS)
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    batch = batch_of(manifest, make_pool=lambda spec: RayPool(spec, ["cpu", "cpu"], address=cluster.address))
    with opened(batch) as open_batch:
        list(open_batch.check())
        n_ended = 0
        for event in open_batch.run():
            n_ended += isinstance(event, RowEnded)
            if n_ended == 3 and second is not None:
                cluster.remove_node(second, allow_graceful=False)
                second = None
                cluster.add_node(num_cpus=1)
    found, expected = results(manifest), results(local)
    assert set(found) == set(expected)
    for name, record in found.items():  # files differ by the time of their signature
        frames = list(frame_hashes(manifest.parent / record.output))
        assert frames == list(frame_hashes(local.parent / expected[name].output)), name
    assert {record.status for record in found.values()} == {"done"}
