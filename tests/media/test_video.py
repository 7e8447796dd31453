"""Frames become videos and come out as they went in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hallo_cli.errors import EncoderError, InputError
from hallo_cli.media.probe import probe
from hallo_cli.media.video import SegmentWriter, read_frames, require_encoder
from hallo_cli.media.video_format import VideoFormat
from tests.media.conftest import SMALL, moving_picture, write_segment

Ffmpeg = Callable[..., None]


def test_segment_holds_the_frames(tmp_path: Path) -> None:
    file = write_segment(tmp_path / "a.mp4", 10)
    frames = np.stack(list(read_frames(file)))
    # Half-resolution colour smears the square's edges; elsewhere x264 at crf 18 stays within a few levels.
    assert np.abs(frames.astype(int) - moving_picture(10)).mean() < 2.5


def test_equal_frames_give_equal_bytes(tmp_path: Path) -> None:
    a, b = (write_segment(tmp_path / name, 12).read_bytes() for name in ("a.mp4", "b.mp4"))
    assert a == b


def test_frames_written_in_pieces_give_the_same_bytes(tmp_path: Path) -> None:
    whole = write_segment(tmp_path / "a.mp4", 12).read_bytes()
    with SegmentWriter(tmp_path / "b.mp4", SMALL) as writer:
        for frame in moving_picture(12):
            writer.write(frame[None])
        assert writer.n_frames == 12
        assert writer.commit().read_bytes() == whole


def test_uncommitted_segment_leaves_nothing(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / "a.mp4", SMALL) as writer:
        writer.write(moving_picture(3))
    assert list(tmp_path.iterdir()) == []


def test_failing_encoder_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    video = VideoFormat(width=96, height=64, fps=25.0, codec="libnothing")
    with (
        SegmentWriter(tmp_path / "a", video) as writer,
        pytest.raises(EncoderError, match="libnothing stopped"),
    ):
        writer.commit()
    assert list(tmp_path.iterdir()) == []


def test_encoder_that_dies_midway_is_an_error(tmp_path: Path) -> None:
    video = VideoFormat(width=960, height=640, fps=25.0, codec="libnothing")
    frames = moving_picture(20, width=960, height=640)
    with (
        SegmentWriter(tmp_path / "a", video) as writer,
        pytest.raises(EncoderError, match="libnothing stopped"),
    ):
        writer.write(frames)  # far more than a pipe holds
    assert list(tmp_path.iterdir()) == []


def test_encoder_that_cannot_start_is_found_out_by_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    require_encoder("libx264")
    monkeypatch.setenv("HALLO_FFMPEG", "false")  # a program that fails, whatever it is asked
    require_encoder.cache_clear()
    with pytest.raises(EncoderError, match=r"trial frame.*libx264 stopped.*--codec"):
        require_encoder("libx264")
    require_encoder.cache_clear()


@pytest.mark.parametrize("codec", ["h264_nvenc", "hevc_nvenc"])
@pytest.mark.parametrize(("crf", "expected"), [(0, ["-tune", "lossless"]), (18, ["-cq", "18"])])
def test_quality_zero_is_lossless_on_nvenc_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, crf: int, expected: list[str]
) -> None:
    told = tmp_path / "told"
    encoder = tmp_path / "encoder"
    encoder.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{told}'\nexit 1\n")
    encoder.chmod(0o755)
    monkeypatch.setenv("HALLO_FFMPEG", str(encoder))
    video = VideoFormat(64, 64, 25.0, codec, crf)
    with SegmentWriter(tmp_path / "a.mp4", video) as writer, pytest.raises(EncoderError):
        writer.commit()
    words = told.read_text().split()
    assert words[words.index(expected[0]) + 1] == expected[1]
    assert ("-cq" in words) is (crf > 0)


def test_wrong_frame_size_is_refused(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / "a.mp4", SMALL) as writer, pytest.raises(ValueError, match="not uint8"):
        writer.write(moving_picture(1, width=64))


@pytest.mark.parametrize("size", [(95, 63), (2, 2), (1, 1)])
def test_odd_sizes_are_padded_with_their_last_row_and_column(tmp_path: Path, size: tuple[int, int]) -> None:
    video = VideoFormat(width=size[0], height=size[1], fps=25.0)
    with SegmentWriter(tmp_path / "a.mp4", video) as writer:
        writer.write(np.full((2, size[1], size[0], 3), 128, np.uint8))
        track = probe(writer.commit()).video
    assert next(read_frames(tmp_path / "a.mp4")).min() > 120
    assert track is not None
    assert (track.width, track.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


def test_constant_rate_repeats_and_drops_frames_by_time(segments: list[Path]) -> None:
    assert len(list(read_frames(segments[0], fps=50.0))) == 40
    half = list(read_frames(segments[0], fps=12.5))
    all_frames = list(read_frames(segments[0]))
    assert len(half) == 10
    assert all(np.array_equal(half[i], all_frames[2 * i]) for i in range(10))


def test_turned_video_is_read_upright(segments: list[Path], ffmpeg_run: Ffmpeg) -> None:
    turned = segments[0].with_name("turned.mp4")
    ffmpeg_run("-display_rotation", "90", "-i", segments[0], "-c", "copy", turned)
    flat = next(iter(read_frames(segments[0])))
    assert np.array_equal(next(iter(read_frames(turned))), np.rot90(flat))


def test_what_is_no_video_is_refused(tmp_path: Path, wav: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(InputError, match="cannot be decoded"):
        list(read_frames(tmp_path / "text.mp4"))
    with pytest.raises(InputError, match="no picture"):
        list(read_frames(wav))


def test_hevc_of_quality_nought_is_lossless(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(16, 236, (3, 64, 64, 1), np.uint8).repeat(3, axis=3)
    sizes = {}
    for crf in (0, 1):
        with SegmentWriter(tmp_path / f"{crf}.mp4", VideoFormat(64, 64, 25.0, "libx265", crf)) as writer:
            writer.write(grey)
            writer.commit()
        shown = np.stack(list(read_frames(tmp_path / f"{crf}.mp4"))).astype(int)
        sizes[crf] = np.abs(shown - grey).max()
    assert sizes[0] <= 1 < sizes[1]  # one level: to YUV and back
