"""Segments join without re-encoding and come out as they went in; the sound ends with the picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from hallo_cli.errors import EncoderError, InputError, SettingsError, SpeechError
from hallo_cli.media.audio import load
from hallo_cli.media.probe import frame_hashes, probe
from hallo_cli.media.video import SegmentWriter, Sound, VideoFormat, assemble, read_frames
from tests.media.conftest import moving_picture

Ffmpeg = Callable[..., None]
SMALL = VideoFormat(width=96, height=64, fps=25.0)


def write_segment(file: Path, n_frames: int, *, first: int = 0, video: VideoFormat = SMALL) -> Path:
    with SegmentWriter(file, video) as writer:
        writer.write(moving_picture(n_frames, width=video.width, height=video.height, first=first))
        return writer.commit()


@pytest.fixture
def segments(tmp_path: Path) -> list[Path]:
    """Segments of 20, 17 and 13 frames: two seconds."""
    return [
        write_segment(tmp_path / f"segment-{i}.mp4", n, first=first)
        for i, (first, n) in enumerate([(0, 20), (20, 17), (37, 13)])
    ]


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


def test_wrong_frame_size_is_refused(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / "a.mp4", SMALL) as writer, pytest.raises(ValueError, match="not uint8"):
        writer.write(moving_picture(1, width=64))


@pytest.mark.parametrize("size", [(95, 63), (2, 2), (1, 1)])
def test_odd_sizes_are_padded(tmp_path: Path, size: tuple[int, int]) -> None:
    video = VideoFormat(width=size[0], height=size[1], fps=25.0)
    with SegmentWriter(tmp_path / "a.mp4", video) as writer:
        writer.write(np.full((2, size[1], size[0], 3), 128, np.uint8))
        track = probe(writer.commit()).video
    assert track is not None
    assert (track.width, track.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


def test_joined_video_has_the_segments_frames_at_even_times(segments: list[Path], tmp_path: Path) -> None:
    info = assemble(segments, tmp_path / "out.mp4", video=SMALL)
    assert info.video is not None
    assert (info.video.n_frames, info.video.fps, info.video.duration_s) == (50, 25, 2.0)
    joined = list(frame_hashes(tmp_path / "out.mp4"))
    assert joined == [h for segment in segments for h in frame_hashes(segment)]
    assert len(list(read_frames(tmp_path / "out.mp4", fps=25.0))) == 50
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("fps", [10.0, 23.976, 29.97, 30.0, 60.0])
def test_any_frame_rate_keeps_its_clock(tmp_path: Path, fps: float) -> None:
    video = VideoFormat(width=96, height=64, fps=fps)
    parts = [write_segment(tmp_path / f"s{i}.mp4", 15, video=video) for i in range(3)]
    info = assemble(parts, tmp_path / "out.mp4", video=video)
    assert info.video is not None
    assert info.video.fps == video.rate
    assert info.video.duration_s == pytest.approx(float(45 / video.rate), abs=1e-6)
    assert float(video.rate) == pytest.approx(fps, abs=1e-4)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("wav", "aac"), ("flac", "aac"), ("m4a", "aac"), ("mp3", "aac"), ("opus", "opus"), ("ac3", "ac3")],
)
def test_sound_is_copied_where_mp4_takes_it_and_ends_with_the_picture(
    segments: list[Path], wav: Path, ffmpeg_run: Ffmpeg, suffix: str, codec: str
) -> None:
    source = wav.with_name(f"sound.{suffix}")
    ffmpeg_run("-i", wav, source)
    info = assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=Sound(source))
    assert info.audio is not None
    assert info.video is not None
    assert info.audio.codec == codec
    assert info.audio.duration_s == pytest.approx(info.video.duration_s, abs=1 / 25)
    assert info.audio.sample_rate == 48_000


def test_cut_sound_is_exactly_as_long_as_the_picture(segments: list[Path], wav: Path) -> None:
    sound = Sound(wav, start_s=1.5, duration_s=0.3)
    info = assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=sound)
    assert info.audio is not None
    assert info.audio.duration_s == pytest.approx(2.0, abs=0.002)


@pytest.mark.parametrize("suffix", ["wav", "flac", "m4a", "mp3", "opus"])
def test_sound_is_where_it_was(segments: list[Path], tmp_path: Path, ffmpeg_run: Ffmpeg, suffix: str) -> None:
    clicks = np.zeros(96_000, np.float32)
    clicks[24_000:24_048] = clicks[72_000:72_048] = 0.9
    wavfile.write(tmp_path / "clicks.wav", 48_000, clicks)
    source = tmp_path / f"sound.{suffix}"
    ffmpeg_run("-i", tmp_path / "clicks.wav", source)
    assemble(segments, tmp_path / "out.mp4", video=SMALL, sound=Sound(source))
    analysed, heard = load(source), load(tmp_path / "out.mp4")
    for part in (slice(0, 16_000), slice(16_000, 31_000)):
        # Ten milliseconds: what a lossy codec smears, a quarter of a frame.
        assert np.argmax(np.abs(heard[part])) == pytest.approx(np.argmax(np.abs(analysed[part])), abs=160)


def test_cut_sound_starts_where_asked(segments: list[Path], tmp_path: Path) -> None:
    clicks = np.zeros(32_000, np.float32)
    clicks[[8000, 24_000]] = 0.9
    wavfile.write(tmp_path / "clicks.wav", 16_000, clicks)
    assemble(segments, tmp_path / "out.mp4", video=SMALL, sound=Sound(tmp_path / "clicks.wav", start_s=0.25))
    heard = load(tmp_path / "out.mp4")
    assert np.argmax(np.abs(heard[:12_000])) == pytest.approx(4000, abs=16)
    assert 12_000 + np.argmax(np.abs(heard[12_000:])) == pytest.approx(20_000, abs=16)


def test_sound_that_mp4_cannot_hold_is_not_copied_on_request(segments: list[Path], wav: Path) -> None:
    with pytest.raises(SettingsError, match="pcm_f32le"):
        assemble(segments, wav.with_name("o.mp4"), video=SMALL, sound=Sound(wav, codec="copy"))
    assert not wav.with_name("o.mp4").exists()


def test_vanished_sound_is_an_error(segments: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="does not exist"):
        assemble(segments, tmp_path / "o.mp4", video=SMALL, sound=Sound(tmp_path / "gone.wav"))


def test_damaged_segment_is_an_error(segments: list[Path], tmp_path: Path) -> None:
    segments[1].write_bytes(segments[1].read_bytes()[:500])
    with pytest.raises((EncoderError, InputError)):
        assemble(segments, tmp_path / "o.mp4", video=SMALL)
    assert not (tmp_path / "o.mp4").exists()


def test_output_names_in_any_script(segments: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "-i ünï 'q' %03d 🎬.mp4"
    assemble(segments, target, video=SMALL)
    assert target.exists()


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
