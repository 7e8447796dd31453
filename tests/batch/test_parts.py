"""Long rows rendered in parts side by side."""

import inspect
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from batch_doubles import batch_of, results, run, write_batch

from hallo_cli.batch import join
from hallo_cli.batch.batch_events import RowStarted
from hallo_cli.batch.ledger import read_records
from hallo_cli.batch.parts import blended, cut
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.scheduler import Policy
from hallo_cli.batch.task import Part
from hallo_cli.domain import Bytes
from hallo_cli.errors import EncoderError
from hallo_cli.evaluation.measure_video import joins_of
from hallo_cli.media.probe import probe


def video(*levels: int) -> Generator[Bytes]:
    for level in levels:
        yield np.full((2, 2, 3), level, np.uint8)


@pytest.mark.parametrize("n_frames", [1, 99, 100, 101, 250, 1001])
def test_parts_cover_every_frame_once(n_frames: int) -> None:
    parts = cut(n_frames, part_frames=100, lead=5)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == n_frames
    assert max(part.stop - part.start for part in parts) <= 100
    assert [part.lead for part in parts] == [0] + [5] * (len(parts) - 1)


def test_overlap_is_faded_from_one_part_to_the_next() -> None:
    parts = [Part(0, 5, 0), Part(5, 8, 3), Part(8, 11, 3)]
    videos = [video(*[0] * 6), video(*[100] * 6), video(*[200] * 6)]  # the first holds one frame too many
    frames = list(blended(videos, parts))
    assert [inspect.getgeneratorstate(one) for one in videos] == [inspect.GEN_CLOSED] * 3
    levels = [int(frame[0, 0, 0]) for frame in frames]
    assert len(levels) == 11
    assert levels[:2] == [0, 0]
    assert levels[8:] == [200] * 3
    assert 0 < levels[2] < levels[3] < levels[4] < 100 < levels[5] < levels[6] < levels[7] < 200


def test_part_that_is_too_short_is_an_error() -> None:
    parts = [Part(0, 5, 0), Part(5, 8, 2)]
    with pytest.raises(EncoderError, match="part 1 ends after 4 of 5 frames"):
        list(blended([video(*[0] * 5), video(*[0] * 4)], parts))


def test_compute_time_of_a_part_without_a_record_is_not_counted(tmp_path: Path) -> None:
    assert join._seconds_of([tmp_path / "part.mp4"]) == 0


def test_row_is_rendered_in_parts_by_several_workers(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "bug"], seconds=2.0)
    events = run(batch_of(manifest, workers=2, has_parallel_parts=True, policy=Policy(retries=0)))
    record = results(manifest)["a"]
    assert (record.status, record.frames) == ("done", 50)
    track = probe(tmp_path / record.output, what="video").video
    assert track is not None
    assert track.n_frames == 50
    assert joins_of(tmp_path / "batch.videos" / "a.mp4") == (0, 17, 33)
    started = {event.id for event in events if isinstance(event, RowStarted)}
    assert {f"a part {n}" for n in (1, 2, 3)} <= started
    assert results(manifest)["bug"].status == "error"
    assert results(manifest)["bug"].message.startswith("bug part")
    paths = Paths(manifest.with_suffix(""))
    logs = [log.name for log in paths.folder.glob("logs/row-*")]
    assert logs == [f"row-{results(manifest)['bug'].row:06d}.log"]  # the row's, not the part's
    ledger = paths.results
    assert sorted(record.id for record in read_records(ledger)) == ["a", "bug"]
    again = run(batch_of(manifest, has_parallel_parts=True, policy=Policy(retries=0)))
    assert not any(event.id.startswith("a") for event in again if isinstance(event, RowStarted))
