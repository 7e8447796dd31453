"""Memory does not grow with the recording: measured with everything real but the clips' networks."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bundles import make_bundle
from scipy.io import wavfile

TESTS = Path(__file__).parent.parent
SCRIPT = """
import resource, sys
from pathlib import Path
from measured_studio import MeasuredStudio
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.models.bundle import read_bundle
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

portrait, audio, output, bundle = map(Path, sys.argv[1:])
engine = MeasuredStudio(read_bundle(bundle), RuntimeSettings(threads=1))
result = run_job(Job(portrait, audio, output, RenderSettings()), engine)
print(result.n_frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_mib(folder: Path, minutes: int, face: Path, bundle: Path) -> float:
    """Peak memory of a render of that many minutes: everything real but the clips' networks."""
    rng = np.random.default_rng(0)
    second = rng.normal(0, 2000, 16_000).astype(np.int16)
    pause = np.zeros(8_000, np.int16)
    audio = folder / f"{minutes}.wav"
    wavfile.write(audio, 16_000, np.tile(np.concatenate([second, pause]), minutes * 40))
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        str(face),
        str(audio),
        str(folder / f"{minutes}.mp4"),
        str(bundle),
    ]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    n_frames, kib = map(int, result.stdout.split())
    assert n_frames == minutes * 60 * 25
    return kib / 1024


@pytest.mark.slow
def test_an_hour_needs_as_much_memory_as_a_minute(tmp_path: Path) -> None:
    face = TESTS.parent / "hallo_cli/assets/examples/portrait_astronaut.png"
    bundle = make_bundle(tmp_path / "bundle").path
    minute, hour = (peak_mib(tmp_path, minutes, face, bundle) for minutes in (1, 60))
    assert hour < 1.1 * minute, f"{minute:.0f} MiB for a minute, {hour:.0f} for an hour"
