from pathlib import Path

import pytest
from file_server import Server, serving  # noqa: F401

from hallo_cli.errors import FarFolderError
from hallo_cli.media import http_put, stores
from hallo_cli.media.http_put import put_over_web

SECRET = "X-Signature=abc123"
LARGE = 20 << 20  # more than sockets hold back


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stores, "PAUSES_S", (0.0, 0.0))
    file = tmp_path / "a.mp4"
    file.write_bytes(b"video " * 1000)
    return file


def test_whole_file_is_sent(server: Server, video: Path) -> None:
    put_over_web(video, server.address(f"/up/a.mp4?{SECRET}"))
    assert server.files["/up/a.mp4"] == video.read_bytes()
    assert server.answers == [201]


def test_failures_that_may_pass_are_tried_again(server: Server, video: Path) -> None:
    server.refusals = [503, 429]
    put_over_web(video, server.address("/a.mp4"))
    assert server.answers == [503, 429, 201]


@pytest.mark.parametrize(("status", "n_tries"), [(403, 1), (413, 1), (307, 1), (500, 3), (507, 3)])
def test_refused_upload_is_told_in_one_line(server: Server, video: Path, status: int, n_tries: int) -> None:
    server.refusals, server.patience = [status] * 5, video.stat().st_size
    with pytest.raises(FarFolderError, match=f"cannot be written: the server answers {status} ") as caught:
        put_over_web(video, server.address(f"/a.mp4?{SECRET}"))
    assert "abc123" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert server.answers == [status] * n_tries
    assert "/a.mp4" not in server.files


def test_refusal_in_the_middle_names_the_status(server: Server, video: Path) -> None:
    video.write_bytes(b"0" * LARGE)
    server.refusals, server.patience = [507] * 3, LARGE - (1 << 20)
    with pytest.raises(FarFolderError, match=r"507|reset"):  # a reset may overtake the answer
        put_over_web(video, server.address("/a.mp4"))
    assert "/a.mp4" not in server.files


def test_server_that_takes_only_a_part_is_not_believed(server: Server, video: Path) -> None:
    video.write_bytes(b"0" * LARGE)
    server.refusals, server.patience = [201] * 3, 1000
    with pytest.raises(FarFolderError, match=r"did not take all of it|reset"):
        put_over_web(video, server.address("/a.mp4"))


def test_unreachable_server_is_told(video: Path) -> None:
    with pytest.raises(FarFolderError, match=r"'http://127.0.0.1:9/a.mp4' cannot be written: "):
        put_over_web(video, f"http://127.0.0.1:9/a.mp4?{SECRET}")


def test_slow_upload_is_given_up(server: Server, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_put, "LONGEST_S", -1.0)
    with pytest.raises(FarFolderError, match="it took more than"):
        put_over_web(video, server.address("/a.mp4"))
    assert "/a.mp4" not in server.files
