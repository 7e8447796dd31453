from pathlib import Path

import numpy as np
import pytest
from job_doubles import TrivialEngine
from PIL import Image
from scipy.io import wavfile

from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.media.probe import frame_hashes
from hallo_cli.settings.schema import RenderSettings


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Two seconds of noise and a small picture: 50 frames in 13 clips in 5 segments."""
    return make_job(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Frame hashes of the job done in one go."""
    job = make_job(tmp_path_factory.mktemp("undisturbed"))
    run_job(job, TrivialEngine())
    return list(frame_hashes(job.output))


def make_job(folder: Path) -> Job:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / "face.png")
    samples = (rng.normal(0, 3000, 16_000 * 2)).astype(np.int16)
    wavfile.write(folder / "speech.wav", 16_000, samples)
    settings = RenderSettings(segment_s=0.5)
    return Job(folder / "face.png", folder / "speech.wav", folder / "out.mp4", settings)
