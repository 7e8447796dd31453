"""Small sounds and videos, made by the ffmpeg that the package finds."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from hallo_cli.domain import Bytes
from hallo_cli.media.ffmpeg import find_ffmpeg
from hallo_cli.media.video import SegmentWriter
from hallo_cli.media.video_format import VideoFormat

SMALL = VideoFormat(width=96, height=64, fps=25.0)


@pytest.fixture(scope="session")
def ffmpeg_run() -> Callable[..., None]:
    """Run ffmpeg with these arguments."""

    def run(*arguments: str | Path) -> None:
        command = [str(find_ffmpeg()), "-y", "-hide_banner", "-loglevel", "error", *map(str, arguments)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    return run


@pytest.fixture(scope="session")
def speechlike() -> np.ndarray:
    """Two seconds of a modulated tone at 48 kHz, stereo, different in each channel."""
    t = np.arange(2 * 48_000) / 48_000
    tone = 0.3 * np.sin(2 * np.pi * 220 * t) * (1 + np.sin(2 * np.pi * 3 * t)) / 2
    return np.stack([tone, 0.5 * tone], axis=1).astype(np.float32)


@pytest.fixture
def wav(tmp_path: Path, speechlike: np.ndarray) -> Path:
    file = tmp_path / "stereo 48k.wav"
    wavfile.write(file, 48_000, speechlike)
    return file


def moving_picture(n_frames: int, *, width: int = 96, height: int = 64, first: int = 0) -> Bytes:
    """Frames [n, height, width, 3] with a square that moves two pixels a frame over a ramp."""
    frames = np.zeros((n_frames, height, width, 3), np.uint8)
    frames[..., 0] = np.linspace(0, 255, width).astype(np.uint8)
    for i in range(n_frames):
        left = 2 * (first + i) % (width - 16)
        frames[i, 16:32, left : left + 16, 1] = 255
    return frames


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
