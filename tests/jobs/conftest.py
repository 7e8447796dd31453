import dataclasses
import shutil
from pathlib import Path

import pytest
from job_doubles import TrivialEngine
from job_runs import Done, make_job

from hallo_cli.jobs import events
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.media.probe import frame_hashes


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Two seconds of noise and a small picture: 50 frames in 13 clips in 5 segments."""
    return make_job(tmp_path)


@pytest.fixture(scope="session")
def done_once(tmp_path_factory: pytest.TempPathFactory) -> Done:
    job, happened = make_job(tmp_path_factory.mktemp("undisturbed")), list[events.Event]()
    return Done(job, run_job(job, TrivialEngine(), on_event=happened.append), happened)


@pytest.fixture
def done(done_once: Done, tmp_path: Path) -> Job:
    """A copy of the job that was done, which may be changed."""
    shutil.copytree(done_once.job.output.parent, tmp_path, dirs_exist_ok=True)
    names = {name: tmp_path / getattr(done_once.job, name).name for name in ("portrait", "audio", "output")}
    return dataclasses.replace(done_once.job, **names)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def undisturbed(done_once: Done) -> list[str]:
    """Frame hashes of the job done in one go."""
    return list(frame_hashes(done_once.job.output))
