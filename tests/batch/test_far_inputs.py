"""Batches whose manifest, portraits and recordings lie on a web server."""

import dataclasses
import json
import shutil
import threading
from pathlib import Path

import pytest
from batch_command import hallo, trivial  # noqa: F401
from batch_doubles import InlinePool, results, write_batch
from file_server import Server, serving  # noqa: F401

from hallo_cli.batch import fetching
from hallo_cli.batch.fetching import near_task
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.places import Layout
from hallo_cli.batch.queue import Queue
from hallo_cli.batch.renderer_spec import RendererSpec
from hallo_cli.batch.rows import BadRow, Row, make_row
from hallo_cli.batch.task import Task
from hallo_cli.cli import batch_build
from hallo_cli.errors import InputError, ManifestError, OutputError
from hallo_cli.jobs.plan import Voice
from hallo_cli.media.addresses import address_in, is_within
from hallo_cli.settings.schema import RenderSettings

OPTIONS = ("--no-quality", "--no-provenance", "--device", "cpu")
SECRET = "X-Signature=abc123"


def serve_batch(server: Server, folder: Path) -> None:
    """Put a batch of two rows onto the server."""
    manifest = write_batch(folder, ["a", "b"])
    server.files = {f"/week/{file.name}": file.read_bytes() for file in folder.glob("*.*")}
    manifest.unlink()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_rows_of_a_far_manifest_are_rendered_here(server: Server, tmp_path: Path, here: Path) -> None:
    serve_batch(server, tmp_path)
    result = hallo(server.address(f"/week/batch.csv?{SECRET}"), *OPTIONS)
    assert result.exit_code == 0
    assert {path.name for path in (here / "batch.videos").glob("*.mp4")} == {"a.mp4", "b.mp4"}
    assert "abc123" not in (here / "batch.results.jsonl").read_text()


def test_each_file_is_fetched_once_for_all_rows(server: Server, tmp_path: Path, here: Path) -> None:
    serve_batch(server, tmp_path)
    address = server.address("/week/batch.csv")
    assert hallo(address, *OPTIONS).exit_code == 0
    assert server.answers == [200] * 4  # manifest, two portraits, one recording
    assert "2 done before" in hallo(address, "--dry-run", *OPTIONS).stdout
    assert server.answers[4:] == [304] * 4
    assert hallo("status", address).stdout.startswith("2 of 2 rows done")


def test_row_that_cannot_be_fetched_is_refused_in_one_line(server: Server, here: Path) -> None:
    write_batch(here, ["a", "b"])
    lines = [
        "id,portrait,audio",
        f"a,{server.address('/none.png')}?{SECRET},speech.wav",
        "b,b.png,speech.wav",
    ]
    (here / "batch.csv").write_text("\n".join(lines))
    assert hallo("batch.csv", *OPTIONS).exit_code == 1
    found = results(here / "batch.csv")
    assert (found["a"].status, found["a"].error, found["b"].status) == ("invalid", "PortraitError", "done")
    assert "the server answers 404" in found["a"].message
    assert "abc123" not in Paths(here / "batch").results.read_text()


def test_unreachable_manifest_is_told_in_one_line(server: Server, here: Path) -> None:
    result = hallo("http://127.0.0.1:9/batch.csv", *OPTIONS)
    assert isinstance(result.exception, ManifestError)
    assert "the manifest 'http://127.0.0.1:9/batch.csv' cannot be fetched" in str(result.exception)
    assert not list(here.iterdir())


def test_plan_and_report_name_addresses_without_their_query(
    server: Server, tmp_path: Path, here: Path
) -> None:
    serve_batch(server, tmp_path)
    speech = server.address("/week/speech.wav")
    line = {"id": "a", "portrait": server.address(f"/week/a.png?{SECRET}"), "audio": speech}
    (here / "batch.jsonl").write_text(json.dumps(line) + "\n")
    plan = hallo("batch.jsonl", "--dry-run", "--json", *OPTIONS).stdout
    assert json.loads(plan.splitlines()[0])["portrait"] == server.address("/week/a.png")
    assert hallo("batch.jsonl", *OPTIONS).exit_code == 0
    assert hallo("report", "batch.jsonl").exit_code == 0
    assert speech in (here / "batch.report.csv").read_text()
    assert "abc123" not in (here / "batch.report.html").read_text()


