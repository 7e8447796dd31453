"""Memory does not grow with the recording: measured with everything real but the clips' networks."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile
from small_bundles import make_bundle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc"),
]
TESTS = Path(__file__).parent.parent
SCRIPT = """
import sys
from pathlib import Path
from measured_engine import MeasuredEngine, peak_kib
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.bundles.bundle import read_bundle
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

portrait, audio, output, bundle = map(Path, sys.argv[1:])
engine = MeasuredEngine(read_bundle(bundle), RuntimeSettings(threads=1))
result = run_job(Job(portrait, audio, output, RenderSettings(size=64)), engine)
print(result.n_frames, peak_kib())
"""


PLANNING = """
import sys
from pathlib import Path
from measured_engine import peak_kib
from hallo_cli.jobs.plan import count_frames, plan_segments
from hallo_cli.jobs.bundle_engine import BundleEngine
from hallo_cli.bundles.bundle import read_bundle
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

audio, work, bundle = map(Path, sys.argv[1:])
engine = BundleEngine(read_bundle(bundle), RuntimeSettings(threads=1))
recording = engine.decode(audio, work, RenderSettings())
n_frames = count_frames(recording.duration_s, 25.0)
track = engine.track(recording, n_frames, RenderSettings())
segments = plan_segments(n_frames, clip_frames=4, segment_frames=750, pauses=track.pauses())
for segment in (segments[0], segments[len(segments) // 2], segments[-1]):
    assert track.speech(segment.start, segment.stop).features.std() > 0
print(n_frames, peak_kib())
"""


def recording(folder: Path, minutes: int) -> Path:
    """A second of noise, half a second of silence, again and again."""
    rng = np.random.default_rng(0)
    second = rng.normal(0, 2000, 16_000).astype(np.int16)
    audio = folder / f"{minutes}.wav"
    wavfile.write(audio, 16_000, np.tile(np.append(second, np.zeros(8_000, np.int16)), minutes * 40))
    return audio


def peak_mib(script: str, minutes: int, *arguments: Path) -> float:
    """Peak memory of a process that says how many frames it made and how much it needed."""
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    n_frames, kib = map(int, result.stdout.split())
    assert n_frames == minutes * 60 * 25
    return kib / 1024


def test_an_hour_needs_as_much_memory_as_a_minute(tmp_path: Path) -> None:
    face = TESTS.parent / "hallo_cli/assets/examples/portrait_astronaut.png"
    bundle = make_bundle(tmp_path / "bundle").path
    minute, hour = (
        peak_mib(SCRIPT, n, face, recording(tmp_path, n), tmp_path / f"{n}.mp4", bundle) for n in (1, 60)
    )
    assert hour < 1.1 * minute, f"{minute:.0f} MiB for a minute, {hour:.0f} for an hour"


def test_three_hours_are_analysed_and_planned_in_the_memory_of_a_minute(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle").path
    minute, hours = (
        peak_mib(PLANNING, n, recording(tmp_path, n), tmp_path / f"{n}.f32", bundle) for n in (1, 180)
    )
    assert hours < 1.1 * minute, f"{minute:.0f} MiB for a minute, {hours:.0f} for three hours"
