"""The real command, interrupted by real signals; only its networks are a stub."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from hallo_cli.batch import scheduler
from hallo_cli.cli import signals
from hallo_cli.media.ffmpeg import find_ffmpeg
from hallo_cli.media.probe import frame_hashes

TESTS = Path(__file__).parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture and a second of noise: 25 frames in 7 clips in 3 segments."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / "face.png")
    wavfile.write(tmp_path / "speech.wav", 16_000, rng.normal(0, 3000, 16_000).astype(np.int16))
    return tmp_path


def start(folder: Path, output: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(TESTS / "stub_cli.py"), "render", "face.png", "speech.wav", "-o", output]
    return subprocess.Popen(
        [*command, "--segment", "0.5", "--json", "--progress", "none"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,  # a group of its own, as a terminal's command is
    )


def wait_for(process: subprocess.Popen[str], **values: object) -> None:
    """Read events up to the first that has these values."""
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if values.items() <= event.items():
            return


def interrupt(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send a signal and return what is said to it."""
    assert process.stderr is not None
    process.send_signal(number)
    said = process.stderr.readline()
    while said.startswith("warning"):  # of the noise that is rendered
        said = process.stderr.readline()
    return said


def test_second_interrupt_stops_at_once_and_loses_no_finished_clip(folder: Path) -> None:
    process = start(folder, "out.mp4", STUB_STUCK_FROM="4")
    wait_for(process, event="clip_rendered", clip=3)
    assert "press Ctrl-C again to stop at once" in interrupt(process, signal.SIGINT)
    began = time.monotonic()
    said = interrupt(process, signal.SIGINT)
    events, _ = process.communicate(timeout=50)
    assert process.returncode == 130
    assert said.startswith("hallo: stopped at once")
    assert time.monotonic() - began < 20  # the clip in hand would have taken a minute
    assert json.loads(events.splitlines()[-1])["exit_status"] == 130
    assert not (folder / "out.mp4").exists()

    resumed, undisturbed = start(folder, "out.mp4"), start(folder, "whole.mp4")
    events, _ = resumed.communicate(timeout=50)
    undisturbed.communicate(timeout=50)
    first = next(e for e in map(json.loads, events.splitlines()) if e["event"] == "clip_rendered")
    assert first["frames_done"] == 16
    assert list(frame_hashes(folder / "out.mp4")) == list(frame_hashes(folder / "whole.mp4"))


def test_sigterm_finishes_the_clip_and_ends_with_143(folder: Path) -> None:
    process = start(folder, "out.mp4", STUB_CLIP_S="0.3")
    wait_for(process, event="clip_rendered", clip=1)
    assert "press Ctrl-C again to stop at once" in interrupt(process, signal.SIGTERM)
    events, said = process.communicate(timeout=50)
    assert process.returncode == 143
    assert "the same command resumes" in said
    kinds = [json.loads(line)["event"] for line in events.splitlines()]
    assert kinds[-1] == "failed"
    assert kinds.count("clip_rendered") <= 1


def test_interrupt_from_the_terminal_does_not_break_the_join(folder: Path) -> None:
    slow = folder / "slow-ffmpeg"  # Ctrl-C reaches everything that the terminal's command has started
    slow.write_text(f'#!/bin/sh\ncase "$*" in *concat*) sleep 1;; esac\nexec "{find_ffmpeg()}" "$@"\n')
    slow.chmod(0o755)
    process = start(folder, "out.mp4", HALLO_FFMPEG=str(slow))
    wait_for(process, event="stage_started", stage="join")
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=50)
    assert process.returncode == 0
    assert len(list(frame_hashes(folder / "out.mp4"))) == 25


@pytest.mark.parametrize("step", ["portrait", "networks"])
def test_step_that_takes_too_long_after_a_signal_is_stopped(folder: Path, step: str) -> None:
    process = start(folder, "out.mp4", STUB_SLOW=step, STUB_STOP_S="0.5")
    wait_for(process, event="stage_started", stage="load" if step == "networks" else "analyse")
    time.sleep(1.5)  # the stage is announced before its slow step begins
    began = time.monotonic()
    interrupt(process, signal.SIGTERM)
    _, said = process.communicate(timeout=50)
    assert process.returncode == 143
    assert "stopped at once; finished clips are kept" in said
    assert time.monotonic() - began < 20


def test_program_ends_even_if_a_step_cannot_be_interrupted(folder: Path) -> None:
    process = start(folder, "out.mp4", STUB_DEAF="networks", STUB_STOP_S="0.5")
    wait_for(process, event="stage_started", stage="load")
    began = time.monotonic()
    interrupt(process, signal.SIGTERM)
    _, said = process.communicate(timeout=50)
    assert process.returncode == 143
    assert "stopped at once; finished clips are kept" in said
    assert time.monotonic() - began < 20


def test_stop_and_cleanup_are_over_before_a_container_is_killed() -> None:
    assert scheduler._STOP_S < signals.STOP_S
    assert signals.STOP_S + signals.CLEANUP_S < 30 - 2
