import json
from pathlib import Path

import batch_doubles
import pytest
from batch_doubles import InlinePool
from far_store import Store, storing  # noqa: F401

import hallo_cli as hallo
from hallo_cli.batch import batch_events, building, run


@pytest.fixture(autouse=True)
def trivial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "default_check_processes", lambda: 0)
    monkeypatch.setattr(building, "make_pool", lambda devices, logs, spec: InlinePool(spec))
    monkeypatch.setattr(building, "make_engine", batch_doubles.make_engine)
    monkeypatch.setattr(building, "predict", lambda engine, settings, frames: frames / 10)
    monkeypatch.setattr(building, "RowsOptions", lambda *args: RowsOptions(*args, has_gate=False))
    batch_doubles.write_batch(tmp_path, ["a", "b"])
    monkeypatch.chdir(tmp_path)


RowsOptions = building.RowsOptions


def rows(*names: str) -> list[dict[str, object]]:
    return [{"id": name, "portrait": Path(f"{name}.png"), "audio": "speech.wav"} for name in names]


def test_rows_become_videos_and_records() -> None:
    seen: list[batch_events.Event] = []
    records = hallo.render_batch(rows("a", "b"), "week12", progress=seen.append, device="cpu")
    assert [(record.id, record.status) for record in records] == [("a", "done"), ("b", "done")]
    assert Path("week12.videos/a.mp4").is_file()
    assert any(isinstance(event, batch_events.RowEnded) for event in seen)


def test_same_call_goes_on_from_where_it_was() -> None:
    hallo.render_batch(rows("a"), "week12", device="cpu")
    seen: list[batch_events.Event] = []
    records = hallo.render_batch(rows("a", "b"), "week12", progress=seen.append, device="cpu")
    assert [event.record.id for event in seen if isinstance(event, batch_events.RowEnded)] == ["b"]
    assert [record.id for record in records] == ["a", "b"]


def test_bad_row_is_a_record_and_no_exception() -> None:
    Path("b.png").write_text("no picture", encoding="utf-8")
    records = hallo.render_batch(rows("a", "b"), "week12", device="cpu")
    assert [record.status for record in records] == ["done", "invalid"]


def test_row_has_its_own_settings() -> None:
    hallo.render_batch([{**rows("a")[0], "seed": 7}], "week12", output_dir="films", device="cpu")
    assert json.loads(Path("films/a.json").read_text())["settings"]["seed"] == 7


def test_videos_may_go_into_a_store(store: Store) -> None:
    hallo.render_batch(rows("a"), "week12", output_dir="s3://bucket/week", device="cpu")
    assert {"a.mp4", "a.json"} <= store.names


def test_rows_that_cannot_be_are_told() -> None:
    with pytest.raises(hallo.InputError, match="cannot be stored as JSON"):
        hallo.render_batch([{"portrait": object(), "audio": "a.wav"}], "week12")
    with pytest.raises(hallo.SettingsError, match="Did you mean 'steps'"):
        hallo.render_batch(rows("a"), "week12", stepz=3)  # type: ignore[call-arg]
