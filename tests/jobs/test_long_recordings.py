"""The published family renders long recordings from start to end, killed outright in the middle or not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from family_trees import write_tree
from scipy.io import wavfile

from hallo_cli.bundles.trees import HALLO2, OFFICIAL, Tree
from hallo_cli.evaluation.measure_video import measure_video
from hallo_cli.media.probe import frame_hashes

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parent.parent
EXAMPLES = TESTS.parent / "hallo_cli/assets/examples"
FACE = EXAMPLES / "portrait_astronaut.png"
FPS = 2  # few frames; the sound is heard whole
SCRIPT = f"""
import dataclasses, os, signal, sys
from pathlib import Path
from hallo_cli.jobs import events
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.settings.resolve import Sources, resolve
from hallo_cli.settings.schema import RuntimeSettings

def listen(event):
    if isinstance(event, events.ClipRendered) and event.frames_done >= last_frame:
        os.kill(os.getpid(), signal.SIGKILL)

preset, tree, audio, output, last_frame = *sys.argv[1:5], int(sys.argv[5])
settings = resolve(Sources(dict(), dict(), preset=preset)).render
settings = dataclasses.replace(
    settings, bundle=None, steps=1, size=64, dtype="float32", fps={FPS}, clip_frames=16, separate_vocals=False
)
engine = BundleEngine.open(tree, RuntimeSettings(device="cpu", threads=1))
run_job(Job(Path({str(FACE)!r}), Path(audio), Path(output), settings), engine, on_event=listen)
"""


def render(preset: str, tree: Path, audio: Path, output: Path, *, last_frame: int = 10**6) -> int:
    """Render in a process that kills itself after `last_frame` frames; its exit status."""
    arguments = [preset, str(tree), str(audio), str(output), str(last_frame)]
    process = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], env=dict(os.environ), check=False)
    return process.returncode


def speech(folder: Path, minutes: int) -> Path:
    """The bundled sentences, again and again."""
    sentences = np.concatenate([wavfile.read(file)[1] for file in sorted(EXAMPLES.glob("*.wav"))])
    wavfile.write(folder / "speech.wav", 16_000, np.resize(sentences, minutes * 60 * 16_000))
    return folder / "speech.wav"


LONG = pytest.param("long", HALLO2, 10, id="long")
PUBLISHED = pytest.param("official", OFFICIAL, 12, id="official")  # heard in two windows


@pytest.mark.parametrize(("preset", "tree", "minutes"), [LONG, PUBLISHED])
def test_killed_render_of_many_minutes_continues_to_the_same_frames(
    tmp_path: Path, preset: str, tree: Tree, minutes: int
) -> None:
    bundle, audio = write_tree(tree, tmp_path / "tree").path, speech(tmp_path, minutes)
    killed, whole = tmp_path / "killed.mp4", tmp_path / "whole.mp4"
    n_frames = minutes * 60 * FPS
    assert render(preset, bundle, audio, killed, last_frame=n_frames // 2) == -signal.SIGKILL
    assert not killed.exists()
    assert render(preset, bundle, audio, killed) == 0
    assert render(preset, bundle, audio, whole) == 0
    frames = list(frame_hashes(killed))
    assert len(frames) == n_frames
    assert frames == list(frame_hashes(whole))
    figures, _ = measure_video(killed, portrait=FACE)
    assert figures.drift_colour is not None
