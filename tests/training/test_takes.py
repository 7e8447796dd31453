"""Takes survive the way to disk and back; broken shards are named."""

import io
import json
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hallo_cli.errors import InputError, OutputError
from hallo_cli.store.opening import part_path
from hallo_cli.training.takes import (
    ORIGIN,
    Take,
    TakeInfo,
    note_origin,
    read_takes,
    require_same_origin,
    shards_in,
    write_takes,
)

INFO = TakeInfo(
    n_frames=2, fps=25.0, size=8, source="test", face_box=(1, 1, 7, 7), lip_box=(3, 5, 5, 6), reference="own"
)


def take(key: str = "a-1") -> Take:
    return Take(
        key=key,
        info=INFO,
        frames=(b"one", b"two"),
        wav=b"sound",
        landmarks=np.ones((478, 2), np.float32),
        reference=b"portrait",
        truth={"blink": np.array([0.0, 1.0], np.float32)},
        identity=np.zeros(512, np.float32),
    )


def test_takes_come_back_as_they_were(tmp_path: Path) -> None:
    assert write_takes(tmp_path / "train-000000.tar", [take("a"), take("b")]) == 2
    assert write_takes(tmp_path / "train-000001.tar", [take("c")]) == 1
    assert write_takes(tmp_path / "train-000002.tar", []) == 0
    shards = shards_in(tmp_path)
    assert [s.name for s in shards] == ["train-000000.tar", "train-000001.tar"]
    takes = [t for shard in shards for t in read_takes(shard)]
    assert [t.key for t in takes] == ["a", "b", "c"]
    assert takes[0].info == INFO
    assert takes[0].frames == (b"one", b"two")
    assert takes[0].reference == b"portrait"
    assert takes[0].truth["blink"].tolist() == [0.0, 1.0]
    assert takes[0].landmarks.shape == (478, 2)


def test_a_shard_cut_short_by_an_error_has_no_final_name(tmp_path: Path) -> None:
    def some() -> Iterator[Take]:
        yield take()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_takes(tmp_path / "train-000000.tar", some())
    assert not list(tmp_path.iterdir())


def test_an_error_of_making_takes_is_not_told_as_one_of_writing(tmp_path: Path) -> None:
    def some() -> Iterator[Take]:
        yield take()
        raise FileNotFoundError("no such speaker")

    with pytest.raises(FileNotFoundError, match="no such speaker"):
        write_takes(tmp_path / "train-000000.tar", some())
    assert not list(tmp_path.iterdir())


def test_a_shard_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    part_path(tmp_path / "train-000000.tar").mkdir()
    with pytest.raises(OutputError, match=r"train-000000\.tar cannot be written"):
        write_takes(tmp_path / "train-000000.tar", [take()])


def test_shards_of_other_settings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a-000000.tar").touch()
    note_origin(tmp_path, {"seed": 1})
    require_same_origin(tmp_path, {"seed": 1})
    with pytest.raises(InputError, match="seed 1, now it is 2: choose another folder"):
        require_same_origin(tmp_path, {"seed": 2})


def test_a_note_counts_once_there_are_shards(tmp_path: Path) -> None:
    note_origin(tmp_path, {"seed": 1})
    require_same_origin(tmp_path, {"seed": 2})  # nothing there that it could be mixed with
    (tmp_path / "a-000000.tar").touch()
    with pytest.raises(InputError, match="seed 1, now it is 2"):
        require_same_origin(tmp_path, {"seed": 2})


def test_shards_without_a_note_are_taken_to_be_right(tmp_path: Path) -> None:
    (tmp_path / "a-000000.tar").touch()
    require_same_origin(tmp_path, {"seed": 1})
    assert not (tmp_path / ORIGIN).exists()


def test_a_key_cannot_leave_the_shard(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="take key"):
        write_takes(tmp_path / "train-000000.tar", [take("../x")])
    assert not list(tmp_path.iterdir())


def test_a_truncated_shard_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "train-000000.tar"
    write_takes(path, [take()])
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(InputError, match="train-000000"):
        list(read_takes(path))


def test_a_missing_frame_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "train-000000.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("a.json")
        member.size = len(INFO.to_json())
        tar.addfile(member, io.BytesIO(INFO.to_json().encode()))
    with pytest.raises(InputError, match="take a is incomplete"):
        list(read_takes(path))


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no NAME"):
        shards_in(tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [{"n_frames": 10**9}, {"fps": 0}, {"size": 8.5}, {"lip_box": [0, 0, 1, math.nan]}, {"reference": "none"}],
    ids=str,
)
def test_metadata_out_of_range_is_an_error(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        TakeInfo.from_json(json.dumps({**json.loads(INFO.to_json()), **wrong}))