def write_rows_with_settings(server: Server, here: Path, background: str, subtitles: str) -> None:
    """A batch whose first row names a background and whose second names subtitles on the server."""
    write_batch(here, ["a", "b"])
    server.files |= {
        "/b.png": (here / "a.png").read_bytes(),
        "/words.srt": b"1\n00:00:00,000 --> 00:00:01,000\nHello\n",
    }
    rows: list[dict[str, object]] = [
        {"portrait": "a.png", "canvas": "64x64", "fit": "pad", "background": server.address(background)},
        {"portrait": "b.png", "subtitles": server.address(subtitles)},
    ]
    lines = [json.dumps({"audio": "speech.wav", **row}) for row in rows]
    (here / "batch.jsonl").write_text("\n".join(lines))


def test_backgrounds_and_subtitles_of_rows_are_fetched(server: Server, here: Path) -> None:
    write_rows_with_settings(server, here, f"/b.png?{SECRET}", f"/words.srt?{SECRET}")
    assert hallo("batch.jsonl", *OPTIONS).exit_code == 0
    assert server.answers == [200, 200]
    assert "2 done before" in hallo("batch.jsonl", "--dry-run", *OPTIONS).stdout
    server.files["/words.srt"] += b"2\n00:00:01,000 --> 00:00:02,000\nYou\n"
    assert "1 done before" in hallo("batch.jsonl", "--dry-run", *OPTIONS).stdout
    hallo("report", "batch.jsonl")
    for file in ("batch.results.jsonl", "batch.report.html", "batch.report.csv"):
        assert "abc123" not in (here / file).read_text()


def test_row_whose_background_or_subtitles_cannot_be_fetched_is_refused(server: Server, here: Path) -> None:
    write_rows_with_settings(server, here, "/none.png", "/none.srt")
    assert hallo("batch.jsonl", *OPTIONS).exit_code == 1
    first, second = results(here / "batch.jsonl").values()
    assert (first.error, second.error) == ("InputError", "InputError")
    assert first.message.startswith("the background 'http://")
    assert second.message.startswith("the subtitles 'http://")


