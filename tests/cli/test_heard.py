"""What the portrait says: several recordings, or a text that a command speaks; without networks."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from own_process_cli import hallo
from PIL import Image
from scipy.io import wavfile

from hallo_cli.api import compose
from hallo_cli.errors import SpeechError
from hallo_cli.media import kept_sounds
from hallo_cli.media.probe import probe

STUB = Path(__file__).parent.parent / "stub_cli.py"
QUIET = ("-o", "out.mp4", "--progress", "none", "-q")
SPEAKER = """
import sys, wave
with wave.open(sys.argv[1], "wb") as file:
    file.setparams((1, 2, 16000, 0, "NONE", ""))
    file.writeframes(bytes(32000))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / "face.png")
    for name in ("a", "b"):
        wavfile.write(tmp_path / f"{name}.wav", 16_000, rng.normal(0, 3000, 16_000).astype(np.int16))
    (tmp_path / "speaker.py").write_text(SPEAKER)
    return tmp_path


def render(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(STUB), "render", "face.png", *arguments, *QUIET]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def n_frames(video: Path) -> int:
    track = probe(video).video
    assert track is not None
    return track.n_frames


def test_several_recordings_are_said_in_order(folder: Path) -> None:
    result = render(folder, "a.wav", "b.wav", "--pause", "0.2")
    assert result.returncode == 0
    assert n_frames(folder / "out.mp4") == 55


def test_text_is_spoken_and_said(folder: Path) -> None:
    speaker = shlex.join([sys.executable, str(folder / "speaker.py"), "{output}", "{text}"])
    result = render(folder, "--text", "Good morning", "--speak", speaker)
    assert result.returncode == 0
    assert n_frames(folder / "out.mp4") == 25


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--text", "hello"), 2, "needs --speak"),
        (("a.wav", "--text", "hello"), 2, "not both"),
        ((), 2, "give a PORTRAIT and an AUDIO"),
        (("--text", "hello", "--speak", "false {output}"), 4, "failed (status 1)"),
        (("a.wav", "gone.wav"), 4, "gone.wav"),
        (("a.wav", "b.wav", "--pause", "61"), 2, "from 0 to 60"),
        (("a.wav", "--burn"), 2, "--burn needs --subtitles"),
    ],
)
def test_what_cannot_be_heard_is_one_line(
    folder: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    result = hallo(folder, "render", "face.png", *arguments, *QUIET)
    assert (result.returncode, result.stderr.count("\n")) == (status, 1)
    assert said in result.stderr
    assert not list(folder.glob("out*"))


def test_forgotten_o_is_told_from_a_missing_recording(folder: Path) -> None:
    outputs = {"new.mp4": "new.mp4", "new.webm": "new.webm", "new.mkv": "new.mp4", "new.png": "new.mp4"}
    for operand, output in outputs.items():
        result = render(folder, "a.wav", operand)
        assert (result.returncode, result.stderr.count("\n")) == (4, 1)
        assert f"write -o {output};" in result.stderr


def render_piped(folder: Path, sound: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(STUB), "render", "face.png", *arguments, "-o", "out.mp4", "-q"]
    return subprocess.run(command, cwd=folder, input=sound, capture_output=True, check=False)


def test_sound_from_standard_input_is_rendered_and_repeated_from_its_record(folder: Path) -> None:
    result = render_piped(folder, (folder / "a.wav").read_bytes(), "-")
    assert result.returncode == 0, result.stderr
    assert n_frames(folder / "out.mp4") == 25
    again = [sys.executable, str(STUB), "render", "--from", "out.json", "-o", "again.mp4", "-q"]
    assert subprocess.run(again, cwd=folder, capture_output=True, check=False).returncode == 0
    assert n_frames(folder / "again.mp4") == 25


def test_sound_from_a_shells_process_substitution_is_rendered(folder: Path) -> None:
    words = [sys.executable, str(STUB), "render", "face.png"]
    line = f"{shlex.join(words)} <(cat a.wav) -o out.mp4 -q"
    result = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert n_frames(folder / "out.mp4") == 25


@pytest.mark.parametrize(
    ("sound", "recordings", "said"),
    [
        (b"", ["-"], "standard input holds no sound (0 bytes)"),
        (b"no sound", ["-"], "cannot be decoded"),
        (b"", ["-", "-"], "only once"),
        (
            b"",
            ["http://127.0.0.1:9//b.mp3?c=//d"],
            "'http://127.0.0.1:9//b.mp3' cannot be fetched: Connection refused",
        ),
    ],
)
def test_what_is_piped_or_addressed_and_is_no_recording_is_one_line(
    folder: Path, sound: bytes, recordings: list[str], said: str
) -> None:
    result = render_piped(folder, sound, *recordings)
    assert (result.returncode, result.stderr.count(b"\n")) == (4, 1)
    assert said in result.stderr.decode()


def test_a_pipe_without_end_is_refused_at_its_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_sounds, "MAX_BYTES", 100_000)
    monkeypatch.setattr(kept_sounds, "CHUNK", 1000)
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    endless = subprocess.Popen(["cp", "/dev/zero", str(fifo)], stderr=subprocess.DEVNULL)
    with endless, pytest.raises(SpeechError, match="more than"):
        compose([fifo])
    kept = list((folder / "cache" / "recordings").iterdir())
    assert kept == []
