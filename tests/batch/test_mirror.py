"""Batches whose videos and ledger go into an object store: here fsspec's store in memory."""

from pathlib import Path

import pytest
from batch_command import hallo, trivial  # noqa: F401
from batch_doubles import results, write_batch
from far_store import Store, storing  # noqa: F401
from typer.testing import Result

from hallo_cli.batch import mirror
from hallo_cli.errors import FarFolderError, OutputError, SettingsError

FOLDER = "s3://bucket/week"


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Path, Path]:
    """The manifests of the same batch on two machines."""
    folders = tmp_path / "one", tmp_path / "other"
    for folder in folders:
        folder.mkdir()
    return write_batch(folders[0], ["a", "b"]), write_batch(folders[1], ["a", "b"])


def run(manifest: Path, *options: str) -> Result:
    return hallo(
        manifest, "--output-dir", FOLDER, "--no-quality", "--no-provenance", "--device", "cpu", *options
    )


def videos(manifest: Path) -> set[str]:
    return {path.name for path in manifest.with_suffix(".videos").glob("*.mp4")}


def test_another_machine_renders_nothing_again(store: Store, machines: tuple[Path, Path]) -> None:
    assert run(machines[0]).exit_code == 0
    assert {"a.mp4", "a.json", "b.mp4", "b.json"} <= store.names
    assert run(machines[1]).exit_code == 0
    assert videos(machines[1]) == set()
    assert results(machines[1]) == results(machines[0])


def test_another_machine_renders_what_is_left(store: Store, machines: tuple[Path, Path]) -> None:
    run(machines[0], "--only", "a")
    assert run(machines[1]).exit_code == 0
    assert videos(machines[1]) == {"b.mp4"}
    assert "2 done before" in run(machines[0], "--dry-run").stdout


def test_video_that_no_ledger_knows_is_not_rendered_again(store: Store, machines: tuple[Path, Path]) -> None:
    run(machines[0])
    store.remove("batch.results/*")  # as if the machine died before it wrote them
    assert run(machines[1]).exit_code == 0
    records = [manifest.with_suffix(".videos") / "a.json" for manifest in machines]
    assert records[0].read_bytes() == records[1].read_bytes()


def test_full_bucket_ends_the_batch_and_keeps_the_video(store: Store, machines: tuple[Path, Path]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mirror.Mirror, "put_part", lambda *_: None)
        store.refusal = OSError("QuotaExceeded\nmore")
        result = run(machines[0], "--only", "a")
    assert isinstance(result.exception, OutputError)
    assert f"'{FOLDER}' cannot be written: QuotaExceeded." in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not any(name.endswith("mp4") for name in store.names)
    assert results(machines[0]) == {}
    made = (machines[0].with_suffix(".videos") / "a.json").read_bytes()
    store.refusal = None
    assert run(machines[0], "--only", "a").exit_code == 0
    assert (machines[0].with_suffix(".videos") / "a.json").read_bytes() == made
    assert "a.mp4" in store.names


def test_refused_keys_end_the_batch_before_it_renders(store: Store, machines: tuple[Path, Path]) -> None:
    store.refusal = PermissionError("Forbidden")
    result = run(machines[0])
    assert isinstance(result.exception, FarFolderError)
    assert "access is denied" in str(result.exception)
    assert videos(machines[0]) == set()


def test_changed_row_is_replaced_there(store: Store, machines: tuple[Path, Path]) -> None:
    run(machines[0])
    before = store.files.cat("/bucket/week/a.json")
    machines[1].write_text("id,portrait,audio,seed\na,a.png,speech.wav,5\nb,b.png,speech.wav,\n")
    assert run(machines[1]).exit_code == 0
    assert videos(machines[1]) == {"a.mp4"}
    assert store.files.cat("/bucket/week/a.json") != before


def test_video_that_is_gone_there_is_put_there_again(store: Store, machines: tuple[Path, Path]) -> None:
    run(machines[0])
    store.remove("a.mp4")
    assert run(machines[0]).exit_code == 0
    assert "a.mp4" in store.names


def test_video_of_another_size_there_is_put_there_again(store: Store, machines: tuple[Path, Path]) -> None:
    run(machines[0])
    whole = store.files.cat("/bucket/week/a.mp4")
    store.files.pipe("/bucket/week/a.mp4", whole[:-1])
    assert run(machines[0]).exit_code == 0
    assert len(store.files.cat("/bucket/week/a.mp4")) == len(whole)


def test_ledger_goes_there_in_parts(
    store: Store, machines: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PART_LINES", 2)
    run(machines[0])
    assert len([name for name in store.names if name.endswith("jsonl")]) == 2
    run(machines[1], "--only", "a")
    assert results(machines[1]) == results(machines[0])


def test_dry_run_writes_nothing(store: Store, machines: tuple[Path, Path]) -> None:
    run(machines[0], "--only", "a")
    there, here = store.names, set(machines[1].parent.iterdir())
    assert "1 done before" in run(machines[1], "--dry-run").stdout
    assert (store.names, set(machines[1].parent.iterdir())) == (there, here)


def test_shards_on_machines_without_a_shared_disk_make_one_batch(
    store: Store, machines: tuple[Path, Path]
) -> None:
    run(machines[0], "--shard", "1/2")
    run(machines[1], "--shard", "2/2")
    assert "2 done before" in run(machines[0], "--dry-run").stdout


def test_row_whose_video_would_lie_elsewhere_is_refused(store: Store, machines: tuple[Path, Path]) -> None:
    machines[0].write_text(
        "id,portrait,audio,output\na,a.png,speech.wav,../a.mp4\nb,b.png,speech.wav,b.mp4\n"
    )
    assert run(machines[0]).exit_code == 1
    assert "lies outside" in results(machines[0])["a"].message
    assert "b.mp4" in store.names


def test_web_server_takes_no_videos(machines: tuple[Path, Path]) -> None:
    result = hallo(machines[0], "--output-dir", "https://host/week", "--device", "cpu")
    assert isinstance(result.exception, SettingsError)
    assert "'https://host/week' cannot hold the videos of a batch" in str(result.exception)
