from pathlib import Path

import av
import numpy as np
import pytest

from hallo_cli.errors import EncoderError, InputError
from hallo_cli.media import subtitles
from hallo_cli.media.joining import assemble
from hallo_cli.media.probe import frame_hashes, probe
from hallo_cli.media.subtitles import (
    Cue,
    add_subtitles,
    burn_subtitles,
    cut_out,
    read_subtitles,
    require_burning,
)
from hallo_cli.media.video import SegmentWriter, read_frames
from hallo_cli.media.video_format import VideoFormat

SRT = """1
00:00:00,000 --> 00:00:01,500
Good morning,
<i>everybody</i>.

2
00:00:01.750 --> 00:00:03,000
Schöne Grüße
"""


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("text", [SRT, SRT.replace("\n", "\r\n"), "\ufeff" + SRT + "\n\n\n"])
def test_cues_are_read_as_programs_write_them(tmp_path: Path, text: str) -> None:
    cues = read_subtitles(write(tmp_path / "a.srt", text))
    assert cues == [Cue(0, 1.5, "Good morning,\n<i>everybody</i>."), Cue(1.75, 3, "Schöne Grüße")]


@pytest.mark.parametrize("text", ["", "hello", "1\nhello\nthere", "1\n00:00 --> 00:01\nhello"])
def test_what_is_no_subtitles_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="subtitles"):
        read_subtitles(write(tmp_path / "a.srt", text))


def test_text_in_another_coding_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_bytes(SRT.encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        read_subtitles(tmp_path / "a.srt")


def test_cues_follow_the_rendered_stretch() -> None:
    cues = [Cue(0, 1, "gone"), Cue(1, 3, "cut"), Cue(4, 5, "whole"), Cue(6, 9, "ends"), Cue(20, 21, "later")]
    assert cut_out(cues, 2, 5) == [Cue(0, 1, "cut"), Cue(2, 3, "whole"), Cue(4, 5, "ends")]


def test_video_gets_a_track_and_keeps_its_frames(tmp_path: Path) -> None:
    form = VideoFormat(64, 48, 25.0, comment="said")
    with SegmentWriter(tmp_path / "segment.mp4", form) as writer:
        writer.write(np.random.default_rng(0).integers(0, 255, (75, 48, 64, 3), np.uint8))
        segment = writer.commit()
    video = assemble([segment], tmp_path / "out.mp4", video=form).file
    before, track = list(frame_hashes(video)), probe(video).video
    add_subtitles(video, read_subtitles(write(tmp_path / "a.srt", SRT)), tmp_path / "work.srt")
    assert list(frame_hashes(video)) == before
    assert probe(video).video == track
    with av.open(str(video)) as container:
        assert container.metadata["comment"] == "said"
        shown = [bytes(packet) for packet in container.demux(container.streams.subtitles[0]) if packet.size]
    assert b"Good morning,\neverybody" in b"".join(shown)
    assert "Schöne Grüße".encode() in b"".join(shown)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.srt", "out.mp4", "segment.mp4"]


def grey(folder: Path, size: tuple[int, int], n_frames: int = 50) -> tuple[Path, VideoFormat]:
    """A segment of grey frames, in a folder."""
    folder.mkdir(exist_ok=True)
    form = VideoFormat(*size, 29.97)
    with SegmentWriter(folder / "segment.mp4", form) as writer:
        writer.write(np.full((n_frames, size[1], size[0], 3), 90, np.uint8))
        return writer.commit(), form


@pytest.mark.parametrize("size", [(480, 270), (270, 480), (301, 301)])
def test_burned_subtitles_are_seen_while_they_last_at_the_bottom(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    segment, form = grey(tmp_path / "it's, a [place]: of 'mine'", size)
    target = segment.with_name("burned.mp4")
    burn_subtitles(segment, target, [Cue(0.5, 1.0, "Good morning")], form)
    frames = list(read_frames(target))
    bright = [n for n, frame in enumerate(frames) if frame.max() > 200]
    assert (len(frames), bright) == (50, list(range(15, 30)))
    rows, columns = np.nonzero((np.abs(frames[20].astype(int) - 90) > 20).all(axis=2))
    assert rows.min() > size[1] / 2
    assert abs(columns.mean() / size[0] - 0.5) < 0.05
    assert np.ptp(columns) < size[0]
    assert probe(target).video == probe(segment).video
    assert sorted(path.name for path in target.parent.iterdir()) == ["burned.mp4", "segment.mp4"]


def test_characters_without_a_font_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    segment, form = grey(tmp_path, (128, 128), 2)
    burn_subtitles(segment, tmp_path / "burned.mp4", [Cue(0, 1, "\U00012000")], form)  # cuneiform
    assert "lack characters" in caplog.text


def test_ffmpeg_that_cannot_draw_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> bytes:
        raise EncoderError("ffmpeg failed (status 8): No such filter: 'subtitles'")

    require_burning.cache_clear()
    monkeypatch.setattr(subtitles, "run", fail)
    with pytest.raises(EncoderError, match=r"No such filter.*or use --soft"):
        require_burning()


def test_machine_without_a_font_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    require_burning.cache_clear()
    monkeypatch.setattr(subtitles, "_written", lambda cues: "1\n00:00:00,000 --> 00:00:01,000\n \n")
    with pytest.raises(EncoderError, match="no font"):
        require_burning()
    require_burning.cache_clear()
