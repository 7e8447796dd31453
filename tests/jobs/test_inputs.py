from pathlib import Path

import pytest
from file_server import Server, serving  # noqa: F401

from hallo_cli.errors import InputError
from hallo_cli.jobs.inputs import with_near_files
from hallo_cli.settings.schema import RenderSettings


def test_background_and_subtitles_at_addresses_are_fetched_once(server: Server) -> None:
    server.files |= {"/b.png": b"picture", "/a.srt": b"words"}
    settings = RenderSettings(background=server.address("/b.png"), subtitles=server.address("/a.srt"))
    near = with_near_files(settings)
    assert with_near_files(settings) == near
    assert server.answers == [200, 200, 304, 304]
    assert near.subtitles is not None
    assert (Path(near.background).read_bytes(), Path(near.subtitles).read_bytes()) == (b"picture", b"words")


def test_files_here_get_absolute_paths_and_colours_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    near = with_near_files(RenderSettings(background="#ff8800", subtitles="a.srt"))
    assert (near.background, near.subtitles) == ("#ff8800", str(tmp_path / "a.srt"))


def test_subtitles_that_cannot_be_fetched_are_told(server: Server) -> None:
    with pytest.raises(InputError, match=r"^the subtitles .*none.srt' cannot be fetched: the server"):
        with_near_files(RenderSettings(subtitles=server.address("/none.srt")))
