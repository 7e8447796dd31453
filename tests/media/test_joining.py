"""Segments join without re-encoding; the recording is put under them once and ends with the picture."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile

from hallo_cli.errors import EncoderError, InputError, SettingsError, SpeechError
from hallo_cli.media.audio import read_sound
from hallo_cli.media.joining import Sound, assemble
from hallo_cli.media.probe import frame_hashes
from hallo_cli.media.sound_track import Stretch
from hallo_cli.media.video import read_frames
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.store.opening import part_path
from tests.media.conftest import SMALL, write_segment

Ffmpeg = Callable[..., None]


def test_joined_video_has_the_segments_frames_at_even_times(segments: list[Path], tmp_path: Path) -> None:
    info = assemble(segments, tmp_path / "out.mp4", video=SMALL).info
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
    info = assemble(parts, tmp_path / "out.mp4", video=video).info
    assert info.video is not None
    assert info.video.fps == video.rate
    assert info.video.duration_s == pytest.approx(float(45 / video.rate), abs=1e-6)
    assert float(video.rate) == pytest.approx(fps, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "mode", "codec"),
    [
        ("a.wav", (), "aac", "aac"),
        ("a.flac", (), "aac", "aac"),
        ("a.ogg", ("-c:a", "libvorbis"), "aac", "aac"),
        ("a.m4a", (), "copy", "aac"),
        ("lossless.m4a", ("-c:a", "alac"), "aac", "aac"),
        ("a.mp3", (), "aac", "aac"),
        ("a.opus", (), "aac", "aac"),
        ("a.ac3", (), "aac", "aac"),
    ],
)
def test_sound_is_copied_where_every_player_plays_it_and_ends_with_the_picture(
    segments: list[Path], wav: Path, ffmpeg_run: Ffmpeg, name: str, options: tuple[str], mode: str, codec: str
) -> None:
    source = wav.with_name(f"sound {name}")
    ffmpeg_run("-i", wav, *options, source)
    joined = assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=Sound(source))
    assert joined.info.audio is not None
    assert joined.info.video is not None
    assert (joined.sound, joined.info.audio.codec) == (mode, codec)
    assert joined.info.audio.duration_s == pytest.approx(joined.info.video.duration_s, abs=1 / 25)
    assert joined.info.audio.sample_rate == 48_000


@pytest.mark.parametrize(
    ("name", "options", "codec"),
    [
        ("lossless.m4a", ("-c:a", "alac"), "alac"),
        ("a.mp3", (), "mp3"),
        ("a.opus", (), "opus"),
        ("a.ac3", (), "ac3"),
    ],
)
def test_sound_that_mp4_can_hold_is_copied_when_asked(
    segments: list[Path], wav: Path, ffmpeg_run: Ffmpeg, name: str, options: tuple[str], codec: str
) -> None:
    source = wav.with_name(name)
    ffmpeg_run("-i", wav, *options, source)
    sound = Sound(source, codec="copy")
    joined = assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=sound)
    assert joined.info.audio is not None
    assert (joined.sound, joined.info.audio.codec) == ("copy", codec)


def test_sound_is_that_of_the_track_that_was_chosen(
    segments: list[Path], wav: Path, tmp_path: Path, ffmpeg_run: Ffmpeg
) -> None:
    source, hiss = tmp_path / "two.mka", ("-f", "lavfi", "-i", "anoisesrc=d=2:a=0.01:seed=1")
    ffmpeg_run(*hiss, "-i", wav, "-map", "0:a", "-map", "1:a", "-c:a", "aac", source)
    for codec in ("copy", "aac"):
        sound = Sound(source, Stretch(track=1), codec)
        assemble(segments, tmp_path / "out.mp4", video=SMALL, sound=sound)
        heard, voice = read_sound(tmp_path / "out.mp4")[:31_000], read_sound(wav)[:31_000]
        assert np.corrcoef(heard, voice)[0, 1] > 0.99


def test_ffmpeg_is_never_given_the_users_file(
    segments: list[Path], wav: Path, ffmpeg_run: Ffmpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one program takes for a song may be a list of private files to another."""
    source = wav.with_name("two-faced.m4a")
    ffmpeg_run("-i", wav, source)
    commands: list[str] = []
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda command, **more: commands.append(str(command)) or start(command, **more)
    )
    for sound in (Sound(source), Sound(source, codec="aac"), Sound(source, Stretch(0.5))):
        assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=sound)
    assert len(commands) == 3
    assert not any("two-faced" in command for command in commands)


def test_folders_may_have_any_name(segments: list[Path], wav: Path, tmp_path: Path) -> None:
    folder = tmp_path / "take #3?50%25 'x'"
    folder.mkdir()
    moved = [segment.rename(folder / segment.name) for segment in segments]
    assemble(moved, folder / "out.mp4", video=SMALL, sound=Sound(wav.rename(folder / "a#b.wav")))
    assert len(list(frame_hashes(folder / "out.mp4"))) == 50


def test_join_does_not_write_into_what_a_killed_runs_ffmpeg_still_writes(
    segments: list[Path], tmp_path: Path
) -> None:
    with part_path(tmp_path / "out.mp4").open("wb") as orphan:
        assemble(segments, tmp_path / "out.mp4", video=SMALL)
        orphan.write(b"late" * 1000)
    assert len(list(frame_hashes(tmp_path / "out.mp4"))) == 50


