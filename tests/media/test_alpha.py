"""Videos with an alpha channel: WebM with VP9, QuickTime with ProRes 4444."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from hallo_cli.domain import Bytes
from hallo_cli.media.ffmpeg import find_ffmpeg
from hallo_cli.media.image import read_image, read_transparent
from hallo_cli.media.joining import Sound, assemble
from hallo_cli.media.probe import probe
from hallo_cli.media.subtitles import Cue, add_subtitles
from hallo_cli.media.video import SegmentWriter, require_encoder
from hallo_cli.media.video_format import ALPHA_CODECS, VideoFormat

SIZE = (96, 64)


def pictures(n_frames: int) -> Bytes:
    """Frames of one colour: the left half clear, the right half opaque, a line between them half so."""
    frames = np.full((n_frames, SIZE[1], SIZE[0], 4), (200, 60, 90, 255), np.uint8)
    frames[:, :, : SIZE[0] // 2, 3] = 0
    frames[:, :, SIZE[0] // 2 : SIZE[0] // 2 + 16, 3] = 128
    return frames


def decoded(video: Path, codec: str) -> Bytes:
    """The frames of a video with their alpha, [n, height, width, 4], as another program decodes them."""
    decoder = ["-c:v", "libvpx-vp9"] if codec == "libvpx-vp9" else []  # ffmpeg's own drops alpha
    command = [str(find_ffmpeg()), "-v", "error", *decoder, "-i", str(video)]
    command += ["-f", "rawvideo", "-pix_fmt", "rgba", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, SIZE[1], SIZE[0], 4)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).normal(0, 2000, 16_000).astype(np.int16)
    wavfile.write(tmp_path / "speech.wav", 16_000, samples)
    return tmp_path / "speech.wav"


@pytest.mark.parametrize("codec", ALPHA_CODECS)
@pytest.mark.parametrize("fps", [25.0, 29.97])
def test_joined_video_keeps_alpha_sound_and_words(
    tmp_path: Path, sound: Path, codec: str, fps: float
) -> None:
    form = VideoFormat(*SIZE, fps, codec, comment="said")
    n_frames = round(fps)
    segments = []
    for index, part in enumerate(np.array_split(pictures(n_frames), 2)):
        with SegmentWriter(tmp_path / f"segment-{index}.mp4", form) as writer:
            writer.write(part)
            segments.append(writer.commit())
    video = assemble(segments, tmp_path / f"out.{form.container}", video=form, sound=Sound(sound)).file
    add_subtitles(video, [Cue(0, 1, "Good morning")], tmp_path / "work.srt")
    info = probe(video)
    assert info.video is not None
    assert info.audio is not None
    assert (info.video.n_frames, info.audio.codec) == (n_frames, "opus" if codec == "libvpx-vp9" else "aac")
    frames = decoded(video, codec).astype(int)
    assert len(frames) == n_frames
    middle = SIZE[0] // 2
    assert frames[:, :, : middle - 4, 3].max() <= 3
    assert np.abs(frames[:, :, middle + 4 : middle + 12, 3] - 128).max() <= 6
    assert frames[:, :, middle + 20 :, 3].min() >= 252
    assert np.abs(frames[:, :, middle + 20 :, :3] - (200, 60, 90)).max() <= 8


@pytest.mark.parametrize("codec", ALPHA_CODECS)
def test_encoders_with_alpha_are_tried_on_a_transparent_frame(
    codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[int, ...]] = []
    write = SegmentWriter.write

    def note(writer: SegmentWriter, frames: Bytes) -> None:
        tried.append(frames.shape)
        write(writer, frames)

    monkeypatch.setattr(SegmentWriter, "write", note)
    require_encoder.__wrapped__(codec)  # an encoder is tried once a process
    assert tried == [(1, 256, 256, 4)]


def test_alpha_is_read_upright_beside_the_colours_over_white(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.fromarray(pixels).save(tmp_path / "face.png", exif=exif)
    found = read_transparent(tmp_path / "face.png")
    assert (found[..., :3] == read_image(tmp_path / "face.png")).all()
    assert (found[..., 3] == np.rot90(pixels[..., 3], -1)).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P"])
def test_pictures_of_other_kinds_have_an_alpha(tmp_path: Path, mode: str) -> None:
    Image.new("RGBA", (30, 20), (10, 20, 30, 40)).convert(mode).save(tmp_path / "face.png")
    alpha = read_transparent(tmp_path / "face.png")[..., 3]
    assert alpha.shape == (20, 30)
    assert set(np.unique(alpha)) == ({40} if mode in ("LA", "P") else {255})