def test_worker_fetches_what_its_machine_lacks(
    server: Server, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_batch(server, here)
    write_rows_with_settings(server, here, "/b.png", "/words.srt")
    server.files["/week/batch.jsonl"] = (here / "batch.jsonl").read_bytes()

    def pool_elsewhere(options: object, devices: object, spec: RendererSpec) -> InlinePool:
        shutil.rmtree(tmp_path / "cache/far")
        return InlinePool(spec)

    monkeypatch.setattr(batch_build, "make_pool", pool_elsewhere)
    hallo(server.address("/week/batch.jsonl"), *OPTIONS)
    assert [record.message for record in results(here / "batch.jsonl").values()] == ["", ""]
    assert {record.status for record in results(here / "batch.jsonl").values()} == {"done"}


def test_recordings_of_several_faces_are_fetched_and_mixed(server: Server, here: Path) -> None:
    write_batch(here, ["a"])
    server.files["/speech.wav"] = (here / "speech.wav").read_bytes()
    gone = Path("/nowhere/x.wav")
    task = Task(1, "a", here / "a.png", gone, here / "a.mp4", RenderSettings(), "", "f", 25, 1.0, 1.0)
    far = {f"face_{face}": server.address("/speech.wav") for face in (1, 2)}
    near = near_task(dataclasses.replace(task, voices=(Voice(1, gone), Voice(2, gone)), far=far))
    assert near.audio.exists()
    assert [voice.audio.read_bytes() for voice in near.voices] == [server.files["/speech.wav"]] * 2
    assert near_task(near) == near


def test_background_of_all_rows_is_fetched_before_them(server: Server, tmp_path: Path, here: Path) -> None:
    write_batch(here, ["a", "b"])
    server.files["/b.png"] = (here / "a.png").read_bytes()
    on_it = ("--canvas", "64x64", "--fit", "pad", "--background", server.address(f"/b.png?{SECRET}"))
    assert hallo("batch.csv", *on_it, *OPTIONS).exit_code == 0
    assert server.answers == [200]
    assert "abc123" not in (here / "batch.results.jsonl").read_text()
    assert "2 done before" in hallo("batch.csv", "--dry-run", *on_it, *OPTIONS).stdout
    server.files.clear()
    result = hallo("batch.csv", "--dry-run", *on_it, *OPTIONS)
    assert isinstance(result.exception, InputError)
    assert "the server answers 404" in str(result.exception)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"portrait": "https://other.example/a.png"}, "lies outside https://host/week, which --confine"),
        ({"portrait": "../a.png"}, "lies outside https://host/week, which --confine"),
        ({"portrait": "/etc/a.png"}, "lies outside https://host/week, which --confine"),
        ({"portrait": "https://host/week/%2e%2e/a.png"}, "lies outside https://host/week, which --confine"),
        ({"portrait": "rtsp://host/week/a.png"}, "only https, http, s3, gs, "),
        ({"background": "../b.png"}, "lies outside https://host/week, which --confine"),
        ({"subtitles": "/etc/a.srt"}, "lies outside https://host/week, which --confine"),
        ({"output": "s3://bucket/a.mp4?sig=1"}, "output 's3://bucket/a.mp4' is an address: give a name"),
    ],
)
def test_far_rows_that_may_not_be_used_are_refused(cells: dict[str, str], said: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path, is_confined=True, far_root="https://host/week")
    row = make_row(1, {"portrait": "a.png", "audio": "b.wav", **cells}, layout)
    assert isinstance(row, BadRow)
    assert said in row.message


def test_names_come_from_addresses(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path, "{portrait}-{audio}.mp4")
    row = make_row(1, {"portrait": "https://host/x/anna%20b.png?sig=1", "audio": "s3://b/01.wav"}, layout)
    assert isinstance(row, Row)
    assert (row.id, row.output.name) == ("anna b_01", "anna b-01.mp4")
    assert row.sources["audio"] == "s3://b/01.wav"


def test_ids_hold_no_query_of_an_address(tmp_path: Path) -> None:
    cells = {"portrait": "a.png", "audio": "b.wav", "subtitles": f"https://host/x/words.srt?{SECRET}"}
    row = make_row(1, cells, Layout(tmp_path, tmp_path))
    assert isinstance(row, Row)
    assert row.id == "a_b_subtitles=words"


def test_addresses_are_joined_and_compared() -> None:
    assert address_in("https://host/x%20y", "faces/anna b.png") == "https://host/x%20y/faces/anna%20b.png"
    assert address_in("s3://bucket", "faces/anna b.png") == "s3://bucket/faces/anna b.png"
    assert is_within("s3://bucket/week/a.png", "s3://bucket/week/")
    assert not is_within("s3://bucket/weekend/a.png", "s3://bucket/week")
    assert not is_within("s3://other/week/a.png", "s3://bucket/week")


def test_error_that_all_files_have_ends_the_batch_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, fetched = threading.Event(), list[str]()

    def near(address: str, error: type[InputError], what: str) -> Path:
        if "full" in address:
            raise OutputError("the cache cannot be written.")
        released.wait(5)
        fetched.append(address)
        return tmp_path

    monkeypatch.setattr(fetching, "near_path", near)
    far = {"portrait": "https://x/slow.png", "audio": "https://x/full.wav"}
    row = Row(2, "a", tmp_path / "p.far", tmp_path / "a.far", tmp_path / "a.mp4", far=far)
    with Queue() as queue:
        queue.add_rows([row])
        try:
            with pytest.raises(OutputError, match="the cache"):
                list(fetching.fetch_inputs(queue))
            assert not fetched
        finally:
            released.set()
