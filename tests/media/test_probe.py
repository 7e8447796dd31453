"""What is in a file is counted, not believed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hallo_cli.errors import EncoderError, InputError, SettingsError
from hallo_cli.media import ffmpeg
from hallo_cli.media.ffmpeg import encoders, find_ffmpeg
from hallo_cli.media.probe import probe
from hallo_cli.media.video import require_encoder


def test_recording_is_described(wav: Path) -> None:
    info = probe(wav)
    assert info.video is None
    assert info.audio is not None
    assert (info.audio.codec, info.audio.sample_rate, info.audio.n_channels) == ("pcm_f32le", 48_000, 2)
    assert info.audio.duration_s == 2.0


def test_cover_picture_is_no_video(wav: Path, ffmpeg_run: Callable[..., None]) -> None:
    cover, song = wav.with_name("c.png"), wav.with_name("s.mp3")
    ffmpeg_run("-f", "lavfi", "-i", "testsrc=d=1:s=64x64", "-frames:v", "1", cover)
    ffmpeg_run("-i", wav, "-i", cover, "-map", "0", "-map", "1", "-c:v", "copy", song)
    assert probe(song).video is None


def test_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("hello")
    with pytest.raises(InputError, match="cannot be read"):
        probe(tmp_path / "a.mp4")


def test_named_ffmpeg_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "my ffmpeg"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("HALLO_FFMPEG", str(program))
    assert find_ffmpeg() == program


def test_wrongly_named_ffmpeg_is_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HALLO_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(SettingsError, match="HALLO_FFMPEG"):
        find_ffmpeg()


def test_ffmpeg_on_the_path_comes_before_the_bundled_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HALLO_FFMPEG", raising=False)
    stub(tmp_path, "libx264", "aac")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg() == tmp_path / "ffmpeg"
    monkeypatch.setenv("PATH", "")
    assert "imageio_ffmpeg" in str(find_ffmpeg())


@pytest.mark.parametrize("has", [("aac", "mpeg4"), ("libx264",), ()])
def test_ffmpeg_on_the_path_that_cannot_do_the_job_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has: tuple[str, ...]
) -> None:
    monkeypatch.delenv("HALLO_FFMPEG", raising=False)
    stub(tmp_path, *has)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "imageio_ffmpeg" in str(find_ffmpeg())


def test_ffmpeg_on_the_path_without_the_codec_that_is_asked_for_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HALLO_FFMPEG", raising=False)
    stub(tmp_path, "libx264", "aac")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg("libx264") == tmp_path / "ffmpeg"
    assert "imageio_ffmpeg" in str(find_ffmpeg("libx265"))


def test_named_ffmpeg_that_cannot_do_the_job_is_told_how_to_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stub(tmp_path, "mpeg4")
    monkeypatch.setenv("HALLO_FFMPEG", str(tmp_path / "ffmpeg"))
    require_encoder.cache_clear()
    with pytest.raises(EncoderError, match="HALLO_FFMPEG"):
        require_encoder("libx264")
    require_encoder.cache_clear()


def stub(folder: Path, *encoders: str) -> None:
    """An ffmpeg that lists these encoders and can do nothing."""
    listed = "\n".join([" ------", *(f" V....D {name} a codec" for name in encoders)])
    (folder / "ffmpeg").write_text(
        f"#!/bin/sh\ntest \"$2\" = -encoders && echo '{listed}' && exit 0\nexit 1\n"
    )
    (folder / "ffmpeg").chmod(0o755)


def test_ffmpeg_that_does_not_run_is_an_encoder_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("HALLO_FFMPEG", str(broken))
    with pytest.raises(EncoderError, match="does not run"):
        ffmpeg.describe_ffmpeg()


def test_encoders_are_listed() -> None:
    assert {"libx264", "aac"} <= encoders()
