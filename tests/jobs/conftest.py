from pathlib import Path

import pytest
from job_doubles import TrivialEngine
from job_runs import make_job

from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.media.probe import frame_hashes


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