@pytest.mark.parametrize("rate", [8000, 11025, 12000])
def test_sound_that_mp4_does_not_take_at_its_rate_is_encoded(
    segments: list[Path], wav: Path, ffmpeg_run: Ffmpeg, rate: int
) -> None:
    source = wav.with_suffix(".mp3")
    ffmpeg_run("-i", wav, "-ar", str(rate), source)
    joined = assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=Sound(source))
    assert joined.sound == "aac"
    with pytest.raises(EncoderError, match="cannot be copied into MP4"):
        assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=Sound(source, codec="copy"))


@pytest.mark.parametrize("n_channels", [3, 5, 11, 24])
def test_any_number_of_channels_is_heard(segments: list[Path], tmp_path: Path, n_channels: int) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, (32_000, 1)).clip(-1, 1)
    source = tmp_path / "many.wav"
    wavfile.write(source, 16_000, np.int16(32767 * np.repeat(samples, n_channels, axis=1)))
    joined = assemble(segments, tmp_path / "out.mp4", video=SMALL, sound=Sound(source))
    heard = read_sound(joined.file)
    assert np.std(heard) > 0.3 * np.std(read_sound(source))  # players mix the layouts that they know


def test_copied_sound_is_the_recordings_own_packets(
    segments: list[Path], wav: Path, ffmpeg_run: Ffmpeg
) -> None:
    source = wav.with_name("sound.mp3")
    ffmpeg_run("-i", wav, source)
    assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=Sound(source, codec="copy"))
    before, after = packets(source), packets(wav.with_name("out.mp4"))
    assert after == before[: len(after)]
    assert len(before) - len(after) <= 3  # what reaches beyond the picture's end


def packets(file: Path) -> list[bytes]:
    with av.open(str(file)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_cut_sound_is_encoded(segments: list[Path], wav: Path, ffmpeg_run: Ffmpeg) -> None:
    source = wav.with_name("sound.mp3")
    ffmpeg_run("-i", wav, source)
    for sound in (Sound(source, Stretch(0.1)), Sound(source, Stretch(duration_s=1.0))):
        assert assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=sound).sound == "aac"


def test_sound_that_begins_late_in_its_file_is_heard_where_it_was_analysed(
    segments: list[Path], wav: Path, ffmpeg_run: Ffmpeg
) -> None:
    source = wav.with_name("late.mp4")  # a video whose sound begins half a second after its picture
    picture = ("-f", "lavfi", "-i", "testsrc=d=3:s=64x64")
    ffmpeg_run(*picture, "-itsoffset", "0.5", "-i", wav, "-c:v", "libx264", "-c:a", "aac", source)
    joined = assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=Sound(source))
    assert joined.info.audio is not None
    assert joined.info.audio.start_s == pytest.approx(0, abs=0.005)
    heard, analysed = read_sound(joined.file)[:31_000], read_sound(source)[:31_000]
    assert np.corrcoef(heard, analysed)[0, 1] > 0.99


def test_sound_with_a_gap_is_encoded_as_it_was_analysed(
    segments: list[Path], wav: Path, ffmpeg_run: Ffmpeg
) -> None:
    source = wav.with_name("gap.mka")
    ffmpeg_run("-i", wav, "-c:a", "aac", "-bsf:a", "setts=ts=TS+if(gt(N\\,40)\\,14400\\,0)", source)
    assert assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=Sound(source)).sound == "aac"


def test_cut_sound_is_exactly_as_long_as_the_picture(segments: list[Path], wav: Path) -> None:
    sound = Sound(wav, Stretch(1.5, 0.3))
    info = assemble(segments, wav.with_name("out.mp4"), video=SMALL, sound=sound).info
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
    analysed, heard = read_sound(source), read_sound(tmp_path / "out.mp4")
    for part in (slice(0, 16_000), slice(16_000, 31_000)):
        # Ten milliseconds: what a lossy codec smears, a quarter of a frame.
        assert np.argmax(np.abs(heard[part])) == pytest.approx(np.argmax(np.abs(analysed[part])), abs=160)


def test_cut_sound_starts_where_asked(segments: list[Path], tmp_path: Path) -> None:
    clicks = np.zeros(32_000, np.float32)
    clicks[[8000, 24_000]] = 0.9
    wavfile.write(tmp_path / "clicks.wav", 16_000, clicks)
    assemble(segments, tmp_path / "out.mp4", video=SMALL, sound=Sound(tmp_path / "clicks.wav", Stretch(0.25)))
    heard = read_sound(tmp_path / "out.mp4")
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


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_finished_video_says_all_that_players_need_to_know_of_its_colours(
    tmp_path: Path, wav: Path, codec: str
) -> None:
    video = VideoFormat(width=96, height=64, fps=25.0, codec=codec)
    parts = [write_segment(tmp_path / f"s{i}.mp4", 10, video=video) for i in range(2)]
    assemble(parts, tmp_path / "out.mp4", video=video, sound=Sound(wav))
    with av.open(str(tmp_path / "out.mp4")) as container:
        declared = container.streams.video[0].codec_context
        frame = next(container.decode(video=0))
    bt709, srgb, limited = 1, 13, 1  # ITU-T H.273
    for said in (declared, frame):
        assert (said.color_primaries, said.color_trc, said.colorspace) == (bt709, srgb, bt709)
        assert said.color_range == limited
    assert b"colrnclx" in (tmp_path / "out.mp4").read_bytes()
