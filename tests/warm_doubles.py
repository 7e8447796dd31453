"""What processes are forked from: it has imported everything and found the encoder, so that no fork does."""

import dataclasses
import tempfile
from pathlib import Path

import batch_doubles  # noqa: F401
from job_doubles import TrivialEngine
from job_runs import make_job

from hallo_cli.jobs.runner import run_job
from hallo_cli.settings.schema import RenderSettings

with tempfile.TemporaryDirectory() as folder:
    job = dataclasses.replace(make_job(Path(folder)), settings=RenderSettings(duration_s=0.1))
    run_job(job, TrivialEngine())
